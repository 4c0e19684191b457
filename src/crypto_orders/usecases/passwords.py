"""Hash and check operators' passwords with argon2, few at a time, so that sign-ins never take all memory."""

import asyncio
import os
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, Protocol, Self, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from crypto_orders.domain.errors import Unavailable

T = TypeVar("T")

AT_ONCE_MAX: Final = 4
"""Each hash takes 64 MiB while it is made: 256 MiB at most in a process, however many sign in."""

WAITING_MAX: Final = 64
"""A crowd beyond these is told to come back, so that it never takes the room of the service's other work."""

RETRY_AFTER_SECONDS: Final = 2

SALT_BYTES: Final = 16
DIGEST_BYTES: Final = 32


class Hasher(Protocol):
    """Makes and checks hashes on the thread it is called on; argon2's own hasher is one."""

    def hash(self, password: str) -> str:
        """The encoded hash of a password, with a new salt."""
        ...

    def verify(self, hash: str, password: str) -> bool:  # noqa: A002 - the library's own name
        """True, or VerificationError when the password is another one."""
        ...

    def check_needs_rehash(self, hash: str) -> bool:  # noqa: A002
        """Whether a hash was made at another cost than this hasher's."""
        ...


def hasher_of_rfc_9106() -> PasswordHasher:
    """The second profile that RFC 9106 recommends: 3 passes over 64 MiB in 4 lanes."""
    return PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)


class Passwords:
    """Hashes passwords on threads of its own, so that requests go on meanwhile.

    The threads are the bound: a request that is given up does not free the place of a hash still running.
    Every call raises Unavailable where too many wait for them.
    """

    def __init__(self, hasher: Hasher | None = None, *, at_once: int = AT_ONCE_MAX) -> None:
        self._hasher = hasher or hasher_of_rfc_9106()
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="argon2")
        self._decoy = _decoy(self._hasher)
        self._room = at_once + WAITING_MAX

    async def hash(self, password: str) -> str:
        """The hash of a new password."""
        return await self._run(lambda: self._hasher.hash(password))

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Whether a password is the hash's own; without a hash the same work is done for a False."""
        hashed = self._decoy if password_hash is None else password_hash
        return await self._run(lambda: self._verify(hashed, password)) and password_hash is not None

    def is_weak(self, password_hash: str) -> bool:
        """Whether a hash was made at another cost than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, password_hash: str, password: str) -> bool:
        with suppress(VerificationError, InvalidHashError):
            return self._hasher.verify(password_hash, password)
        return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._room == 0:
            detail = "Too many people are signing in at this moment."
            raise Unavailable(detail, RETRY_AFTER_SECONDS)
        self._room -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._room += 1


def _decoy(hasher: Hasher) -> str:
    """A hash of no password, at the hasher's own cost: its digest is random, so making it costs nothing."""
    cost = hasher if isinstance(hasher, PasswordHasher) else hasher_of_rfc_9106()
    parts = f"m={cost.memory_cost},t={cost.time_cost},p={cost.parallelism}"
    return f"$argon2id$v=19${parts}${_base64(os.urandom(SALT_BYTES))}${_base64(os.urandom(DIGEST_BYTES))}"


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode().rstrip("=")
