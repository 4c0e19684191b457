"""Reads every setting once, from `CRYPTO_ORDERS_*` variables, into one frozen value, or says what is wrong.

The fields of `Settings` are the whole list: name, default, meaning and how the text is read. `doctor` and
the documentation draw their tables from it.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast, get_args
from urllib.parse import urlsplit

from crypto_orders.kit.sealing import SealingKeyError, parse_sealing_keys

PREFIX: Final = "CRYPTO_ORDERS_"
FILE_SUFFIX: Final = "_FILE"

MISCONFIGURED_EXIT_CODE: Final = 78
"""EX_CONFIG of sysexits.h: a supervisor that knows it does not try again."""

Environment = Literal["production", "development", "demo"]
MismatchPolicy = Literal["replay", "reject"]
LogLevel = Literal["debug", "info", "warning", "error"]

T = TypeVar("T")


class SettingsError(Exception):
    """A setting cannot be used; the text is one sentence that names it and never repeats a secret."""


class Secret:
    """A text that must not be shown: printed or logged by mistake it is `***`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Wrap the text."""
        self._text = text

    def __repr__(self) -> str:
        """Show that there is something, not what."""
        return "***"

    def reveal(self) -> str:
        """Answer the text, for the one place that needs it."""
        return self._text


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What is known of one setting besides its value.

    `empty_counts`: an empty variable is a value of its own; otherwise it is as if it were not set.
    `default` is the text for people: what holds when the variable is absent.
    """

    name: str
    meaning: str
    default: str
    parse: Callable[[str], object]
    is_secret: bool
    empty_counts: bool

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.name.upper()


def _setting(
    meaning: str,
    parse: Callable[[str], T],
    default: T,
    *,
    shown: str | None = None,
    is_secret: bool = False,
    empty_counts: bool = False,
) -> T:
    metadata: dict[str, object] = {
        "meaning": meaning,
        "parse": parse,
        "default": str(default) if shown is None else shown,
        "is_secret": is_secret,
        "empty_counts": empty_counts,
    }
    return dataclasses.field(default=default, metadata=metadata)


def _secret_setting(meaning: str, parse: Callable[[str], T], default: T) -> T:
    return _setting(meaning, parse, default, shown="", is_secret=True)


def _text(text: str) -> str:
    return text


def _secret(text: str) -> Secret | None:
    return Secret(text.strip()) if text.strip() else None


def _database_url(text: str) -> Secret:
    if urlsplit(text).scheme not in {"postgresql", "postgres"}:
        message = "has to be an address such as postgresql://user:password@host/name"
        raise ValueError(message)
    return Secret(text)


def _secrets(text: str) -> tuple[Secret, ...]:
    return tuple(Secret(line.strip()) for line in text.splitlines() if line.strip())


def _sealing_key(text: str) -> Secret | None:
    try:
        parse_sealing_keys(text)
    except SealingKeyError as error:
        raise ValueError(f"is not usable: {error}") from None
    return Secret(text)


def _switch(text: str) -> bool:
    match text.lower():
        case "1" | "true" | "yes" | "on":
            return True
        case "0" | "false" | "no" | "off":
            return False
        case _:
            message = "has to be true or false"
            raise ValueError(message)


def _one_of(kind: object) -> Callable[[str], Any]:
    allowed = cast("tuple[str, ...]", get_args(kind))

    def parse(text: str) -> str:
        if text not in allowed:
            message = f"has to be one of {', '.join(allowed)}"
            raise ValueError(message)
        return text

    return parse


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if re.fullmatch(r"[0-9]{1,9}", text) is None or not least <= int(text) <= most:
            message = f"has to be a whole number from {least} to {most}"
            raise ValueError(message)
        return int(text)

    return parse


