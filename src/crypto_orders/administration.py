"""What is administered from the command line: accounts, keys, products, operators, each with an audit row."""

import getpass
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import datetime
from typing import Final, NamedTuple, TypeVar
from uuid import UUID

from crypto_orders.domain.operator import normal_email
from crypto_orders.kit import clock, ids
from crypto_orders.kit.process import CannotStartError
from crypto_orders.kit.sealing import Sealer
from crypto_orders.settings import MISCONFIGURED_EXIT_CODE, Settings
from crypto_orders.store import account_lists, invariants, operator_accounts
from crypto_orders.store.account_lists import KeptKey
from crypto_orders.store.audit import Actor, Entry
from crypto_orders.store.connection import Pool, open_pool
from crypto_orders.store.invariants import Violation
from crypto_orders.store.operator_accounts import OperatorAccount
from crypto_orders.usecases import accounts, webhooks
from crypto_orders.usecases import operator_accounts as operators
from crypto_orders.usecases.accounts import KeyWanted
from crypto_orders.usecases.operator_accounts import Wanted, WithPassword
from crypto_orders.usecases.passwords import Passwords

T = TypeVar("T")

APPLICATION_NAME: Final = "crypto-orders-command"

PAGE_ROWS: Final = 200
"""Keys fetched at once; all of them are shown."""


async def broken_invariants(dsn: str, *, allow_insecure_webhooks: bool) -> list[Violation]:
    """Every invariant that the database breaks now. Its queries read everything and take their time."""
    pool = await open_pool(
        dsn, size=2, application_name="crypto-orders-check", settings={"statement_timeout": "0"}
    )
    try:
        async with pool.acquire() as conn:
            return await invariants.violations(conn, allow_insecure_webhooks=allow_insecure_webhooks)
    finally:
        await pool.close()


OPERATORS_MAX: Final = 10_000
"""Far more operators than one deployment has; all of them are shown."""


class Rotated(NamedTuple):
    """What was sealed anew under the first key: of webhook endpoints, and of operators' second factors."""

    webhooks: webhooks.Resealed
    operators: operators.Resealed


async def rotate_sealing_key(dsn: str, settings: Settings) -> Rotated:
    """Seal every secret in the database under the first of the sealing keys.

    Raises CannotStartError when no sealing key is set.
    """
    if settings.sealing_key is None:
        sentence = "CRYPTO_ORDERS_SEALING_KEY is not set: set it to the new key, a comma and the old one."
        raise CannotStartError(sentence, MISCONFIGURED_EXIT_CODE)
    sealer = Sealer(settings.sealing_key.reveal())

    async def act(pool: Pool) -> Rotated:
        return Rotated(await webhooks.reseal(pool, sealer), await operators.reseal(pool, sealer))

    return await _with_pool(dsn, act)


async def create_account(dsn: str, name: str, tier: str) -> str:
    """Make an account; its JSON."""

    async def act(pool: Pool) -> str:
        account = await accounts.create_account(
            pool, name, tier, _entry("account.create", None, {"name": name, "tier": tier})
        )
        return _json(
            {
                "account_id": ids.prefixed("acc", account.account_id),
                "name": account.name,
                "tier": account.tier,
                "created_at": clock.to_iso(account.created_at),
            }
        )

    return await _with_pool(dsn, act)


async def create_key(
    dsn: str,
    settings: Settings,
    *,
    account_id: UUID | None,
    scopes: tuple[str, ...],
    label: str | None,
    expires_at: datetime | None,
) -> str:
    """Make a key of an account, or without one an admin key; its JSON, the only place it is ever shown.

    Raises crypto_orders.domain.errors.BadRequest for an unknown scope, NotFound for an unknown account.
    """
    mode = "admin" if account_id is None else "test" if settings.sandbox else "live"
    wanted = KeyWanted(
        account_id=account_id,
        mode=mode,
        brand_prefix=settings.key_prefix,
        scopes=scopes,
        label=label,
        expires_at=expires_at,
    )

    async def act(pool: Pool) -> str:
        target = None if account_id is None else ids.prefixed("acc", account_id)
        made = await accounts.create_key(
            pool, wanted, _entry("key.create", target, {"mode": mode, "scopes": list(scopes), "label": label})
        )
        return _json(
            {
                "id": ids.prefixed("key", made.key_id),
                "key": made.key,
                "account_id": target,
                "scopes": list(made.scopes),
                "label": made.label,
                "created_at": clock.to_iso(made.created_at),
                "expires_at": None if made.expires_at is None else clock.to_iso(made.expires_at),
            }
        )

    return await _with_pool(dsn, act)


async def list_keys(dsn: str, account_id: UUID | None) -> AsyncGenerator[str]:
    """List an account's keys, or without one everybody's, the newest first: a line of JSON each."""
    pool = await open_pool(dsn, size=2, application_name=APPLICATION_NAME)
    try:
        async with pool.acquire() as conn:
            after = None
            while True:
                page = await account_lists.newest_keys(conn, account_id, limit=PAGE_ROWS, after=after)
                for key in page.items:
                    yield json.dumps(_kept_key(key))
                after = page.next_cursor
                if after is None:
                    return
    finally:
        await pool.close()


async def revoke_key(dsn: str, key_id: UUID) -> None:
    """Revoke a key from the next request on. Raises domain.errors.NotFound when there is none."""

    async def act(pool: Pool) -> None:
        await accounts.revoke_key(pool, key_id, _entry("key.revoke", ids.prefixed("key", key_id), {}))

    await _with_pool(dsn, act)


