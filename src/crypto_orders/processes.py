"""What the processes of the service do from their start to their orderly end: web and workers."""

import asyncio
import dataclasses
import gc
import os
import signal
from base64 import b64encode
from collections.abc import Awaitable, Callable
from socket import socket
from typing import Final

import asyncpg
import uvloop

from crypto_orders import app
from crypto_orders import settings as configuration
from crypto_orders.database import Addresses, database
from crypto_orders.kit import log, server
from crypto_orders.kit.private_file import made_once
from crypto_orders.kit.process import CannotStartError
from crypto_orders.settings import Secret, Settings
from crypto_orders.store import durability, migrate
from crypto_orders.store.connection import open_pool

SEALING_KEY_BYTES: Final = 32
SEALING_KEY_FILE: Final = "sealing_key"

logger: Final = log.get()


def serve(settings: Settings) -> None:
    """Answer HTTP requests until SIGINT or SIGTERM. Raises CannotStartError before a port is opened."""
    _run(settings, "web", _serve)


def work(settings: Settings) -> None:
    """Run the background jobs until SIGINT or SIGTERM. Raises CannotStartError before the first one."""
    _run(settings, "workers", _work)


def _run(
    settings: Settings, process: str, main: Callable[[Settings, str, asyncio.Event], Awaitable[None]]
) -> None:
    """Refuse, or find the database and run a process's main function on it under uvloop."""
    log.configure(level=settings.log_level, process=process)
    for sentence in configuration.refusals(settings):
        raise CannotStartError(sentence, configuration.MISCONFIGURED_EXIT_CODE)
    settings = _with_sealing_key(settings)
    with database(settings) as addresses:

        async def prepared() -> None:
            stop = _stop_on_signals()
            await _prepare(settings, addresses)
            _keep_out_of_collection()
            await main(settings, addresses.service, stop)

        uvloop.run(prepared())


def _keep_out_of_collection() -> None:
    """Spare the garbage collector what was imported, which it would walk through again and again."""
    gc.collect()
    gc.freeze()


async def _serve(settings: Settings, dsn: str, stop: asyncio.Event) -> None:
    async with app.web(settings, dsn) as web:
        bound = _bound(settings.host, settings.port)
        logger.info("web_started", host=settings.host, port=settings.port, pid=os.getpid())
        if not stop.is_set():
            # While it serves, signals are the server's; it hands them back to us when it has finished.
            await server.serve(web.app, bound, type_base=web.type_base)
    logger.info("web_stopped")


async def _work(settings: Settings, dsn: str, stop: asyncio.Event) -> None:
    port = settings.worker_metrics_port
    metrics_at = _bound(settings.host, port) if port else None
    logger.info("workers_started", pid=os.getpid())
    await app.work(settings, dsn, stop, metrics_at)
    logger.info("workers_stopped")


def _bound(host: str, port: int) -> socket:
    try:
        return server.bind(host, port)
    except OSError as error:
        sentence = f"{host}:{port} cannot be listened on: {error.strerror}."
        raise CannotStartError(sentence) from error


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _prepare(settings: Settings, addresses: Addresses) -> None:
    """Refuse a database that loses orders or lacks the schema. One of our own is brought up to date."""
    try:
        if settings.database_url is None:
            await migrate.migrate(addresses.owner, migrate.shipped(), service_role=addresses.service_role)
        pending = await migrate.pending(addresses.service, migrate.shipped())
        shortcomings = await _shortcomings(addresses.service)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        sentence = f"the database cannot be reached: {error or type(error).__name__}."
        raise CannotStartError(sentence) from error
    for shortcoming in shortcomings:
        if settings.is_production:
            sentence = f"CRYPTO_ORDERS_DATABASE_URL names a database without durability: {shortcoming}."
            raise CannotStartError(sentence, configuration.MISCONFIGURED_EXIT_CODE)
        logger.warning("database_without_durability", reason=shortcoming)
    if pending:
        sentence = f"the database lacks {', '.join(pending)}: run crypto-orders migrate."
        raise CannotStartError(sentence)


async def _shortcomings(dsn: str) -> tuple[str, ...]:
    pool = await open_pool(dsn, size=2, application_name="crypto-orders-start")
    try:
        async with pool.acquire() as conn:
            return await durability.shortcomings(conn)
    finally:
        await pool.close()


def _with_sealing_key(settings: Settings) -> Settings:
    """Give a development machine a sealing key of its own, made once; production has brought one."""
    if settings.sealing_key is not None:
        return settings

    def make() -> str:
        return b64encode(os.urandom(SEALING_KEY_BYTES)).decode()

    key = made_once(settings.data_dir / SEALING_KEY_FILE, make)
    return dataclasses.replace(settings, sealing_key=Secret(key))
