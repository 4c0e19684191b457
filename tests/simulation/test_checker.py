"""The checker is silent when all is well, and catches each kind of loss and doubling put before it."""

import ast
import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.simulation import checker
from tests.simulation.checker import Evidence, findings

Piles = dict[str, list[dict[str, Any]]]

A, B, C = "ord_a", "ord_b", "ord_c"


def answered(n: int, op: str, told_order: str, status: str, **said: Any) -> dict[str, Any]:
    told = {"told_order_id": told_order, "told_status": status, "told_price_cents": 7900}
    http = 201 if op == "create" else 200
    return {"n": n, "phase": "answered", "op": op, "http": http, **told, **said}


def sent(n: int, op: str, **said: Any) -> dict[str, Any]:
    return {"n": n, "phase": "sent", "op": op, **said}


def a_good_run() -> Piles:
    """One order paid, one cancelled and paid late, one that failed; a fourth create was never answered."""
    creates = [
        line
        for n, (key, order_id) in enumerate((("ka", A), ("kb", B), ("kc", C)))
        for line in (
            sent(n, "create", key=key, price_cents=7900),
            answered(n, "create", order_id, "pending", key=key, price_cents=7900),
        )
    ]
    return {
        "log": [
            *creates,
            sent(3, "create", key="kd", price_cents=7900),
            {"n": 3, "phase": "unanswered", "op": "create", "key": "kd", "price_cents": 7900},
            sent(4, "cancel", order_id=B),
            answered(4, "cancel", B, "cancelled", order_id=B),
            sent(5, "read", order_id=A),
            answered(5, "read", A, "confirming", order_id=A),
            sent(6, "read", order_id=A),
            answered(6, "read", A, "paid", order_id=A),
        ],
        "ledger": [
            payment(1, A, "finished", 0.5),
            payment(2, B, "finished", 0.5),
            payment(3, C, "failed", 0),
        ],
        "orders": [
            {"order_id": A, "status": "paid", "payment_id": "1", "price_cents": 7900},
            {"order_id": B, "status": "cancelled", "payment_id": "2", "price_cents": 7900},
            {"order_id": C, "status": "failed", "payment_id": "3", "price_cents": 7900},
        ],
        "keys": [
            {"idempotency_key": key, "order_id": order_id}
            for key, order_id in (("ka", A), ("kb", B), ("kc", C))
        ],
        "events": [
            event(A, 1, "pending"),
            event(A, 2, "confirming"),
            event(A, 3, "paid"),
            event(B, 1, "pending"),
            event(B, 2, "cancelled"),
            event(C, 1, "pending"),
            event(C, 2, "failed"),
        ],
        "payments": [
            {"payment_id": payment_id, "order_id": order_id}
            for payment_id, order_id in (("1", A), ("2", B), ("3", C))
        ],
        "flags": [{"subject": "2", "kind": "late_payment", "state": "open"}],
        "webhook_events": [
            {"order_id": A, "event_type": "crypto.order.paid"},
            {"order_id": C, "event_type": "crypto.order.failed"},
        ],
    }


def payment(payment_id: int, order_id: str, status: str, paid: float) -> dict[str, Any]:
    return {
        "payment_id": payment_id,
        "order_id": order_id,
        "payment_status": status,
        "pay_amount": 0.5,
        "actually_paid": paid,
    }


def event(order_id: str, seq: int, status: str) -> dict[str, Any]:
    return {"order_id": order_id, "seq": seq, "status": status, "source": "ipn"}


def drop(pile: str, **found_by: Any) -> Callable[[Piles], None]:
    def sabotage(piles: Piles) -> None:
        kept = [row for row in piles[pile] if not found_by.items() <= row.items()]
        assert len(kept) < len(piles[pile])
        piles[pile] = kept

    return sabotage


def change(pile: str, found_by: dict[str, Any], **to: Any) -> Callable[[Piles], None]:
    def sabotage(piles: Piles) -> None:
        (row,) = [row for row in piles[pile] if found_by.items() <= row.items()]
        row.update(to)

    return sabotage


def add(pile: str, **row: Any) -> Callable[[Piles], None]:
    return lambda piles: piles[pile].append(row)


