"""Keeps connections for a short time, each for the one endpoint it was dialled for."""

from typing import Final, NamedTuple

from crypto_orders.sender.connection import Connection

IDLE_CONNECTIONS_MAX: Final = 256
"""Idle connections of a process, over all endpoints: each is a file descriptor on either side."""


class PoolKey(NamedTuple):
    """Whom a connection may serve: one endpoint, at one origin. Two endpoints never share a connection."""

    endpoint: str
    tls: bool
    host: str
    port: int


class ConnectionPool:
    """Idle connections by key; one that is lost or too old leaves by itself."""

    def __init__(self) -> None:
        self._idle: dict[PoolKey, list[Connection]] = {}
        self._count = 0

    def __len__(self) -> int:
        """Count the connections that wait for reuse."""
        return self._count

    def take(self, key: PoolKey) -> Connection | None:
        """Return the connection that was used last, or None."""
        waiting = self._idle.get(key)
        if waiting is None:
            return None
        connection = waiting.pop()
        self._count -= 1
        if not waiting:
            del self._idle[key]
        return connection if connection.usable else self.take(key)

    def put(self, key: PoolKey, connection: Connection) -> None:
        """Keep a connection after its exchange, or close it when it is spent or there is no room."""
        if connection.usable and self._count < IDLE_CONNECTIONS_MAX:
            self._idle.setdefault(key, []).append(connection)
            self._count += 1
        else:
            connection.abort()

    def discard(self, key: PoolKey, connection: Connection) -> None:
        """Forget a connection that was closed."""
        waiting = self._idle.get(key)
        if waiting is None or connection not in waiting:
            return
        waiting.remove(connection)
        self._count -= 1
        if not waiting:
            del self._idle[key]

    def close(self) -> None:
        """Close every idle connection."""
        idle, self._idle, self._count = self._idle, {}, 0
        for waiting in idle.values():
            for connection in waiting:
                connection.abort()
