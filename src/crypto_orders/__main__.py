"""The command `crypto-orders`: every way to start, prepare and examine the service."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar
from uuid import UUID

import typer

if TYPE_CHECKING:
    from crypto_orders.database import Addresses
    from crypto_orders.settings import Settings

T = TypeVar("T")


def _group(text: str) -> typer.Typer:
    return typer.Typer(
        help=text,
        no_args_is_help=True,
        add_completion=False,
        # A traceback with local variables would show secrets.
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


cli = _group("Crypto orders through NOWPayments. Settings are CRYPTO_ORDERS_* variables: see doctor.")
accounts = _group("Customers' accounts.")
keys = _group("API keys of customers and of support.")
products = _group("What is sold, and for how much.")
cli.add_typer(accounts, name="accounts")
cli.add_typer(keys, name="keys")
cli.add_typer(products, name="products")
operators = _group("People who sign in to the admin's pages.")
cli.add_typer(operators, name="operators")

_Email = Annotated[str, typer.Argument(help="The operator's e-mail address.")]
_PasswordFile = Annotated[
    Path | None, typer.Option(help="The file that holds the password; without it one is made up and shown.")
]


@cli.command()
def serve() -> None:
    """Answer HTTP requests: the API, the pages and the provider's notifications."""
    settings = _settings_that_may_run()
    from crypto_orders import processes

    processes.serve(settings)


@cli.command()
def worker() -> None:
    """Run the background jobs; any number of workers may run."""
    settings = _settings_that_may_run()
    from crypto_orders import processes

    processes.work(settings)


@cli.command()
def sandbox(
    *,
    port: Annotated[int, typer.Option(help="The port on this machine.")] = 8081,
    state_dir: Annotated[Path, typer.Option(help="Where its payments are kept.")] = Path("var/sandbox"),
    email: Annotated[
        str, typer.Option(help="The login of POST /v1/auth, with the API key as its password.")
    ] = "merchant@sandbox.invalid",
) -> None:
    """Play the provider, on this machine only: a faithful local NOWPayments."""
    from crypto_orders.sandbox_process import serve_sandbox

    serve_sandbox(_settings(), port=port, state_dir=state_dir, email=email)


@cli.command()
def demo(
    *,
    port: Annotated[int, typer.Option(help="The service's port; another one when it is taken.")] = 8080,
    sandbox_port: Annotated[int, typer.Option(help="The provider sandbox's port; likewise.")] = 8081,
    data_dir: Annotated[Path, typer.Option(help="Where everything is kept.")] = Path("var/demo"),
    seed: Annotated[bool, typer.Option("--seed/--no-seed", help="Make demo data at the first start.")] = True,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write URLs, keys and process ids here (JSON) when all answers.")
    ] = None,
) -> None:
    """Start everything on this machine: database, provider sandbox, web and workers."""
    from crypto_orders.demo.run import DemoOptions, run

    options = DemoOptions(
        port=port, sandbox_port=sandbox_port, data_dir=data_dir, seed=seed, ready_file=ready_file
    )
    run(options, os.environ)


@cli.command()
def migrate(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 1 when something is pending.")
    ] = False,
) -> None:
    """Bring the database to the schema that this version needs."""
    from crypto_orders.store import migrate as migrations

    shipped = migrations.shipped()
    settings = _settings()
    if check:
        pending = _on_database(settings, lambda dsn: migrations.pending(dsn, shipped))
        typer.echo("\n".join(f"pending: {name}" for name in pending) or "up to date")
        raise typer.Exit(1 if pending else 0)
    applied = _on_addresses(
        settings,
        lambda found: migrations.migrate(found.owner, shipped, service_role=found.service_role),
    )
    typer.echo("\n".join(f"applied: {name}" for name in applied) or "up to date")


@cli.command()
def doctor() -> None:
    """Explain the configuration and what is wrong with it, secrets redacted; exit 1 when something is."""
    from crypto_orders.doctor import examine

    if not asyncio.run(examine(os.environ, typer.echo)):
        raise typer.Exit(1)


@cli.command()
def check() -> None:
    """Ask the database for every invariant; exit 1 and show the rows when one is broken."""
    from crypto_orders import administration

    settings = _settings()
    broken = _on_database(
        settings,
        lambda dsn: administration.broken_invariants(
            dsn, allow_insecure_webhooks=settings.allow_insecure_webhooks
        ),
    )
    for violation in broken:
        typer.echo(f"{violation.name} is broken: {violation.rule}")
        for row in violation.rows:
            typer.echo(f"  {row}")
    if broken:
        raise typer.Exit(1)
    typer.echo("every invariant holds")


