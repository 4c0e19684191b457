"""The command `crypto-orders`: every way to start, prepare and examine the service."""

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from crypto_orders.settings import Settings

cli = typer.Typer(
    help="Crypto orders through NOWPayments. Settings are CRYPTO_ORDERS_* variables: see doctor.",
    no_args_is_help=True,
    add_completion=False,
    # A traceback with local variables would show secrets.
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@cli.command()
def migrate(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 1 when something is pending.")
    ] = False,
) -> None:
    """Bring the database to the schema that this version needs."""
    from crypto_orders.database import database
    from crypto_orders.store import migrate as migrations

    with database(_settings()) as dsn:
        shipped = migrations.shipped()
        if check:
            pending = asyncio.run(migrations.pending(dsn, shipped))
            typer.echo("\n".join(f"pending: {name}" for name in pending) or "up to date")
            raise typer.Exit(1 if pending else 0)
        applied = asyncio.run(migrations.migrate(dsn, shipped))
        typer.echo("\n".join(f"applied: {name}" for name in applied) or "up to date")


@cli.command()
def doctor() -> None:
    """Explain the configuration and what is wrong with it, secrets redacted; exit 1 when something is."""
    from crypto_orders.doctor import examine

    if not asyncio.run(examine(os.environ, typer.echo)):
        raise typer.Exit(1)


def _settings() -> "Settings":
    """Read the settings, or end with the code that says misconfigured."""
    from crypto_orders import settings

    try:
        return settings.read(os.environ)
    except settings.SettingsError as error:
        _refuse(f"{error}.", settings.MISCONFIGURED_EXIT_CODE)


def _refuse(sentence: str, code: int) -> NoReturn:
    typer.echo(f"crypto-orders: {sentence}", err=True)
    sys.exit(code)


def main() -> None:
    """Run the command line; what a person can put right ends in one sentence, not in a traceback."""
    try:
        cli()
    except Exception as error:
        from crypto_orders.embedded import EmbeddedPostgresError
        from crypto_orders.store.migrate import MigrationError

        if isinstance(error, EmbeddedPostgresError | MigrationError):
            _refuse(f"{error}.", 1)
        raise


if __name__ == "__main__":
    main()
