"""Write structured logs: one JSON object a line on standard output, each with an event in snake case."""

import logging
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, TextIO, cast

import msgspec
import structlog

from crypto_orders.kit import clock

# A message of an exception may quote rows or bodies after its first line (PostgreSQL's DETAIL does).
_EXCEPTION_CHARS_MAX = 300
# The innermost frames tell where it broke; a deeper stack is rarely read and costs a line its shape.
_FRAMES_MAX = 25
# A chain of causes longer than this is a loop or noise.
_CAUSES_MAX = 5

# Values under these names are never written, whoever passes them by mistake.
_SECRET_NAMES = frozenset(
    {"authorization", "api_key", "body", "cookie", "dsn", "key", "password", "raw_body", "secret", "token"}
)
_MASK = "***"

_encode = msgspec.json.Encoder(enc_hook=repr).encode


class Logger(Protocol):
    """What the code of this service may say to a log: an event in snake case and keys with plain values."""

    def debug(self, event: str, /, **keys: object) -> None:
        """Tell what only a developer wants to know."""

    def info(self, event: str, /, **keys: object) -> None:
        """Tell what happened as it should."""

    def warning(self, event: str, /, **keys: object) -> None:
        """Tell what someone may have to look at."""

    def error(self, event: str, /, **keys: object) -> None:
        """Tell what went wrong and was handled."""

    def exception(self, event: str, /, **keys: object) -> None:
        """Tell what went wrong, with the exception being handled."""


class _Present:
    """The logger as it is configured at the moment; making it anew for every line would cost more than it."""

    def __init__(self) -> None:
        self.logger = cast("Logger", structlog.get_logger())

    def debug(self, event: str, /, **keys: object) -> None:
        self.logger.debug(event, **keys)

    def info(self, event: str, /, **keys: object) -> None:
        self.logger.info(event, **keys)

    def warning(self, event: str, /, **keys: object) -> None:
        self.logger.warning(event, **keys)

    def error(self, event: str, /, **keys: object) -> None:
        self.logger.error(event, **keys)

    def exception(self, event: str, /, **keys: object) -> None:
        self.logger.exception(event, **keys)  # noqa: LOG004 - the caller handles one


_present = _Present()
_bound: ContextVar[Mapping[str, object]] = ContextVar("log_keys", default=MappingProxyType({}))


def get() -> Logger:
    """The logger every module uses: ``log = kit.log.get()`` and ``log.info("order_created", order_id=…)``."""
    return _present


def bind(**keys: object) -> None:
    """Add keys to every further line of the present task, such as the request id."""
    _bound.set({**_bound.get(), **keys})


def unbind_all() -> None:
    """Forget the keys of the present task, for a worker that goes on to another piece of work."""
    _bound.set({})


def configure(*, level: str = "info", process: str | None = None, stream: TextIO | None = None) -> None:
    """Set up logging for this process: events at ``level`` and above, libraries' warnings too.

    ``process`` is written on every line (``web``, ``workers``) where several share an output.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    output = stream or sys.stdout
    constant = {} if process is None else {"process": process}

    def add_constants(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.update(constant)
        return event

    structlog.configure(
        processors=[
            _add_bound,
            structlog.processors.add_log_level,
            add_constants,
            _mask_secrets,
            _render_exception,
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(output),
        cache_logger_on_first_use=False,
    )
    _present.logger = cast("Logger", structlog.get_logger().bind())
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    root.setLevel(max(threshold, logging.WARNING))


def describe_exception(error: BaseException) -> str:
    """An exception in one text: types, first lines of the messages and frames, without local values."""
    told: list[str] = []
    seen: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if seen is None:
            break
        lines = str(seen).splitlines()
        message = lines[0][:_EXCEPTION_CHARS_MAX] if lines else ""
        told.append(f"{type(seen).__name__}: {message}{_frames(seen.__traceback__)}")
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return " <- ".join(told)


def _frames(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)[-_FRAMES_MAX:]
    return "".join(f" | {frame.filename}:{frame.lineno} {frame.name}" for frame in frames)


def _add_bound(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {**_bound.get(), **event}


def _mask_secrets(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in _SECRET_NAMES & event.keys():
        event[name] = _MASK
    return event


def _render_exception(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    given = event.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()[1]
    elif isinstance(given, tuple):
        given = cast("tuple[object, object, object]", given)[1]
    if isinstance(given, BaseException):
        event["exception"] = describe_exception(given)
    return event


def _render(_: object, __: str, event: MutableMapping[str, Any]) -> str:
    head: Mapping[str, object] = {
        "time": clock.to_iso(clock.utc_now()),
        "level": event.pop("level"),
        "event": event.pop("event"),
    }
    return _encode({**head, **event}).decode()


class _Bridge(logging.Handler):
    """Take the records of libraries that use the standard ``logging`` into the same stream of lines."""

    def emit(self, record: logging.LogRecord) -> None:
        tell = _present.error if record.levelno >= logging.ERROR else _present.warning
        keys: dict[str, object] = {
            "logger": record.name,
            "message": record.getMessage()[:_EXCEPTION_CHARS_MAX],
        }
        if record.exc_info and record.exc_info[1] is not None:
            keys["exc_info"] = record.exc_info[1]
        tell("library_logged", **keys)