@cli.command("rotate-sealing-key")
def rotate_sealing_key() -> None:
    """Seal every secret under the first key of SEALING_KEY; exit 1 when one can be opened by none.

    Deploy SEALING_KEY as new,old first. The service may run meanwhile.
    """
    from crypto_orders import administration
    from crypto_orders.kit import ids

    settings = _settings()
    done = _on_database(settings, lambda dsn: administration.rotate_sealing_key(dsn, settings))
    typer.echo(f"operators' second factors sealed anew: {done.operators.operators}")
    typer.echo(f"webhook endpoints sealed anew: {done.webhooks.endpoints}")
    unreadable = [ids.prefixed("whk", found) for found in done.webhooks.unreadable]
    unreadable += [ids.prefixed("opr", found) for found in done.operators.unreadable]
    for name in unreadable:
        typer.echo(f"sealed under an unknown key: {name}")
    if unreadable:
        raise typer.Exit(1)


@cli.command()
def openapi() -> None:
    """Print the OpenAPI document of this version."""
    from crypto_orders import app

    sys.stdout.buffer.write(app.openapi_document(_settings()) + b"\n")


@accounts.command("create")
def create_account(
    name: Annotated[str, typer.Argument(help="What to call the customer.")],
    *,
    tier: Annotated[str, typer.Option(help="A free label.")] = "free",
) -> None:
    """Make an account and show it as JSON."""
    from crypto_orders import administration

    typer.echo(_on_database(_settings(), lambda dsn: administration.create_account(dsn, name, tier)))


@keys.command("create")
def create_key(
    *,
    account: Annotated[
        str | None, typer.Option(help="The account (acc_…) whose key it is; without it, support's.")
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="A scope; may be repeated. Default: account_owner, or admin:read admin:write."),
    ] = None,
    label: Annotated[str | None, typer.Option(help="A note on what it is for.")] = None,
    expires_at: Annotated[
        str | None, typer.Option(help="The moment it ends, such as 2027-01-01T00:00:00Z.")
    ] = None,
) -> None:
    """Make a key and show it, this one time, as JSON."""
    from crypto_orders import administration

    settings = _settings()
    account_id = None if account is None else _id("acc", account)
    expires = None if expires_at is None else _instant(expires_at)
    typer.echo(
        _on_database(
            settings,
            lambda dsn: administration.create_key(
                dsn,
                settings,
                account_id=account_id,
                scopes=tuple(scope or ()),
                label=label,
                expires_at=expires,
            ),
        )
    )


@keys.command("list")
def list_keys(
    *,
    account: Annotated[
        str | None, typer.Option(help="The account (acc_…); without it everybody's keys.")
    ] = None,
) -> None:
    """List keys, the newest first, a line of JSON each; their texts are known to nobody."""
    from crypto_orders import administration

    account_id = None if account is None else _id("acc", account)

    async def show(dsn: str) -> None:
        async for line in administration.list_keys(dsn, account_id):
            typer.echo(line)

    _on_database(_settings(), show)


@keys.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="The key's id (key_…), not the key.")]) -> None:
    """Revoke a key from the next request on, in every process."""
    from crypto_orders import administration

    found = _id("key", key_id)
    _on_database(_settings(), lambda dsn: administration.revoke_key(dsn, found))


@products.command("set")
def set_product(
    product: Annotated[str, typer.Argument(help="Its name in the API.")],
    price_cents: Annotated[int, typer.Argument(min=1, help="Its price in whole cents.")],
    *,
    currency: Annotated[str, typer.Option(help="The price's currency, three capitals.")] = "USD",
    active: Annotated[bool, typer.Option(help="Whether it can be bought.")] = True,
) -> None:
    """Add or change a product and show it as JSON; orders keep the price they were started with."""
    from crypto_orders import administration

    typer.echo(
        _on_database(
            _settings(),
            lambda dsn: administration.set_product(dsn, product, price_cents, currency, active=active),
        )
    )


@operators.command("create")
def create_operator(
    email: _Email,
    *,
    role: Annotated[str, typer.Option(help="viewer looks, support works on orders, admin also overrides.")],
    name: Annotated[str | None, typer.Option(help="What to call them.")] = None,
    password_file: _PasswordFile = None,
) -> None:
    """Make an operator and show them as JSON, with the password this one time when it was made up."""
    from crypto_orders import administration

    password = _password(password_file)
    _on_operators(
        lambda dsn: administration.create_operator(dsn, email, role=role, name=name, password=password)
    )


@operators.command("list")
def list_operators() -> None:
    """List operators, the disabled ones last, a line of JSON each."""
    from crypto_orders import administration

    for line in _on_database(_settings(), administration.list_operators):
        typer.echo(line)


@operators.command("set-role")
def set_operator_role(
    email: _Email, role: Annotated[str, typer.Argument(help="viewer, support or admin.")]
) -> None:
    """Change what an operator may do; they have to sign in again."""
    from crypto_orders import administration

    _on_operators(lambda dsn: administration.set_operator_role(dsn, email, role))


