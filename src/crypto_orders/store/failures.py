"""How the database fails, told apart by what is known of the write: retry, nothing written, or unknown."""

import asyncpg
from asyncpg.exceptions import (
    DeadlockDetectedError,
    LockNotAvailableError,
    SerializationError,
    UniqueViolationError,
)

RETRIED = (DeadlockDetectedError, LockNotAvailableError, SerializationError, UniqueViolationError)
"""Each means that another transaction was faster; the next try sees what it did."""


class CommitUnknown(Exception):  # noqa: N818 - it reads as what happened
    """The connection was lost while COMMIT was under way: look for the row under your own id."""


class StoreUnavailable(Exception):  # noqa: N818
    """The database cannot be reached, or has no connection free in time; nothing was written."""


LOST = (
    OSError,
    asyncpg.InterfaceError,
    # The driver's own word for a connection that died between two of its steps.
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.AdminShutdownError,
    asyncpg.exceptions.CrashShutdownError,
    asyncpg.exceptions.CannotConnectNowError,
    asyncpg.exceptions.TooManyConnectionsError,
    asyncpg.exceptions.QueryCanceledError,
)