def _percent(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not (value.is_finite() and 0 <= value <= 50):  # noqa: PLR2004 (beyond half it is no tolerance)
        message = "has to be a number of percent from 0 to 50"
        raise ValueError(message)
    return value


def _url(text: str) -> str:
    """Read an absolute http(s) URL; without the slash at its end, so that paths can be put after it."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        message = "has to be an absolute http or https URL without a query"
        raise ValueError(message)
    if parts.username is not None:
        message = "must not hold credentials"
        raise ValueError(message)
    return text.rstrip("/")


def _matching(pattern: str, description: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            message = f"has to be {description}"
            raise ValueError(message)
        return text

    return parse


def _networks(text: str) -> tuple[str, ...]:
    networks = tuple(re.split(r"[\s,]+", text.strip()))
    for network in networks:
        try:
            ip_network(network)
        except ValueError:
            message = "has to be a list of addresses or networks such as 10.0.0.0/8"
            raise ValueError(message) from None
    return networks


def _coin(text: str) -> str | None:
    if text == "":
        return None
    return _matching(r"[A-Za-z0-9]{2,20}", "a coin's code such as btc, or empty")(text).lower()


_PORT = _whole(1, 65535)
_RATE = _whole(0, 1_000_000)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything an operator can set. A time is in the unit its name ends with."""

    env: Environment = _setting(
        "What this deployment is for: production refuses what is unsafe.", _one_of(Environment), "development"
    )
    host: str = _setting("The address to listen on.", _text, "127.0.0.1")
    port: int = _setting("The port to listen on.", _PORT, 8080)
    public_url: str = _setting(
        "Where clients, payers and NOWPayments reach this service: the base of checkout_url, of the "
        "notification callback and of error types. https in production.",
        _url,
        "",
        shown="http://HOST:PORT",
    )
    trusted_proxies: tuple[str, ...] = _setting(
        "Addresses or networks of the proxies whose X-Forwarded-For is believed, separated by commas.",
        _networks,
        (),
        shown="",
    )
    log_level: LogLevel = _setting("The least severe events to log.", _one_of(LogLevel), "info")
    metrics_token: Secret | None = _secret_setting(
        "The bearer token that /metrics asks for; without it, only this machine is answered.", _secret, None
    )
    worker_metrics_port: int = _setting(
        "The port on which a worker answers /metrics, /livez and /readyz, at HOST; 0: none.",
        _whole(0, 65535),
        0,
    )

    database_url: Secret | None = _secret_setting(
        "The PostgreSQL database, as postgresql://user:password@host/name. Without it the service runs a "
        "PostgreSQL of its own in DATA_DIR.",
        _database_url,
        None,
    )
    migration_database_url: Secret | None = _secret_setting(
        "The same database for the role that owns its tables: `crypto-orders migrate` works under it and "
        "gives the role of DATABASE_URL what it needs. Without it both are one role.",
        _database_url,
        None,
    )
    database_connections_max: int = _setting(
        "How many database connections one process opens at most.", _whole(2, 500), 16
    )
    data_dir: Path = _setting(
        "Where a PostgreSQL of the service's own keeps its data.", Path, Path("var/data")
    )
    sealing_key: Secret | None = _secret_setting(
        "The key that seals secrets at rest: 32 random bytes in base64 (openssl rand -base64 32). To change "
        "it, the new key, a comma and the old one.",
        _sealing_key,
        None,
    )

    sandbox: bool = _setting(
        "Whether NOWPAYMENTS_URL is the sandbox: keys are then of the test kind.",
        _switch,
        default=False,
        shown="false",
    )
    nowpayments_url: str = _setting("The provider's API.", _url, "https://api.nowpayments.io")
    nowpayments_api_key: Secret | None = _secret_setting("The provider's API key.", _secret, None)
    nowpayments_ipn_secret: tuple[Secret, ...] = _secret_setting(
        "The secret that signs the provider's notifications; while it is changed, several, one a line.",
        _secrets,
        (),
    )
    provider_reads_per_second: int = _setting(
        "How many reads of the provider all workers together make in a second.", _whole(1, 1000), 5
    )

    default_pay_currency: str | None = _setting(
        "The coin of a checkout that names none; empty: the payer chooses on the page.",
        _coin,
        "btc",
        empty_counts=True,
    )
    pay_window_minutes: int = _setting("How long an order can be paid.", _whole(1, 10_080), 60)
    pay_tolerance_percent: Decimal = _setting(
        "How much less than asked still counts as paid.", _percent, Decimal(1)
    )
    open_orders_max: int = _setting("Pending orders an account may have; 0 is no limit.", _RATE, 5)
    unpaid_orders_per_day_max: int = _setting(
        "Orders an account may start in 24 hours without paying them; 0 is no limit.", _RATE, 10
    )
    sweep_every_minutes: int = _setting("How often old pending orders are swept.", _whole(1, 1440), 15)
    sweep_older_than_hours: int = _setting("The age at which they are.", _whole(1, 8760), 24)
    idempotency_mismatch: MismatchPolicy = _setting(
        "A repeated Idempotency-Key with another body: replay the first answer and say so, or reject.",
        _one_of(MismatchPolicy),
        "replay",
    )
    allow_insecure_webhooks: bool = _setting(
        "Whether webhooks may go to http and loopback addresses. On in demo, refused in production.",
        _switch,
        default=False,
        shown="true in demo, else false",
    )

    rate_limit_customer_capacity: int = _setting(
        "Requests a customer's key may make at once; 0 is no limit.", _RATE, 120
    )
    rate_limit_customer_per_second: int = _setting("Requests it gets back a second.", _RATE, 20)
    rate_limit_admin_capacity: int = _setting(
        "Requests an admin key may make at once; 0 is no limit.", _RATE, 300
    )
    rate_limit_admin_per_second: int = _setting("Requests it gets back a second.", _RATE, 50)
    rate_limit_failure_capacity: int = _setting(
        "Failed authentications and bad signatures an address may make at once; 0 is no limit.", _RATE, 60
    )
    rate_limit_failure_per_second: int = _setting("Failures it gets back a second.", _RATE, 1)

    brand_name: str = _setting("The name on pages and documents.", _text, "Crypto Orders")
    brand_slug: str = _setting(
        "The name in headers (X-Crypto-Orders-…) and in the webhooks' user agent.",
        _matching(r"[a-z0-9]+(-[a-z0-9]+)*", "lower-case words joined by hyphens"),
        "crypto-orders",
    )
    error_type_base: str = _setting(
        "What the type of an error starts with.", _url, "", shown="PUBLIC_URL/docs/errors"
    )
    key_prefix: str = _setting(
        "What API keys start with.", _matching(r"[a-z][a-z0-9]{0,9}", "a short lower-case word"), "ds"
    )

    @property
    def header_prefix(self) -> str:
        """What the service's own headers start with, such as `X-Crypto-Orders-`."""
        return f"X-{self.brand_slug.title()}-"

    @property
    def is_production(self) -> bool:
        """Whether what is unsafe is refused."""
        return self.env == "production"


class SettingsReader:
    """Reads settings from an environment and remembers where each came from and what was wrong with it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Read everything. Nothing is raised yet: `settings` does, `problems` tells."""
        self._environ = environ
        self._values: dict[str, object] = {}
        self.sources: dict[str, str] = {}
        """For each setting that was given, the variable that gave it."""
        self.problems: list[str] = []
        """One sentence for every setting that cannot be used."""
        for description in DESCRIPTIONS:
            self._read(description)

    @property
    def settings(self) -> Settings:
        """The settings. Raises SettingsError with the first problem."""
        if self.problems:
            raise SettingsError(self.problems[0])
        values = dict(self._values)
        given = Settings(**values)  # type: ignore[arg-type]
        derived: dict[str, Any] = {}
        if not given.public_url:
            host = f"[{given.host}]" if ":" in given.host else given.host
            derived["public_url"] = f"http://{host}:{given.port}"
        if not given.error_type_base:
            derived["error_type_base"] = f"{derived.get('public_url', given.public_url)}/docs/errors"
        if "allow_insecure_webhooks" not in values and given.env == "demo":
            derived["allow_insecure_webhooks"] = True
        return dataclasses.replace(given, **derived)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Variables that look like settings and are none: most likely a slip of the pen."""
        known = {description.variable for description in DESCRIPTIONS}
        known |= {description.variable + FILE_SUFFIX for description in DESCRIPTIONS if description.is_secret}
        return tuple(sorted(name for name in self._environ if name.startswith(PREFIX) and name not in known))

    def _read(self, description: Description) -> None:
        try:
            variable, text = self._text_of(description)
        except SettingsError as error:
            self.problems.append(str(error))
            return
        if text is None or (text == "" and not description.empty_counts):
            return
        try:
            self._values[description.name] = description.parse(text)
        except ValueError as error:
            self.problems.append(f"{variable} {error}")
        else:
            self.sources[description.name] = variable

    def _text_of(self, description: Description) -> tuple[str, str | None]:
        """Find the text of a setting: the variable that holds it or names its file, and the text."""
        text = self._environ.get(description.variable)
        file_variable = description.variable + FILE_SUFFIX
        path = self._environ.get(file_variable) if description.is_secret else None
        if not path:
            return description.variable, text
        if text:
            message = f"{description.variable} and {file_variable} are both set; set one"
            raise SettingsError(message)
        try:
            return file_variable, Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            message = f"{file_variable} names a file that cannot be read: {reason}"
            raise SettingsError(message) from None


def read(environ: Mapping[str, str]) -> Settings:
    """Read all settings. Raises SettingsError with one sentence for the first that cannot be used."""
    return SettingsReader(environ).settings


def refusals(settings: Settings) -> tuple[str, ...]:
    """Say why production must not run with these settings, a sentence each; empty outside production.

    Durability of the database is asked of the database itself, by `store.durability`.
    """
    if not settings.is_production:
        return ()
    found: list[str] = []
    if settings.sandbox:
        found.append(f"{PREFIX}SANDBOX is on: in production anyone could mark orders paid.")
    if not settings.nowpayments_ipn_secret:
        found.append(f"{PREFIX}NOWPAYMENTS_IPN_SECRET is empty: no notification could be verified.")
    if settings.sealing_key is None:
        found.append(f"{PREFIX}SEALING_KEY is not set: secrets could not be sealed at rest.")
    if not settings.public_url.startswith("https://"):
        found.append(f"{PREFIX}PUBLIC_URL is not https: keys and addresses would travel in the clear.")
    if settings.allow_insecure_webhooks:
        found.append(f"{PREFIX}ALLOW_INSECURE_WEBHOOKS is on: webhooks could be sent to this network.")
    return tuple(found)


def _describe() -> tuple[Description, ...]:
    return tuple(Description(name=field.name, **field.metadata) for field in dataclasses.fields(Settings))


DESCRIPTIONS: Final = _describe()
"""Every setting, in the order of the documentation."""