async def set_product(dsn: str, product: str, price_cents: int, currency: str, *, active: bool) -> str:
    """Add or change a product; its JSON."""

    async def act(pool: Pool) -> str:
        asked = {"price_cents": price_cents, "price_currency": currency, "active": active}
        stored = await accounts.put_product(
            pool, product, price_cents, currency, active=active, entry=_entry("product.set", product, asked)
        )
        return _json(
            {
                "product": stored.product,
                "price_cents": stored.price_cents,
                "price_currency": stored.price_currency,
                "active": stored.active,
                "updated_at": clock.to_iso(stored.updated_at),
            }
        )

    return await _with_pool(dsn, act)


async def create_operator(dsn: str, email: str, *, role: str, name: str | None, password: str | None) -> str:
    """Make an operator; the JSON, with the password when one was made up, which is never shown again.

    Raises domain.errors.BadRequest for what cannot be used, Conflict when the address is taken.
    """
    wanted = Wanted(email=email, role=role, name=name, password=password)
    entry = _entry("operator.create", normal_email(email), {"role": role})

    async def act(pool: Pool) -> str:
        async with Passwords() as passwords:
            return _with_password(await operators.create(pool, passwords, wanted, entry))

    return await _with_pool(dsn, act)


async def list_operators(dsn: str) -> list[str]:
    """Operators by their addresses, the disabled ones last: a line of JSON each."""

    async def act(pool: Pool) -> list[str]:
        async with pool.acquire() as conn:
            shown = await operator_accounts.listed(conn, limit=OPERATORS_MAX)
        return [
            json.dumps(
                {
                    "email": each.email,
                    "name": each.name,
                    "role": each.role,
                    "second_factor": each.has_second_factor,
                    "created_at": clock.to_iso(each.created_at),
                    "last_seen_at": None if each.last_seen_at is None else clock.to_iso(each.last_seen_at),
                    "disabled_at": None if each.disabled_at is None else clock.to_iso(each.disabled_at),
                }
            )
            for each in shown
        ]

    return await _with_pool(dsn, act)


async def set_operator_password(dsn: str, email: str, password: str | None) -> str:
    """Give an operator another password; the JSON as of `create_operator`. Sessions end.

    Raises domain.errors.BadRequest for what cannot be used, NotFound when there is no such operator.
    """
    entry = _entry("operator.set_password", email, {})

    async def act(pool: Pool) -> str:
        async with Passwords() as passwords:
            return _with_password(await operators.set_password(pool, passwords, email, password, entry))

    return await _with_pool(dsn, act)


async def set_operator_role(dsn: str, email: str, role: str) -> str:
    """Give an operator another role; the JSON. Raises domain.errors.BadRequest, NotFound, Conflict."""
    entry = _entry("operator.set_role", email, {"role": role})
    return await _with_pool(dsn, lambda pool: _shown(operators.set_role(pool, email, role, entry)))


async def disable_operator(dsn: str, email: str) -> str:
    """Keep an operator out from the next request on; the JSON. Raises domain.errors.NotFound, Conflict."""
    entry = _entry("operator.disable", email, {})
    return await _with_pool(dsn, lambda pool: _shown(operators.disable(pool, email, entry)))


async def enable_operator(dsn: str, email: str) -> str:
    """Let an operator sign in again; the JSON. Raises domain.errors.NotFound."""
    entry = _entry("operator.enable", email, {})
    return await _with_pool(dsn, lambda pool: _shown(operators.enable(pool, email, entry)))


async def reset_operator_totp(dsn: str, email: str) -> str:
    """Take a lost second factor away; the JSON. Raises domain.errors.NotFound."""
    entry = _entry("operator.reset_second_factor", email, {})
    return await _with_pool(dsn, lambda pool: _shown(operators.reset_second_factor(pool, email, entry)))


async def _shown(changed: Awaitable[OperatorAccount]) -> str:
    return _json(_operator(await changed))


def _with_password(made: WithPassword) -> str:
    told = {} if made.password is None else {"password": made.password}
    return _json({**_operator(made.account), **told})


def _operator(account: OperatorAccount) -> Mapping[str, object]:
    return {
        "email": account.email,
        "name": account.name,
        "role": account.role,
        "second_factor": account.totp_sealed is not None,
        "created_at": clock.to_iso(account.created_at),
        "disabled_at": None if account.disabled_at is None else clock.to_iso(account.disabled_at),
    }


def _kept_key(key: KeptKey) -> Mapping[str, object]:
    moments = {"created_at": key.created_at, "expires_at": key.expires_at, "revoked_at": key.revoked_at}
    return {
        "id": ids.prefixed("key", key.key_id),
        "begins_with": key.prefix,
        "account_id": None if key.account_id is None else ids.prefixed("acc", key.account_id),
        "scopes": key.scopes,
        "label": key.label,
        **{name: None if moment is None else clock.to_iso(moment) for name, moment in moments.items()},
    }


async def _with_pool(dsn: str, act: Callable[[Pool], Awaitable[T]]) -> T:
    pool = await open_pool(dsn, size=2, application_name=APPLICATION_NAME)
    try:
        return await act(pool)
    finally:
        await pool.close()


def _entry(action: str, target: str | None, request: Mapping[str, object]) -> Entry:
    return Entry(actor=Actor(name=f"cli:{_login()}"), action=action, target=target, request=request)


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a uid without a name.
        return "unknown"


def _json(fields: Mapping[str, object]) -> str:
    return json.dumps(fields, indent=2)
