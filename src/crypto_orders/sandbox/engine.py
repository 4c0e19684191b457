"""The provider at work: it keeps payments, walks them through their statuses and tells the merchant.

Everything a caller is told is committed before; what happens by itself is planned in the same commit as the
change that causes it, so that a new process goes on where a killed one stopped.
"""

import asyncio
import random
import secrets
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Final

from crypto_orders.kit import log as logs
from crypto_orders.sandbox import faults as fault_rules
from crypto_orders.sandbox import ipn as ipns
from crypto_orders.sandbox import payment as payments
from crypto_orders.sandbox.addresses import Shape, draw_memo
from crypto_orders.sandbox.coins import COINS
from crypto_orders.sandbox.config import SandboxConfig
from crypto_orders.sandbox.courier import Courier
from crypto_orders.sandbox.faults import Faults
from crypto_orders.sandbox.ledger import Ledger, NewIpn, PendingIpn
from crypto_orders.sandbox.payment import Payment, Transfer
from crypto_orders.sandbox.wire import now_ms

log = logs.get()

# How often payments are looked at whose address nothing was sent to; the watch lasts days.
_EXPIRY_LOOK_SECONDS: Final = 1.0


class NoCallbackError(Exception):
    """A notification was asked for, but there is no URL to send it to or no secret to sign it with."""


