"""Run an ASGI application on a socket with uvicorn, configured once for every process of the service."""

import contextlib
import logging
import resource
import socket
from collections.abc import Generator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from crypto_orders.kit.protocol import Limits, serving

# Connections that wait to be accepted while the loop is busy; the kernel's own bound is 4096.
BACKLOG: Final = 2048
# How long requests may take to end after the order to stop.
SHUTDOWN_SECONDS_MAX: Final = 20


class Server(uvicorn.Server):
    """A uvicorn server whose signals are its owner's business, unless it is told to handle them.

    Set ``should_exit`` to end it: it stops accepting, finishes what it is answering, and returns.
    """

    def __init__(self, config: uvicorn.Config, *, handles_signals: bool) -> None:
        super().__init__(config)
        self._handles_signals = handles_signals

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """SIGINT and SIGTERM end the server where it handles them."""
        if not self._handles_signals:
            yield
            return
        with super().capture_signals():
            yield


def bind(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """A listening address; port 0 takes a free one. OSError when the address is taken.

    With ``reuse_port`` several processes may listen on it and the kernel spreads connections over them.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    bound.set_inheritable(False)
    return bound


def address_of(bound: socket.socket) -> tuple[str, int]:
    """The host and the port that a socket listens on."""
    name = bound.getsockname()
    return name[0], name[1]


def make_server(
    app: ASGIApp, *, type_base: str, limits: Limits | None = None, handles_signals: bool = False
) -> Server:
    """A server for the application; run it with ``await server.serve(sockets=[bind(host, port)])``.

    Nothing it sends names a product or a version. It writes no access log: the application does.
    """
    limits = limits or Limits()
    # Its chatter about connections is said better by the protocol and the application.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    config = uvicorn.Config(
        app,
        http=serving(type_base, limits),
        loop="auto",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=limits.idle_seconds_max,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS_MAX,
    )
    return Server(config, handles_signals=handles_signals)


async def serve(
    app: ASGIApp,
    bound: socket.socket,
    *,
    type_base: str,
    limits: Limits | None = None,
    handles_signals: bool = True,
) -> None:
    """Serve the application on a bound socket until the process is told to stop."""
    _raise_descriptor_limit()
    server = make_server(app, type_base=type_base, limits=limits, handles_signals=handles_signals)
    await server.serve(sockets=[bound])


def _raise_descriptor_limit() -> None:
    """Allow as many connections as the system does; the usual soft limit is 1,024 for all of them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