SABOTAGE: dict[str, tuple[Callable[[Piles], None], str]] = {
    "an order is lost": (drop("orders", order_id=A), "lost order: ord_a"),
    "a key is lost": (drop("keys", order_id=A), "lost key: ka"),
    "a key stands for another order": (
        change("keys", {"idempotency_key": "ka"}, order_id=B),
        "lost key: ka",
    ),
    "a price changed": (change("orders", {"order_id": A}, price_cents=1), "changed price: ord_a"),
    "a price was wrong from the start": (
        change("log", {"n": 0, "phase": "answered"}, price_cents=24900),
        "wrong price: ord_a",
    ),
    "a cancellation is lost": (drop("events", order_id=B, seq=2), "lost cancel: ord_b"),
    "one key made two orders": (
        add("log", **answered(9, "create", C, "pending", key="ka", price_cents=7900)),
        "doubled order: ka",
    ),
    "an order nobody asked for": (
        add("orders", order_id="ord_x", status="pending", payment_id=None, price_cents=7900),
        "order nobody asked for: ord_x",
    ),
    "a key nobody sent": (
        add("keys", idempotency_key="kx", order_id=A),
        "order nobody asked for: ord_a",
    ),
    "a paid event is doubled": (add("events", **event(A, 4, "paid")), "doubled event: ord_a"),
    "a history has a gap": (change("events", {"order_id": A, "seq": 3}, seq=4), "broken history: ord_a"),
    "a status has no event": (
        change("orders", {"order_id": C}, status="pending"),
        "status without its event: ord_c",
    ),
    "an order steps back": (add("events", **event(A, 4, "partial")), "step back: ord_a"),
    "events have no order": (add("events", **event("ord_x", 1, "pending")), "events of no order: ord_x"),
    "a webhook event is lost": (drop("webhook_events", order_id=A), "lost webhook event: ('ord_a'"),
    "a webhook event is doubled": (
        add("webhook_events", order_id=A, event_type="crypto.order.paid"),
        "doubled webhook event: ('ord_a'",
    ),
    "a webhook event is untrue": (
        add("webhook_events", order_id=B, event_type="crypto.order.paid"),
        "doubled webhook event: ('ord_b'",
    ),
    "late money has no flag": (drop("flags", subject="2"), "unflagged money: payment 2 of ord_b"),
    "money of a payment nobody knows": (
        add("ledger", **payment(9, C, "finished", 0.5)),
        "unseen money: payment 9 of ord_c",
    ),
    "money beside the payment that paid": (
        lambda piles: (
            add("ledger", **payment(9, A, "finished", 0.5))(piles),
            add("payments", payment_id="9", order_id=A)(piles),
        )[0],
        "unflagged money: payment 9 beside that of ord_a",
    ),
    "money that was never credited": (
        lambda piles: (
            change("orders", {"order_id": A}, status="confirming")(piles),
            drop("events", order_id=A, seq=3)(piles),
        )[0],
        "uncredited money: payment 1 of ord_a",
    ),
    "money was put on another order": (
        change("ledger", {"payment_id": 1}, order_id=C),
        "unseen money: payment 1 of ord_c",
    ),
    "paid without any payment": (drop("ledger", payment_id=1), "paid without a payment: ord_a"),
    "paid without the money": (
        change("ledger", {"payment_id": 1}, actually_paid=0.3),
        "paid without the money: ord_a",
    ),
    "a customer saw a status go back": (
        change("log", {"n": 6, "phase": "answered"}, told_status="pending"),
        "went back: ord_a was confirming and then pending",
    ),
    "a customer saw the end change": (
        lambda piles: piles["log"].extend(
            [sent(7, "read", order_id=A), answered(7, "read", A, "failed", order_id=A)]
        ),
        "went back: ord_a was paid and then failed",
    ),
    "an answer was no answer": (
        change("log", {"n": 5, "phase": "answered"}, http=500),
        "unexpected answer: {'n': 5",
    ),
}


def test_a_good_run_has_no_findings() -> None:
    assert findings(Evidence(**a_good_run())) == []


@pytest.mark.parametrize("what", SABOTAGE)
def test_sabotage_is_caught(what: str) -> None:
    sabotage, sentence = SABOTAGE[what]
    piles = copy.deepcopy(a_good_run())
    sabotage(piles)
    found = findings(Evidence(**piles))
    assert any(finding.startswith(sentence) for finding in found), found


def test_every_check_is_sabotaged() -> None:
    caught = {name for what in SABOTAGE for name in checks_that_catch(what)}
    assert caught == {check.__name__ for check in checker.CHECKS}


def checks_that_catch(what: str) -> set[str]:
    sabotage, sentence = SABOTAGE[what]
    piles = copy.deepcopy(a_good_run())
    sabotage(piles)
    evidence = Evidence(**piles)
    return {
        check.__name__
        for check in checker.CHECKS
        if any(finding.startswith(sentence) for finding in check(evidence))
    }


def test_requests_that_overlap_may_be_answered_in_either_order() -> None:
    piles = a_good_run()
    piles["log"] = [line for line in piles["log"] if line["n"] < 5]
    piles["log"] += [
        sent(5, "read", order_id=A),
        sent(6, "read", order_id=A),
        answered(6, "read", A, "paid", order_id=A),
        answered(5, "read", A, "confirming", order_id=A),
    ]
    assert findings(Evidence(**piles)) == []


def test_the_checker_knows_nothing_of_the_product() -> None:
    tree = ast.parse(Path(checker.__file__).read_text())
    names = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names
