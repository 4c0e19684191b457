"""The sandbox's state on disk: what was answered is there after a kill -9 at any moment.

SQLite in WAL mode without fsync: a commit is in the operating system's hands when it returns, so it outlives
the process (not a crash of the machine, which a sandbox need not survive), and costs some 30 microseconds.
"""

import fcntl
import os
import secrets
import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import msgspec

from crypto_orders.sandbox.payment import Payment

_DATABASE_FILE: Final = "sandbox.sqlite3"
_LOCK_FILE: Final = "sandbox.lock"

# Ids look like the provider's: ten digits, beyond 32 bits. The first one of a new state is drawn at random,
# so that a merchant's database hardly ever meets the ids of an earlier, deleted state again.
_ID_FIRST: Final = 4_300_000_000
_ID_END: Final = 6_500_000_000
_ID_STRIDE_MAX: Final = 7
# Ids are promised to this process in blocks, to write the counter once per block and not once per id.
_ID_BLOCK: Final = 10_000

_INSERT_PAYMENT: Final = """
INSERT INTO payments
VALUES (:payment_id, :purchase_id, :parent_payment_id, :invoice_id, :payment_status, :order_id,
        :order_description, :customer_email, :price_amount, :price_currency, :pay_amount, :pay_currency,
        :received, :actually_paid, :pay_address, :payin_extra_id, :outcome_currency, :ipn_callback_url,
        :origin_ip, :is_fixed_rate, :is_fee_paid_by_user, :walk, :step_due_ms, :created_ms, :updated_ms,
        :estimate_until_ms, :valid_until_ms)
"""
# Only what can change: what was agreed at creation stays.
_UPDATE_PAYMENT: Final = """
UPDATE payments
   SET payment_status = :payment_status, received = :received, actually_paid = :actually_paid, walk = :walk,
       step_due_ms = :step_due_ms, updated_ms = :updated_ms, estimate_until_ms = :estimate_until_ms
 WHERE payment_id = :payment_id
"""
_SELECT_PAYMENT: Final = "SELECT * FROM payments WHERE payment_id = ?"
_SELECT_CHILDREN: Final = (
    "SELECT payment_id FROM payments WHERE parent_payment_id = ? ORDER BY created_ms, payment_id"
)
_SELECT_WALKING: Final = "SELECT payment_id, step_due_ms FROM payments WHERE step_due_ms IS NOT NULL"
_SELECT_OVERDUE: Final = """
SELECT *
  FROM payments
 WHERE payment_status = 'waiting' AND valid_until_ms <= ? AND step_due_ms IS NULL
 LIMIT 500
"""
_SELECT_SETTLED: Final = "SELECT * FROM payments WHERE payment_status IN ('finished', 'partially_paid')"
# The order is one of the list's fixed texts; everything else is bound.
_LISTED: Final = """
  FROM payments
 WHERE (:from_ms IS NULL OR created_ms >= :from_ms) AND (:until_ms IS NULL OR created_ms < :until_ms)
   AND (:invoice_id IS NULL OR invoice_id = :invoice_id)
"""
_SELECT_PAGE: Final = "SELECT *" + _LISTED + " ORDER BY {order} LIMIT :limit OFFSET :offset"
_COUNT_LISTED: Final = "SELECT count(*)" + _LISTED
_INSERT_IPN: Final = """
INSERT INTO ipns (payment_id, url, body, signature, copies, attempts, due_ms)
VALUES (?, ?, ?, ?, ?, 0, ?)
"""
_SELECT_IPNS: Final = """
  SELECT ipn_id, payment_id, url, body, signature, copies, attempts, due_ms
    FROM ipns
ORDER BY ipn_id
"""
# The ledger is written by SQLite itself, 100,000 rows in a fraction of a second; amounts are exact here.
_SELECT_LEDGER: Final = """
SELECT json_object(
           'data', json_group_array(
               json_object(
                   'payment_id', CAST(payment_id AS TEXT),
                   'payment_status', payment_status,
                   'order_id', order_id,
                   'pay_address', pay_address,
                   'payin_extra_id', payin_extra_id,
                   'pay_currency', pay_currency,
                   'pay_amount', json(pay_amount),
                   'actually_paid', json(actually_paid),
                   'price_amount', json(price_amount),
                   'price_currency', price_currency,
                   'parent_payment_id', CAST(parent_payment_id AS TEXT),
                   'created_at', strftime('%Y-%m-%dT%H:%M:%S', created_ms / 1000, 'unixepoch')
                                 || printf('.%03dZ', created_ms % 1000),
                   'updated_at', strftime('%Y-%m-%dT%H:%M:%S', updated_ms / 1000, 'unixepoch')
                                 || printf('.%03dZ', updated_ms % 1000)
               )
           )
       )
  FROM (SELECT * FROM payments WHERE {where} ORDER BY created_ms, payment_id)
"""
_WHOLE_LEDGER: Final = _SELECT_LEDGER.format(where="?1 IS NULL AND ?2 IS NULL")
_LEDGER_OF_PAYMENT: Final = _SELECT_LEDGER.format(where="payment_id = ?1 AND (?2 IS NULL OR order_id = ?2)")
_LEDGER_OF_ORDER: Final = _SELECT_LEDGER.format(where="?1 IS NULL AND order_id = ?2")


