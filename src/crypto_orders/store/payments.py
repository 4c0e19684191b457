"""Payments: reading them, and the schedule by which the provider is asked about them."""

from crypto_orders.domain.payment import Payment
from crypto_orders.store.connection import Row


def payment_of(row: Row) -> Payment:
    """Read a payment from a row of its table."""
    return Payment(**{name: row[name] for name in Payment.__struct_fields__})