class Engine:
    """All state and all background work of one sandbox."""

    def __init__(self, config: SandboxConfig, ledger: Ledger) -> None:
        """Take over an open ledger; nothing moves before :meth:`start`."""
        self.config = config
        self.ledger = ledger
        self.faults = fault_rules.loaded(ledger.setting("faults"))
        self.token_key = _kept_secret(ledger, "token_key").encode()
        self._courier = Courier(ledger, config, self._draw_loss)
        self._steps: dict[int, asyncio.TimerHandle] = {}
        self._expiry: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Go on with every walk and every notification that an earlier process left."""
        for payment_id, due_ms in self.ledger.walking():
            self._plan(payment_id, due_ms)
        self._courier.resume()
        self._expiry = asyncio.get_running_loop().create_task(self._expire_forever())

    async def stop(self) -> None:
        """Stop all background work; what is stored goes on with the next process."""
        if self._expiry is not None:
            self._expiry.cancel()
            await asyncio.gather(self._expiry, return_exceptions=True)
        self._cancel_steps()
        await self._courier.close()
        self.ledger.close()

    def deposit_address(self, coin: str) -> tuple[str, str | None]:
        """Where a new payment of a coin is to be sent: the address and, for some coins, the memo.

        Coins with memos have one address for all payments, as at the provider.
        """
        shape = COINS[coin].shape
        memo = draw_memo(shape)
        return (shape.make(), None) if memo is None else (self._shared_address(shape), memo)

    def create(self, payment: Payment, case: str | None) -> Payment:
        """Store a new payment, with the walk its ``case`` asks for."""
        planned = payments.with_case(payment, case, self.config.step_ms)
        told: PendingIpn | None = None
        with self.ledger.transaction():
            self.ledger.add_payment(planned)
            if self.config.ipn.announce_waiting:
                told = self._tell(planned)
        self._after(planned, told)
        return planned

    def pay(self, target: Payment, amount: Decimal | None, coin: str, *, confirm: bool) -> Payment:
        """Let money arrive for a payment, and return the payment it counts for: this one or a new child.

        Without an amount it is what is due, or, where nothing is, as much as was asked for; a payment that
        is resting on its way to the end and has all its money just goes on.
        """
        takes_it = payments.is_open(target) and coin == target.pay_currency
        takes_it = takes_it and (target.parent_payment_id is None or amount is None)
        if not takes_it:
            if amount is None:
                amount = payments.amount_in(
                    payments.due(target) or target.pay_amount, target.pay_currency, coin
                )
            return self._add_child(target, Transfer(amount, coin, confirm))
        received = payments.due(target) if amount is None else amount
        richer = payments.with_money(target, received, confirm=confirm, now_ms=now_ms())
        self.ledger.update_payment(richer)
        self._after(richer, None)
        return richer

    def deposit_again(self, target: Payment, transfer: Transfer) -> Payment:
        """Let a further deposit arrive at a payment's address, and return the child it makes."""
        return self._add_child(target, transfer)

    def override(self, payment: Payment, status: str) -> Payment:
        """Set a payment's status by hand and tell the merchant."""
        return self._save(payments.overridden(payment, status, now_ms()))

    def reestimate(self, payment: Payment) -> Payment:
        """Give a waiting payment a fresh estimate if its old one ran out."""
        fresh = payments.reestimated(
            payment, now_ms=now_ms(), valid_ms=self.config.estimate_valid_seconds * 1000
        )
        if fresh is not payment:
            self.ledger.update_payment(fresh)
        return fresh

    def resend(self, payment: Payment) -> None:
        """Tell the merchant of the present state, whatever faults are in force; raises NoCallbackError."""
        new = self._composed(payment)
        if new is None:
            message = "there is no ipn_callback_url, or no IPN secret, to notify with"
            raise NoCallbackError(message)
        self._courier.send(self.ledger.add_ipn(new))

    def set_faults(self, changes: Mapping[str, object]) -> Faults:
        """Change some faults, for good; raises FaultError."""
        self.faults = fault_rules.changed(self.faults, changes)
        self.ledger.set_setting("faults", fault_rules.stored(self.faults))
        return self.faults

    async def reset(self) -> None:
        """Forget payments, invoices, notifications and faults; ids already given are not given again."""
        self._cancel_steps()
        await self._courier.forget()
        self.faults = Faults()
        self.ledger.set_setting("faults", fault_rules.stored(self.faults))
        self.ledger.clear()

    def _add_child(self, target: Payment, transfer: Transfer) -> Payment:
        root = target
        if target.parent_payment_id is not None:
            root = self.ledger.payment(target.parent_payment_id) or target
        child = payments.child_of(
            root,
            transfer,
            payment_id=self.ledger.next_id(),
            final_status=self.config.child_final_status,
            now_ms=now_ms(),
            valid_ms=self.config.payment_valid_seconds * 1000,
        )
        self.ledger.add_payment(child)
        self._after(child, None)
        return child

    def _save(self, payment: Payment) -> Payment:
        with self.ledger.transaction():
            self.ledger.update_payment(payment)
            told = self._tell(payment)
        self._after(payment, told)
        return payment

    def _after(self, payment: Payment, told: PendingIpn | None) -> None:
        """Set in motion what a commit planned."""
        if payment.step_due_ms is not None:
            self._plan(payment.payment_id, payment.step_due_ms)
        elif (timer := self._steps.pop(payment.payment_id, None)) is not None:
            timer.cancel()
        if told is not None:
            self._courier.send(told, out_of_order=self.faults.reorder_ipns)

    def _plan(self, payment_id: int, due_ms: int) -> None:
        if (timer := self._steps.pop(payment_id, None)) is not None:
            timer.cancel()
        wait_seconds = max(due_ms - now_ms(), 0) / 1000
        self._steps[payment_id] = asyncio.get_running_loop().call_later(
            wait_seconds, partial(self._take_step, payment_id)
        )

    def _take_step(self, payment_id: int) -> None:
        self._steps.pop(payment_id, None)
        payment = self.ledger.payment(payment_id)
        if payment is not None and payment.walk:
            self._save(payments.step(payment, now_ms=now_ms(), step_ms=self.config.step_ms))

    def _tell(self, payment: Payment) -> PendingIpn | None:
        """Store the notification of a payment's present state, unless it is lost on its way."""
        new = self._composed(payment)
        if new is None or self._draw_loss():
            return None
        delayed_ms = new.due_ms + self.faults.ipn_delay_ms
        return self.ledger.add_ipn(new._replace(copies=self.faults.duplicate_ipns, due_ms=delayed_ms))

    def _composed(self, payment: Payment) -> NewIpn | None:
        url = payment.ipn_callback_url or self.config.ipn_callback_url
        secret = (self.config.ipn_secret or "").strip()
        if url is None or not secret:
            return None
        child_ids = [] if payment.parent_payment_id else self.ledger.children(payment.payment_id)
        signed = ipns.compose(payment, child_ids, self.config.ipn, secret)
        return NewIpn(payment.payment_id, url, signed.body, signed.signature, copies=0, due_ms=now_ms())

    def _draw_loss(self) -> bool:
        return random.random() < self.faults.drop_ipns  # noqa: S311 - chance, not a secret.

    def _cancel_steps(self) -> None:
        for timer in self._steps.values():
            timer.cancel()
        self._steps.clear()

    def _shared_address(self, shape: Shape) -> str:
        name = f"address_{shape.name.lower()}"
        address = self.ledger.setting(name)
        if address is None:
            address = shape.make()
            self.ledger.set_setting(name, address)
        return address

    async def _expire_forever(self) -> None:
        while True:
            for payment in self.ledger.overdue(now_ms()):
                self.override(payment, payments.EXPIRED)
            await asyncio.sleep(_EXPIRY_LOOK_SECONDS)


def _kept_secret(ledger: Ledger, name: str) -> str:
    secret = ledger.setting(name)
    if secret is None:
        secret = secrets.token_hex(32)
        ledger.set_setting(name, secret)
    return secret
