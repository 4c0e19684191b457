"""What an operator does from the command line: accounts, keys and products, each with its audit row."""

import getpass
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

from crypto_orders.kit import clock, ids
from crypto_orders.kit.process import CannotStartError
from crypto_orders.kit.sealing import Sealer
from crypto_orders.settings import MISCONFIGURED_EXIT_CODE, Settings
from crypto_orders.store import account_lists, invariants
from crypto_orders.store.account_lists import KeptKey
from crypto_orders.store.audit import Actor, Entry
from crypto_orders.store.connection import Pool, open_pool
from crypto_orders.store.invariants import Violation
from crypto_orders.usecases import accounts, webhooks
from crypto_orders.usecases.accounts import KeyWanted
from crypto_orders.usecases.webhooks import Resealed

T = TypeVar("T")

APPLICATION_NAME: Final = "crypto-orders-command"

PAGE_ROWS: Final = 200
"""Keys fetched at once; all of them are shown."""


async def broken_invariants(dsn: str) -> list[Violation]:
    """Every invariant that the database breaks now. Its queries read everything and take their time."""
    pool = await open_pool(
        dsn, size=2, application_name="crypto-orders-check", settings={"statement_timeout": "0"}
    )
    try:
        async with pool.acquire() as conn:
            return await invariants.violations(conn)
    finally:
        await pool.close()


async def rotate_sealing_key(dsn: str, settings: Settings) -> Resealed:
    """Seal every secret in the database under the first of the sealing keys.

    Raises CannotStartError when no sealing key is set.
    """
    if settings.sealing_key is None:
        sentence = "CRYPTO_ORDERS_SEALING_KEY is not set: set it to the new key, a comma and the old one."
        raise CannotStartError(sentence, MISCONFIGURED_EXIT_CODE)
    sealer = Sealer(settings.sealing_key.reveal())
    return await _with_pool(dsn, lambda pool: webhooks.reseal(pool, sealer))


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
