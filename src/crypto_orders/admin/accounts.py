"""The customers: finding and making accounts, and their keys, which are shown once and revoked for good."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal

from msgspec import Struct
from starlette.responses import Response

from crypto_orders.admin.lists import PAGE_ROWS, Needle, account_id_of, address, moment, paging
from crypto_orders.admin.refusals import Refusal, refusal_of
from crypto_orders.admin.services import AdminServices
from crypto_orders.admin.session import AdminCall, Form, Operator, action, audited, page, screen, see_done
from crypto_orders.domain.errors import BadRequest, DomainError, NotFound
from crypto_orders.domain.operator import MANAGE_CATALOGUE
from crypto_orders.domain.rate_limit import Policy
from crypto_orders.kit import ids
from crypto_orders.kit.http import Endpoint
from crypto_orders.store import account_lists, accounts, overview, rate_limits
from crypto_orders.store.account_lists import KeptKey
from crypto_orders.store.accounts import Account
from crypto_orders.store.connection import Conn
from crypto_orders.usecases import accounts as administering
from crypto_orders.usecases.accounts import KeyWanted, NewKey

PATH: Final = "/admin/accounts"
_ONE: Final = f"{PATH}/{{account_id:acc}}"
_KEY: Final = f"{_ONE}/keys/{{key_id:key}}/revoke"
NAME_CHARS_MAX: Final = 200
TIER_CHARS_MAX: Final = 40
LABEL_CHARS_MAX: Final = 200

SCOPES: Final[Sequence[tuple[str, str]]] = (
    ("account_owner", "everything an account may do: start and cancel orders, manage webhooks"),
    ("read", "look at everything"),
    ("read:billing", "look at orders"),
    ("admin:billing", "start and cancel orders"),
    ("read:webhooks", "look at webhooks and their deliveries"),
)

State = Literal["active", "expired", "revoked"]
TONES: Final = {"active": "good", "expired": "neutral", "revoked": "neutral"}


class AccountRow(Struct, frozen=True, kw_only=True):
    """An account as it is drawn."""

    account_id: str
    path: str
    orders: str
    webhooks: str
    at: Account


class KeyRow(Struct, frozen=True, kw_only=True):
    """A key as it is drawn; of its text only the beginning is known. `limit` is how often it may call."""

    key_id: str
    revoke: str
    at: KeptKey
    state: State
    tone: str
    limit: str


class AccountsQuery(Struct, frozen=True, kw_only=True):
    """Part of a name, and which page."""

    name: Needle | None = None
    cursor: str | None = None


class AccountQuery(Struct, frozen=True, kw_only=True):
    """Which page of keys."""

    cursor: str | None = None


class AccountForm(Form, frozen=True, kw_only=True):
    """A new customer; the tier is a free label."""

    name: str = ""
    tier: str = "free"


class KeyForm(Form, frozen=True, kw_only=True):
    """A new key. Without a day it never expires."""

    scopes: tuple[str, ...] = ()
    label: str = ""
    expires: str = ""


class RevokeForm(Form, frozen=True, kw_only=True):
    """Whether whoever revokes a key was shown what it does."""

    confirmed: bool = False


async def show_accounts(call: AdminCall[None, AccountsQuery]) -> Response:
    """All accounts, the newest first, or those whose name has a part."""
    return await _accounts_page(call, name=call.query.name, after=call.query.cursor)


async def create_account(call: AdminCall[AccountForm, None]) -> Response:
    """Make an account."""
    name, tier = call.body.name.strip(), call.body.tier.strip()
    entry = audited(call, "create_account", None, name=name, tier=tier)
    try:
        if not 0 < len(name) <= NAME_CHARS_MAX or not 0 < len(tier) <= TIER_CHARS_MAX:
            raise BadRequest(
                f"An account has a name of at most {NAME_CHARS_MAX} characters and a tier of at most "
                f"{TIER_CHARS_MAX}."
            )
        made = await administering.create_account(call.deps.pool, name, tier, entry)
    except DomainError as error:
        return await _accounts_page(call, form=call.body, refusal=refusal_of(error, "refused-accounts"))
    path = f"{PATH}/{ids.prefixed('acc', made.account_id)}"
    return see_done(call, path, "The account is made. Its first key is made below.")


async def show_account(call: AdminCall[None, AccountQuery]) -> Response:
    """One account with its keys and limits."""
    return await _account_page(call, after=call.query.cursor)


async def create_key(call: AdminCall[KeyForm, None]) -> Response:
    """Make a key and show it this one time."""
    form, account_id = call.body, call.uuid("account_id")
    entry = audited(
        call,
        "create_key",
        ids.prefixed("acc", account_id),
        scopes=form.scopes,
        label=form.label,
        expires_at=form.expires,
    )
    try:
        made = await administering.create_key(call.deps.pool, _wanted(call, form), entry)
    except NotFound:
        raise
    except DomainError as error:
        return await _account_page(call, form=form, refusal=refusal_of(error, "refused-accounts"))
    return await _account_page(call, made=made)


def _wanted(call: AdminCall[Any, Any], form: KeyForm) -> KeyWanted:
    if not form.scopes:
        raise BadRequest("Choose what the key may do.")
    if len(form.label) > LABEL_CHARS_MAX:
        raise BadRequest(f"A label has at most {LABEL_CHARS_MAX} characters.")
    return KeyWanted(
        account_id=call.uuid("account_id"),
        mode=call.deps.key_mode,
        brand_prefix=call.deps.key_prefix,
        scopes=form.scopes,
        label=form.label.strip() or None,
        expires_at=moment(form.expires, name="Expires") if form.expires.strip() else None,
    )


async def revoke_key(call: AdminCall[RevokeForm, None]) -> Response:
    """Revoke a key from the next request on; asked once more before it is done."""
    key_id, shown_id = call.uuid("key_id"), ids.prefixed("key", call.uuid("key_id"))
    async with call.deps.pool.acquire() as conn:
        known = await account_lists.key(conn, key_id)
    if known is None or known.account_id != call.uuid("account_id"):
        raise NotFound
    if not call.body.confirmed:
        return await _account_page(call, revoking=known)
    await administering.revoke_key(call.deps.pool, key_id, audited(call, "revoke_key", shown_id))
    path = f"{PATH}/{ids.prefixed('acc', call.uuid('account_id'))}"
    return see_done(call, path, "The key is revoked.")


async def _accounts_page(
    call: AdminCall[Any, Any],
    *,
    name: str | None = None,
    after: str | None = None,
    form: AccountForm | None = None,
    refusal: Refusal | None = None,
) -> Response:
    async with call.deps.search_pool.acquire() as conn:
        if name is None:
            found = await account_lists.newest(conn, limit=PAGE_ROWS, after=after)
            rows, following = found.items, found.next_cursor
        else:
            rows, following = await account_lists.named(conn, name.strip(), limit=PAGE_ROWS), None
        now = await overview.now(conn)
    return page(
        call,
        "accounts.html",
        status=refusal.status if refusal else 200,
        active="accounts",
        rows=[_account_row(each) for each in rows],
        is_cut=name is not None and len(rows) == PAGE_ROWS,
        now=now,
        name=name,
        form=form or AccountForm(),
        refusal=refusal,
        paging=paging(PATH, {"name": name}, after=after, following=following, words={"name": "Name"}),
    )


def _account_row(at: Account) -> AccountRow:
    account_id = ids.prefixed("acc", at.account_id)
    return AccountRow(
        account_id=account_id,
        path=f"{PATH}/{account_id}",
        orders=address("/admin/orders", account_id=account_id),
        webhooks=address("/admin/webhooks", account=account_id),
        at=at,
    )


async def _account_page(
    call: AdminCall[Any, Any],
    *,
    after: str | None = None,
    form: KeyForm | None = None,
    made: NewKey | None = None,
    revoking: KeptKey | None = None,
    refusal: Refusal | None = None,
) -> Response:
    account_id = call.uuid("account_id")
    async with call.deps.search_pool.acquire() as conn:
        at = await accounts.get(conn, account_id)
        if at is None:
            raise NotFound
        found = await account_lists.newest_keys(conn, account_id, limit=PAGE_ROWS, after=after)
        now = await overview.now(conn)
        usual = call.deps.customer_policy
        keys = [await _key_row(conn, each, now, usual) for each in found.items]
        asked_about = await _key_row(conn, revoking, now, usual) if revoking else None
    row = _account_row(at)
    return page(
        call,
        "customer.html",
        status=refusal.status if refusal else 200,
        active="accounts",
        account=row,
        keys=keys,
        now=now,
        made=made,
        revoking=asked_about,
        form=form or KeyForm(scopes=("account_owner",)),
        scopes=SCOPES,
        terms=call.deps.deployment.terms,
        usual_limit=_limit_words(usual),
        refusal=refusal,
        paging=paging(row.path, {}, after=after, following=found.next_cursor, words={}),
    )


async def _key_row(conn: Conn, at: KeptKey, now: datetime, usual: Policy) -> KeyRow:
    override = await rate_limits.find_override(conn, at.key_id)
    state: State = "active"
    if at.revoked_at is not None:
        state = "revoked"
    elif at.expires_at is not None and at.expires_at <= now:
        state = "expired"
    account, key_id = account_id_of(at.account_id), ids.prefixed("key", at.key_id)
    own = "" if override is None else ", its own"
    return KeyRow(
        key_id=key_id,
        revoke=f"{PATH}/{account}/keys/{key_id}/revoke",
        at=at,
        state=state,
        tone=TONES[state],
        limit=_limit_words(override.policy if override else usual) + own,
    )


def _limit_words(policy: Policy) -> str:
    if not policy.limits:
        return "unlimited"
    return f"{policy.refill_per_second:g} a second, {policy.capacity:,} at once"


ENDPOINTS: tuple[Endpoint[AdminServices, Operator, Any, Any], ...] = (
    screen(PATH, show_accounts, query=AccountsQuery),
    action(PATH, create_account, body=AccountForm, scope=MANAGE_CATALOGUE),
    screen(_ONE, show_account, query=AccountQuery),
    action(f"{_ONE}/keys", create_key, body=KeyForm, scope=MANAGE_CATALOGUE),
    action(_KEY, revoke_key, body=RevokeForm, scope=MANAGE_CATALOGUE),
)
