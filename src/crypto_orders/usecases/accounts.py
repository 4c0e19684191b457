"""Administer who may use the service and what is sold: accounts, keys, rate limits, products."""

import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from asyncpg.exceptions import ForeignKeyViolationError

from crypto_orders.domain.api_key import (
    ADMIN_SCOPES,
    ADMIN_SCOPES_BY_DEFAULT,
    CUSTOMER_SCOPES,
    SECRET_ALPHABET,
    SECRET_CHARS,
    Mode,
    digest,
)
from crypto_orders.domain.errors import BadRequest, NotFound
from crypto_orders.kit import clock
from crypto_orders.store import accounts, audit, keys, products
from crypto_orders.store.accounts import Account
from crypto_orders.store.audit import Entry
from crypto_orders.store.connection import Pool, Tx
from crypto_orders.store.products import Product
from crypto_orders.store.transaction import transact, transact_single

PREFIX_SECRET_CHARS = 4
PRODUCT_FORM = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key the moment it is made: the only time its text is known."""

    key: str
    key_id: UUID
    account_id: UUID | None
    mode: Mode
    scopes: tuple[str, ...]
    prefix: str
    label: str | None
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyWanted:
    """A key to make. Without scopes an admin key reads and writes, a customer's owns its account."""

    account_id: UUID | None
    mode: Mode
    brand_prefix: str
    scopes: tuple[str, ...] = ()
    label: str | None = None
    expires_at: datetime | None = None


async def create_account(pool: Pool, name: str, tier: str, entry: Entry) -> Account:
    """Make an account, with an audit row."""

    async def work(tx: Tx) -> Account:
        account = await accounts.insert(tx, uuid4(), name, tier)
        await audit.record(
            tx, audit.with_result(entry, "created", str(account.account_id), account.account_id)
        )
        return account

    return await transact(pool, work)


async def create_key(pool: Pool, wanted: KeyWanted, entry: Entry) -> NewKey:
    """Make a key and show it once; only its SHA-256 is stored.

    Raises:
        BadRequest: a scope is unknown for its kind of key.
        NotFound: there is no such account.
    """
    scopes = wanted.scopes or (ADMIN_SCOPES_BY_DEFAULT if wanted.mode == "admin" else ("account_owner",))
    allowed = ADMIN_SCOPES if wanted.mode == "admin" else CUSTOMER_SCOPES
    unknown = [scope for scope in scopes if scope not in allowed]
    if unknown:
        await _refused(pool, entry, "unknown scope")
        raise BadRequest(f"Unknown scope {unknown[0][:40]!r}; known are {', '.join(sorted(allowed))}.")
    text = "".join(secrets.choice(SECRET_ALPHABET) for _ in range(SECRET_CHARS))
    head = f"{wanted.brand_prefix}_{wanted.mode}_"
    key_id, prefix = uuid4(), head + text[:PREFIX_SECRET_CHARS]
    expires_at = clock.whole_milliseconds(wanted.expires_at) if wanted.expires_at else None

    async def work(tx: Tx) -> datetime:
        created_at = await keys.insert(
            tx,
            sha256=digest(head + text),
            key_id=key_id,
            account_id=wanted.account_id,
            mode=wanted.mode,
            scopes=scopes,
            label=wanted.label,
            prefix=prefix,
            expires_at=expires_at,
        )
        await audit.record(tx, audit.with_result(entry, "created", f"key_{key_id}", wanted.account_id))
        return created_at

    try:
        created_at = await transact(pool, work)
    except ForeignKeyViolationError:
        await _refused(pool, entry, "no such account")
        raise NotFound from None
    return NewKey(
        head + text,
        key_id,
        wanted.account_id,
        wanted.mode,
        scopes,
        prefix,
        wanted.label,
        created_at,
        expires_at,
    )


async def revoke_key(pool: Pool, key_id: UUID, entry: Entry) -> None:
    """Revoke a key from the next request on, on every process; again it changes nothing.

    Raises:
        NotFound: there is no such key.
    """

    async def work(tx: Tx) -> keys.Revoked | None:
        revoked = await keys.revoke(tx, key_id)
        result = "revoked" if revoked else "not_found"
        await audit.record(
            tx, audit.with_result(entry, result, account_id=revoked.account_id if revoked else None)
        )
        return revoked

    if await transact(pool, work) is None:
        raise NotFound


async def override_rate(
    pool: Pool,
    key_id: UUID,
    capacity: int,
    refill_per_second: float,
    expires_at: datetime | None,
    entry: Entry,
) -> None:
    """Give one key a rate limit of its own, for a time or for good.

    Raises:
        NotFound: there is no such key.
    """

    async def work(tx: Tx) -> None:
        await keys.override_rate(tx, key_id, capacity, refill_per_second, expires_at)
        await audit.record(tx, audit.with_result(entry, "overridden"))

    try:
        await transact(pool, work)
    except ForeignKeyViolationError:
        await _refused(pool, entry, "no such key")
        raise NotFound from None


async def _refused(pool: Pool, entry: Entry, why: str) -> None:
    """Keep a refusal whose transaction took its audit row back, or never began."""
    await transact_single(pool, lambda tx: audit.record(tx, audit.with_result(entry, "refused", why)))


async def put_product(
    pool: Pool, product: str, price_cents: int, price_currency: str, *, active: bool, entry: Entry
) -> Product:
    """Add or change a product; orders keep the price they were started with."""

    async def work(tx: Tx) -> Product:
        stored = await products.put(tx, product, price_cents, price_currency, active=active)
        await audit.record(tx, audit.with_result(entry, "stored"))
        return stored

    return await transact(pool, work)