class PendingIpn(NamedTuple):
    """A notification that is still to be delivered."""

    ipn_id: int
    payment_id: int
    url: str
    body: bytes
    signature: str
    copies: int
    """How many times more than once it is sent."""
    attempts: int
    """How many times it failed."""
    due_ms: int


class NewIpn(NamedTuple):
    """A notification to be stored with the change it tells of."""

    payment_id: int
    url: str
    body: bytes
    signature: str
    copies: int
    due_ms: int


class StateInUseError(Exception):
    """Another process serves this state directory."""


class Page(NamedTuple):
    """One page of the merchant's list, and how many payments match in all."""

    rows: Sequence[Payment]
    total: int


class PageQuery(NamedTuple):
    """Which payments to list: ``order_sql`` is one of the fixed texts of the list's sort columns."""

    order_sql: str
    limit: int
    offset: int
    from_ms: int | None
    until_ms: int | None
    invoice_id: int | None


class Ledger:
    """The one writer of a state directory."""

    def __init__(self, state_dir: Path) -> None:
        """Open the state, making it when missing; raises StateInUseError when another process has it."""
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _lock(state_dir / _LOCK_FILE)
        self._path = state_dir / _DATABASE_FILE
        self._database = sqlite3.connect(self._path, isolation_level=None)
        self._database.row_factory = sqlite3.Row
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.executescript(
            resources.files("crypto_orders.sandbox").joinpath("schema.sql").read_text(encoding="utf-8")
        )
        self._next_id = 0
        self._ids_end = 0

    def close(self) -> None:
        """Let go of the state."""
        self._database.close()
        os.close(self._lock)

    @contextmanager
    def transaction(self) -> Generator[None]:
        """All writes inside happen together or not at all."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def next_id(self) -> int:
        """A new id for a payment, purchase or invoice, never given before, a reset notwithstanding."""
        if self._next_id + _ID_STRIDE_MAX >= self._ids_end:
            self._next_id = int(self.setting("next_id") or _ID_FIRST + secrets.randbelow(_ID_END - _ID_FIRST))
            if self._next_id >= _ID_END:
                self._next_id = _ID_FIRST
            self._ids_end = self._next_id + _ID_BLOCK
            self.set_setting("next_id", str(self._ids_end))
        self._next_id += 1 + secrets.randbelow(_ID_STRIDE_MAX)
        return self._next_id

    def setting(self, name: str) -> str | None:
        """A stored word under a name."""
        row = self._one("SELECT value FROM settings WHERE name = ?", name)
        return None if row is None else row["value"]

    def set_setting(self, name: str, value: str) -> None:
        """Store a word under a name."""
        self._database.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    def add_payment(self, payment: Payment) -> None:
        """Store a new payment."""
        self._database.execute(_INSERT_PAYMENT, _bound(payment))

    def update_payment(self, payment: Payment) -> None:
        """Store what changed in a payment."""
        self._database.execute(_UPDATE_PAYMENT, _bound(payment))

    def payment(self, payment_id: int) -> Payment | None:
        """The payment of that id."""
        row = self._one(_SELECT_PAYMENT, payment_id)
        return None if row is None else _payment(row)

    def children(self, payment_id: int) -> list[int]:
        """The ids of the further deposits to a payment's address, oldest first."""
        return [row["payment_id"] for row in self._all(_SELECT_CHILDREN, payment_id)]

    def walking(self) -> list[tuple[int, int]]:
        """Id and due time of every payment that has a step to take."""
        return [(row["payment_id"], row["step_due_ms"]) for row in self._all(_SELECT_WALKING)]

    def overdue(self, now_ms: int) -> list[Payment]:
        """Some of the payments that nothing was sent to before the watch on their address ended."""
        return [_payment(row) for row in self._all(_SELECT_OVERDUE, now_ms)]

    def settled(self) -> Iterator[Payment]:
        """Every payment whose money is with the merchant."""
        for row in self._database.execute(_SELECT_SETTLED):
            yield _payment(row)

    def page(self, query: PageQuery) -> Page:
        """One page of the merchant's list."""
        values = query._asdict()
        rows = self._database.execute(_SELECT_PAGE.format(order=query.order_sql), values).fetchall()
        total = self._database.execute(_COUNT_LISTED, values).fetchone()[0]
        return Page([_payment(row) for row in rows], total)

    def ledger_json(self, payment_id: int | None, order_id: str | None) -> str:
        """Every payment, or those of an id or an order, as one JSON document.

        It reads by a connection of its own, so that a thread may run it beside the writer.
        """
        sql = (
            _LEDGER_OF_PAYMENT
            if payment_id is not None
            else _LEDGER_OF_ORDER
            if order_id is not None
            else _WHOLE_LEDGER
        )
        reader = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            return reader.execute(sql, (payment_id, order_id)).fetchone()[0]
        finally:
            reader.close()

    def add_invoice(self, invoice_id: int, document: bytes) -> None:
        """Store an invoice as the JSON it was answered with."""
        self._database.execute("INSERT INTO invoices VALUES (?, ?)", (invoice_id, document.decode()))

    def invoice(self, invoice_id: int) -> bytes | None:
        """The stored JSON of an invoice."""
        row = self._one("SELECT document FROM invoices WHERE invoice_id = ?", invoice_id)
        return None if row is None else cast("str", row["document"]).encode()

    def add_ipn(self, ipn: NewIpn) -> PendingIpn:
        """Store a notification to be delivered."""
        cursor = self._database.execute(_INSERT_IPN, ipn)
        return PendingIpn(
            cast("int", cursor.lastrowid),
            ipn.payment_id, ipn.url, ipn.body, ipn.signature, ipn.copies, 0, ipn.due_ms,
        )  # fmt: skip

    def ipns(self) -> list[PendingIpn]:
        """Every notification that is still to be delivered, oldest first."""
        return [PendingIpn(*row) for row in self._all(_SELECT_IPNS)]

    def postpone_ipn(self, ipn: PendingIpn) -> None:
        """Store a failed attempt and when the next is due."""
        self._database.execute(
            "UPDATE ipns SET attempts = ?, copies = 0, due_ms = ? WHERE ipn_id = ?",
            (ipn.attempts, ipn.due_ms, ipn.ipn_id),
        )

    def drop_ipn(self, ipn_id: int) -> None:
        """Forget a notification: delivered, given up or lost on purpose."""
        self._database.execute("DELETE FROM ipns WHERE ipn_id = ?", (ipn_id,))

    def clear(self) -> None:
        """Forget all payments, invoices and notifications; the counter of ids goes on."""
        with self.transaction():
            for table in ("payments", "invoices", "ipns"):
                self._database.execute(f"DELETE FROM {table}")  # noqa: S608 - constant names.

    def _one(self, sql: str, *values: object) -> sqlite3.Row | None:
        return self._database.execute(sql, values).fetchone()

    def _all(self, sql: str, *values: object) -> list[sqlite3.Row]:
        return self._database.execute(sql, values).fetchall()


def _lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        message = f"another sandbox is running on {path.parent}"
        raise StateInUseError(message) from None
    return descriptor


def _bound(payment: Payment) -> dict[str, Any]:
    bound = msgspec.structs.asdict(payment)
    for name in ("price_amount", "pay_amount", "received", "actually_paid"):
        bound[name] = format(cast("Decimal", bound[name]).normalize(), "f")
    bound["walk"] = " ".join(payment.walk)
    return bound


def _payment(row: sqlite3.Row) -> Payment:
    values: dict[str, Any] = dict(row)
    for name in ("price_amount", "pay_amount", "received", "actually_paid"):
        values[name] = Decimal(values[name])
    for name in ("is_fixed_rate", "is_fee_paid_by_user"):
        values[name] = bool(values[name])
    values["walk"] = tuple(values["walk"].split())
    return Payment(**values)
