"""The demo's people: an operator, a support key and two customers, made at the first start and kept."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from crypto_orders.kit import ids
from crypto_orders.kit.private_file import made_once, write_privately
from crypto_orders.store import operator_accounts as operators
from crypto_orders.store.audit import Actor, Entry
from crypto_orders.store.connection import Pool, open_pool
from crypto_orders.usecases import accounts, operator_accounts
from crypto_orders.usecases.accounts import KeyWanted, NewKey
from crypto_orders.usecases.operator_accounts import Wanted
from crypto_orders.usecases.passwords import Passwords

ENTRY: Final = Entry(actor=Actor(name="demo"), action="demo.prepare", target=None, request={})

KNOWN: Final = "SELECT count(*) FROM api_keys WHERE key_id = ANY($1::uuid[]) AND revoked_at IS NULL"


class Guests(msgspec.Struct, frozen=True, kw_only=True):
    """Their keys as texts, kept in a private file because the database knows digests alone."""

    admin_key: str
    customer_key: str
    customer_account_id: str
    second_customer_key: str
    key_ids: tuple[str, ...]


OPERATOR_EMAIL: Final = "admin@example.com"


class Operator(NamedTuple):
    """Who may sign in to the admin's pages, with the password that works now."""

    email: str
    password: str


async def seat_operator(dsn: str, path: Path) -> Operator:
    """Answer the operator of the demo, an admin whose password is kept in a private file.

    A password that somebody changed is set back: the demo tells one that works.
    """
    password = made_once(path, operator_accounts.make_password)
    pool = await open_pool(dsn, size=2, application_name="crypto-orders-demo")
    try:
        async with Passwords() as passwords:
            await _seat(pool, passwords, password)
    finally:
        await pool.close()
    return Operator(OPERATOR_EMAIL, password)


async def _seat(pool: Pool, passwords: Passwords, password: str) -> None:
    async with pool.acquire() as conn:
        known = await operators.find_by_email(conn, OPERATOR_EMAIL)
    if known is None:
        wanted = Wanted(email=OPERATOR_EMAIL, role="admin", name="Demo admin", password=password)
        await operator_accounts.create(pool, passwords, wanted, ENTRY)
    elif not await passwords.matches(known.password_hash, password):
        await operator_accounts.set_password(pool, passwords, OPERATOR_EMAIL, password, ENTRY)


async def invite(dsn: str, path: Path, key_prefix: str) -> Guests:
    """Answer the people of an earlier start, if the database still knows them; else make new ones."""
    pool = await open_pool(dsn, size=2, application_name="crypto-orders-demo")
    try:
        kept = _kept(path)
        if kept is not None and await _are_known(pool, kept):
            return kept
        made = await _make(pool, key_prefix)
    finally:
        await pool.close()
    write_privately(path, msgspec.json.encode(made).decode())
    return made


def _kept(path: Path) -> Guests | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Guests)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


async def _are_known(pool: Pool, kept: Guests) -> bool:
    async with pool.acquire() as conn:
        found = await conn.fetchval(KNOWN, [ids.parse_prefixed("key", text) for text in kept.key_ids])
    return found == len(kept.key_ids)


async def open_accounts(dsn: str, names: Iterable[str], key_prefix: str) -> Mapping[str, str]:
    """Make further accounts; a key of each by the account's name."""
    pool = await open_pool(dsn, size=2, application_name="crypto-orders-demo")
    try:
        return {name: (await _open_account(pool, name, key_prefix)).key for name in names}
    finally:
        await pool.close()


async def _open_account(pool: Pool, name: str, key_prefix: str) -> NewKey:
    account = await accounts.create_account(pool, name, "free", ENTRY)
    wanted = KeyWanted(
        account_id=account.account_id, mode="test", brand_prefix=key_prefix, scopes=("account_owner",)
    )
    return await accounts.create_key(pool, wanted, ENTRY)


async def _make(pool: Pool, key_prefix: str) -> Guests:
    wanted = KeyWanted(account_id=None, mode="admin", brand_prefix=key_prefix, label="demo support")
    admin = await accounts.create_key(pool, wanted, ENTRY)
    first = await _open_account(pool, "Demo customer", key_prefix)
    second = await _open_account(pool, "Second demo customer", key_prefix)
    return Guests(
        admin_key=admin.key,
        customer_key=first.key,
        customer_account_id=f"acc_{first.account_id}",
        second_customer_key=second.key,
        key_ids=tuple(ids.prefixed("key", key.key_id) for key in (admin, first, second)),
    )


# The roll-ups count by the day of creation, so a day that changes is counted again.
MAKE_OLDER = """
  WITH older AS (
       UPDATE orders
          SET created_at = created_at - $2::interval, window_ends_at = window_ends_at - $2::interval
        WHERE order_id = $1
    RETURNING created_at, status, product, price_currency, price_cents
     )
INSERT INTO order_deltas (delta_id, created_on, status, product, price_currency, orders, price_cents, paid_ms)
SELECT gen_random_uuid(), (d.at AT TIME ZONE 'UTC')::date, o.status, o.product, o.price_currency,
       d.sign, d.sign * o.price_cents, 0
  FROM older o
 CROSS JOIN LATERAL (VALUES (o.created_at + $2::interval, -1), (o.created_at, 1)) AS d (at, sign)
"""


async def make_older(dsn: str, order_id: str, hours: int) -> None:
    """Put an order's start and its pay window back, as if it had been started so long ago."""
    pool = await open_pool(dsn, size=1, application_name="crypto-orders-demo")
    try:
        async with pool.acquire() as conn:
            await conn.execute(MAKE_OLDER, order_id, timedelta(hours=hours))
    finally:
        await pool.close()
