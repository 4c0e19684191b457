"""Serve the sandbox from a process of its own, on this machine only."""

from ipaddress import ip_address

import uvicorn

from crypto_orders.domain import networks
from crypto_orders.sandbox.application import create_app
from crypto_orders.sandbox.config import SandboxConfig
from crypto_orders.sandbox.ledger import Ledger

# Requests under way get this long to end when the process is told to stop.
_STOP_SECONDS = 2


class NotLoopbackError(ValueError):
    """The sandbox was to be served to other machines, where anyone could mark orders paid."""


def serve(host: str, port: int, config: SandboxConfig) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises NotLoopbackError for any address but this machine's own, and StateInUseError when another sandbox
    has the state directory.
    """
    if not _is_loopback(host):
        message = f"the sandbox is served on loopback only, not on {host}"
        raise NotLoopbackError(message)
    Ledger(config.state_dir).close()
    uvicorn.run(
        create_app(config),
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        # The loopback rule of the controls is about the socket's peer; a header must not speak for it.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return networks.is_loopback(ip_address(host))
    except ValueError:
        return False
