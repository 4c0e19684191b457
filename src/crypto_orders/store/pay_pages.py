"""What an order's payment page is drawn from, read at one moment."""

from datetime import datetime

import msgspec
from msgspec import Struct

from crypto_orders.domain.order import Source, Status
from crypto_orders.domain.payment import Payment
from crypto_orders.store.checkouts import Attempt, Standing
from crypto_orders.store.connection import Conn
from crypto_orders.store.orders import ORDER_COLUMNS, order_of

READ = f"""
SELECT {ORDER_COLUMNS}, date_trunc('milliseconds', clock_timestamp()) AS now,
       e.source AS last_source, e.at AS last_event_at,
       a.attempt_no, a.state, a.reason, a.pay_currency AS attempt_coin, clock_timestamp() - a.started_at AS age,
       (SELECT array_agg(DISTINCT r.pay_currency)
          FROM provider_attempts r
         WHERE r.account_id = o.account_id AND r.order_id = o.order_id AND r.state = 'refused') AS refused_coins,
       (SELECT json_agg(p ORDER BY p.created_at, p.payment_id)
          FROM (SELECT {", ".join(Payment.__struct_fields__)}, asked_at, snapshot_at
                  FROM payments
                 WHERE account_id = o.account_id AND order_id = o.order_id) AS p) AS payments,
       (SELECT bool_or(f.state = 'open')
          FROM flags f
         WHERE f.account_id = o.account_id AND f.order_id = o.order_id
           AND f.kind IN ('overpaid', 'redeposit')) AS surplus_is_open
  FROM order_routes t
  JOIN orders o ON o.account_id = t.account_id AND o.order_id = t.order_id
  JOIN order_events e ON e.account_id = o.account_id AND e.order_id = o.order_id AND e.seq = o.version
  LEFT JOIN LATERAL (SELECT * FROM provider_attempts x
                      WHERE x.account_id = o.account_id AND x.order_id = o.order_id
                      ORDER BY x.attempt_no DESC
                      LIMIT 1) a ON true
 WHERE t.order_id = $1
"""


class _Watched(Payment, frozen=True, kw_only=True):
    asked_at: datetime | None
    snapshot_at: datetime | None


class PayPage(Struct, frozen=True, kw_only=True):
    """An order as its payer's page knows it.

    `standing` holds the order, its last create call, its current payment and the moment of reading, `payments`
    are all of them; `last_source` and `last_event_at` tell of its last event. `asked_at` is when the provider
    was last asked about the current payment, `answered_at` when it last answered. `surplus_is_open` says whether
    a flag about money beyond the amount due still waits for support; None when none was ever raised.
    """

    standing: Standing
    payments: tuple[Payment, ...]
    last_source: Source
    last_event_at: datetime
    refused_coins: frozenset[str]
    asked_at: datetime | None
    answered_at: datetime | None
    surplus_is_open: bool | None

    @property
    def ended_at(self) -> datetime | None:
        """When the order was paid, failed or was cancelled."""
        ended = self.standing.order.status in {Status.PAID, Status.FAILED, Status.CANCELLED}
        return self.last_event_at if ended else None


_watched = msgspec.json.Decoder(tuple[_Watched, ...]).decode


async def read(conn: Conn, order_id: str) -> PayPage | None:
    """The order of any account with what its page shows; None when there is none."""
    row = await conn.fetchrow(READ, order_id)
    if row is None:
        return None
    attempt = None
    if row["attempt_no"] is not None:
        attempt = Attempt(row["attempt_no"], row["state"], row["reason"], row["attempt_coin"], row["age"])
    payments = _watched(row["payments"] or "[]")
    payment = next((p for p in payments if p.payment_id == row["payment_id"]), None)
    return PayPage(
        standing=Standing(order_of(row), attempt, payment, row["now"]),
        payments=payments,
        last_source=Source(row["last_source"]),
        last_event_at=row["last_event_at"],
        refused_coins=frozenset(row["refused_coins"] or ()),
        asked_at=payment.asked_at if payment else None,
        answered_at=payment.snapshot_at if payment else None,
        surplus_is_open=row["surplus_is_open"],
    )
