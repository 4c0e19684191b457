"""Explains how this deployment is configured and what is wrong with it, without showing a secret."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from typing import Final

import asyncpg

from crypto_orders import settings as configuration
from crypto_orders.database import database
from crypto_orders.embedded import EmbeddedPostgresError
from crypto_orders.settings import DESCRIPTIONS, Description, Settings, SettingsError, SettingsReader
from crypto_orders.store import durability, migrate, operator_accounts, privileges
from crypto_orders.store.connection import Conn, open_pool

HIDDEN: Final = "***"

Say = Callable[[str], None]


async def examine(environ: Mapping[str, str], say: Say) -> bool:
    """Say how everything stands, line by line; True when nothing is wrong."""
    reader = SettingsReader(environ)
    _show_settings(reader, environ, say)
    problems = [*reader.problems, *(_slip(name) for name in reader.unknown)]
    try:
        settings = reader.settings
    except SettingsError:
        say("The database was not looked at: the settings come first.")
    else:
        problems += configuration.refusals(settings)
        problems += _doubts(settings)
        problems += await _examine_database(settings, say)
    say("")
    for problem in problems:
        say(f"WRONG: {problem}")
    if not problems:
        say("Nothing is wrong.")
    return not problems


def _show_settings(reader: SettingsReader, environ: Mapping[str, str], say: Say) -> None:
    width = max(len(description.variable) for description in DESCRIPTIONS)
    for description in DESCRIPTIONS:
        say(f"{description.variable:{width}}  {_shown(description, reader, environ)}")
    say("")


def _shown(description: Description, reader: SettingsReader, environ: Mapping[str, str]) -> str:
    source = reader.sources.get(description.name)
    if source is None:
        return f"{description.default or '(none)'} (default)"
    shown = HIDDEN if description.is_secret else environ[source] or "(empty)"
    return shown if source == description.variable else f"{shown} (from {source})"


def _slip(name: str) -> str:
    known = [description.variable for description in DESCRIPTIONS]
    alike = difflib.get_close_matches(name, known, n=1)
    return f"{name} is no setting." + (f" Did you mean {alike[0]}?" if alike else "")


def _doubts(settings: Settings) -> list[str]:
    """What no environment refuses, but nobody can want."""
    found: list[str] = []
    if settings.nowpayments_api_key is None:
        found.append("CRYPTO_ORDERS_NOWPAYMENTS_API_KEY is not set: no order gets a payment address.")
    if not settings.nowpayments_ipn_secret and not settings.is_production:
        found.append("CRYPTO_ORDERS_NOWPAYMENTS_IPN_SECRET is empty: no notification can be verified.")
    default_url = next(
        field.default for field in dataclasses.fields(Settings) if field.name == "nowpayments_url"
    )
    if settings.sandbox and settings.nowpayments_url == default_url:
        found.append("CRYPTO_ORDERS_SANDBOX is on, but CRYPTO_ORDERS_NOWPAYMENTS_URL is the real provider.")
    return found


async def _tell_operators(dsn: str) -> str:
    """Say how many people can sign in; a deployment may do without, so that none is no mistake."""
    pool = await open_pool(dsn, size=1, application_name="crypto-orders doctor")
    try:
        async with pool.acquire() as conn:
            count = await operator_accounts.count_active(conn)
    finally:
        await pool.close()
    if count:
        return f"Operators who can sign in to /admin: {count}."
    return (
        "There is no operator: nobody can sign in to /admin. "
        "Run crypto-orders operators create EMAIL --role admin."
    )


async def _examine_database(settings: Settings, say: Say) -> list[str]:
    try:
        with database(settings) as addresses:
            pool = await open_pool(addresses.service, size=2, application_name="crypto-orders doctor")
            try:
                async with pool.acquire() as conn:
                    say(f"The database is {(await conn.fetchval('SELECT version()')).split(' on ')[0]}.")
                    problems = list(await durability.shortcomings(conn))
                    problems += await _rights(conn)
            finally:
                await pool.close()
            pending = await migrate.pending(addresses.service, migrate.shipped())
            if not pending:
                say(await _tell_operators(addresses.service))
    except (EmbeddedPostgresError, migrate.MigrationError) as error:
        return [f"{error}."]
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return [f"The database cannot be reached: {error or type(error).__name__}."]
    except ValueError:
        # Its message repeats the part of the address that is wrong, and that part may be a password.
        return ["CRYPTO_ORDERS_DATABASE_URL is not an address that PostgreSQL's clients understand."]
    if pending:
        problems.append(f"migrations are pending ({', '.join(pending)}): run crypto-orders migrate")
    return [f"{problem}." for problem in problems]


async def _rights(conn: Conn) -> list[str]:
    """What the service's role could do to history."""
    if not await conn.fetchval(migrate.TABLE_EXISTS):
        return []
    rewritable = await privileges.rewritable(conn)
    if not rewritable:
        return []
    tables = " and ".join(rewritable)
    remedy = (
        "let another role own the tables, name it in CRYPTO_ORDERS_MIGRATION_DATABASE_URL, and run migrate"
    )
    return [f"the role of CRYPTO_ORDERS_DATABASE_URL could rewrite {tables}: {remedy}"]
