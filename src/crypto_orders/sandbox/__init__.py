"""A faithful local NOWPayments: the embedded default and the double that everything is tested against."""

from crypto_orders.sandbox.application import create_app
from crypto_orders.sandbox.config import IpnFormat, SandboxConfig
from crypto_orders.sandbox.ledger import StateInUseError
from crypto_orders.sandbox.server import NotLoopbackError, serve

__all__ = ["IpnFormat", "NotLoopbackError", "SandboxConfig", "StateInUseError", "create_app", "serve"]