@operators.command("set-password")
def set_operator_password(email: _Email, *, password_file: _PasswordFile = None) -> None:
    """Give an operator another password; they have to sign in again."""
    from crypto_orders import administration

    password = _password(password_file)
    _on_operators(lambda dsn: administration.set_operator_password(dsn, email, password))


@operators.command("disable")
def disable_operator(email: _Email) -> None:
    """Sign an operator out everywhere and keep them out."""
    from crypto_orders import administration

    _on_operators(lambda dsn: administration.disable_operator(dsn, email))


@operators.command("enable")
def enable_operator(email: _Email) -> None:
    """Let a disabled operator sign in again."""
    from crypto_orders import administration

    _on_operators(lambda dsn: administration.enable_operator(dsn, email))


@operators.command("reset-totp")
def reset_operator_totp(email: _Email) -> None:
    """Take the second factor away from an operator who lost it; they have to sign in again."""
    from crypto_orders import administration

    _on_operators(lambda dsn: administration.reset_operator_totp(dsn, email))


def _on_operators(act: Callable[[str], Coroutine[None, None, str]]) -> None:
    """Show what a piece of work on operators answers, or end with the sentence that says why not."""
    from crypto_orders.domain.errors import Conflict, NotFound

    try:
        typer.echo(_on_database(_settings(), act))
    except NotFound:
        _end("there is no such operator.", 1)
    except Conflict as refusal:
        _end(refusal.detail, 1)


def _password(path: Path | None) -> str | None:
    """Read the password in a file: its first line."""
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        _end(f"{path} cannot be read: {error}.", 1)


def _settings() -> "Settings":
    """Read the settings; `main` explains what is wrong with them."""
    from crypto_orders import settings

    return settings.read(os.environ)


def _settings_that_may_run() -> "Settings":
    """Read the settings and refuse those that must not run, before the service is even imported."""
    from crypto_orders.kit.process import CannotStartError
    from crypto_orders.settings import MISCONFIGURED_EXIT_CODE, refusals

    found = _settings()
    for sentence in refusals(found):
        raise CannotStartError(sentence, MISCONFIGURED_EXIT_CODE)
    return found


def _on_database(settings: "Settings", act: Callable[[str], Coroutine[None, None, T]]) -> T:
    """Run a piece of work on the database, or end with the sentence that says why it cannot be reached."""
    return _on_addresses(settings, lambda found: act(found.service))


def _on_addresses(settings: "Settings", act: Callable[["Addresses"], Coroutine[None, None, T]]) -> T:
    import asyncpg

    from crypto_orders.database import database
    from crypto_orders.kit import log

    # What a command answers is on standard output, alone; the audit trail has the rest.
    log.configure(level="warning", process="command", stream=sys.stderr)
    with database(settings) as addresses:
        try:
            return asyncio.run(act(addresses))
        except asyncpg.UndefinedTableError:
            _end("the database lacks tables: run crypto-orders migrate.", 1)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            _end(f"the database: {error or type(error).__name__}.", 1)


def _id(prefix: str, text: str) -> UUID:
    from crypto_orders.kit import ids

    found = ids.parse_prefixed(prefix, text)
    if found is None:
        _end(f"{text} is no id of the form {prefix}_….", 1)
    return found


def _instant(text: str) -> datetime:
    from crypto_orders.kit import clock

    try:
        return clock.parse_instant(text)
    except ValueError as error:
        _end(f"{text}: {error}.", 1)


def _end(sentence: str, code: int) -> NoReturn:
    typer.echo(f"crypto-orders: {sentence}", err=True)
    sys.exit(code)


def _explain(error: Exception) -> None:
    """End in one sentence for what a person can put right; return for everything else."""
    from crypto_orders.domain.errors import BadRequest, NotFound
    from crypto_orders.embedded import EmbeddedPostgresError
    from crypto_orders.kit.process import CannotStartError
    from crypto_orders.settings import MISCONFIGURED_EXIT_CODE, SettingsError
    from crypto_orders.store.migrate import MigrationError

    match error:
        case EmbeddedPostgresError() | MigrationError():
            _end(f"{error}.", 1)
        case BadRequest():
            _end(error.detail, 1)
        case NotFound():
            _end("there is no such account or key.", 1)
        case SettingsError():
            _end(f"{error}.", MISCONFIGURED_EXIT_CODE)
        case CannotStartError():
            _end(str(error), error.exit_code)
        case _:
            return


def main() -> None:
    """Run the command line; what a person can put right ends in one sentence, not in a traceback."""
    try:
        cli()
    except Exception as error:
        _explain(error)
        raise


if __name__ == "__main__":
    main()
