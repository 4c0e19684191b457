"""Make operators and change them: roles, passwords, second factors. What changes rights ends sessions."""

import os
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from crypto_orders.domain.errors import BadRequest, Conflict, DomainError, NotFound
from crypto_orders.domain.operator import (
    NAME_CHARS_MAX,
    Role,
    checked_email,
    checked_password,
    checked_role,
    normal_email,
    normal_password,
)
from crypto_orders.kit import ids, log
from crypto_orders.kit.sealing import SealBrokenError, Sealer
from crypto_orders.store import audit, operator_accounts, operator_sessions
from crypto_orders.store.audit import Entry
from crypto_orders.store.connection import Pool, Tx
from crypto_orders.store.operator_accounts import OperatorAccount
from crypto_orders.store.transaction import transact, transact_single
from crypto_orders.usecases import access, second_factor
from crypto_orders.usecases.access import OperatorAccess
from crypto_orders.usecases.passwords import Passwords
from crypto_orders.usecases.sign_in import code_counts, digest, make_token

PASSWORD_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # noqa: S105 - the characters, not a password
"""Without those that look alike: somebody may read it aloud."""

PASSWORD_GROUPS: Final = 5
PASSWORD_GROUP_CHARS: Final = 4
"""Twenty characters of 31: 99 random bits."""

RESEAL_BATCH: Final = 100

_log = log.get()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An operator to make. Without a password one is made up."""

    email: str
    role: str
    name: str | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True)
class WithPassword:
    """An operator whose password was made up or set: `password` is None when its owner chose it."""

    account: OperatorAccount
    password: str | None


@dataclass(frozen=True, slots=True)
class Offer:
    """A second factor to confirm: the secret as people type it, as apps scan it, and sealed for the form."""

    secret: str
    address: str
    sealed: str


def make_password() -> str:
    """A password that nobody guesses, in groups that can be typed from paper."""
    groups = (
        "".join(secrets.choice(PASSWORD_ALPHABET) for _ in range(PASSWORD_GROUP_CHARS))
        for _ in range(PASSWORD_GROUPS)
    )
    return "-".join(groups)


async def create(pool: Pool, passwords: Passwords, wanted: Wanted, entry: Entry) -> WithPassword:
    """Make an operator, with an audit row; a password that was made up is told this once.

    Raises:
        BadRequest: the address, the role, the name or the password cannot be used.
        Conflict: the address is an operator's already.
    """
    made_up = make_password() if wanted.password is None else None
    async with _refusals_kept(pool, entry):
        email, role, name = checked_email(wanted.email), checked_role(wanted.role), _checked_name(wanted.name)
        password = made_up or checked_password(wanted.password or "", email)
    hashed = await passwords.hash(password)

    async def work(tx: Tx) -> OperatorAccount | DomainError:
        account = await operator_accounts.insert(
            tx, ids.uuid7(), email=email, name=name, role=role, password_hash=hashed
        )
        if account is None:
            await audit.record(tx, audit.with_result(entry, "refused", "the address is taken"))
            return Conflict(f"There is an operator {email} already.", resource="operator", field="email")
        await audit.record(tx, audit.with_result(entry, "created", role))
        return account

    return WithPassword(_raised(await transact(pool, work), entry, "created"), made_up)


async def set_role(pool: Pool, email: str, role: str, entry: Entry) -> OperatorAccount:
    """Give an operator another role, and have them sign in again.

    Raises:
        BadRequest: there is no such role.
        NotFound: there is no such operator.
        Conflict: nobody would be left to manage operators.
    """
    async with _refusals_kept(pool, entry):
        wanted: Role = checked_role(role)

    async def change(tx: Tx, operator: OperatorAccount) -> None:
        if operator.role == wanted:
            return
        if operator.role == "admin":
            await _need_another_admin(tx, operator)
        await operator_accounts.set_role(tx, operator.operator_id, wanted)
        await operator_sessions.revoke_all(tx, operator.operator_id)

    return await _change(pool, email, entry, change, wanted)


async def set_password(
    pool: Pool, passwords: Passwords, email: str, password: str | None, entry: Entry
) -> WithPassword:
    """Give an operator another password, made up when none is named, and end every session.

    Raises:
        BadRequest: the password cannot be used.
        NotFound: there is no such operator.
    """
    made_up = make_password() if password is None else None
    async with _refusals_kept(pool, entry):
        known = checked_email(email)
        chosen = made_up or checked_password(password or "", known)
    hashed = await passwords.hash(chosen)

    async def change(tx: Tx, operator: OperatorAccount) -> None:
        await operator_accounts.set_password(tx, operator.operator_id, hashed)
        await operator_sessions.revoke_all(tx, operator.operator_id)

    return WithPassword(await _change(pool, known, entry, change, "password_set"), made_up)


async def disable(pool: Pool, email: str, entry: Entry) -> OperatorAccount:
    """Keep an operator out from the next request on.

    Raises:
        NotFound: there is no such operator.
        Conflict: nobody would be left to manage operators.
    """

    async def change(tx: Tx, operator: OperatorAccount) -> None:
        if operator.role == "admin" and operator.disabled_at is None:
            await _need_another_admin(tx, operator)
        await operator_accounts.disable(tx, operator.operator_id)
        await operator_sessions.revoke_all(tx, operator.operator_id)

    return await _change(pool, email, entry, change, "disabled")


async def enable(pool: Pool, email: str, entry: Entry) -> OperatorAccount:
    """Let an operator sign in again. Raises NotFound when there is none."""

    async def change(tx: Tx, operator: OperatorAccount) -> None:
        await operator_accounts.enable(tx, operator.operator_id)

    return await _change(pool, email, entry, change, "enabled")


async def reset_second_factor(pool: Pool, email: str, entry: Entry) -> OperatorAccount:
    """Take the second factor away from an operator who lost it, and end every session. Raises NotFound."""

    async def change(tx: Tx, operator: OperatorAccount) -> None:
        await operator_accounts.set_totp(tx, operator.operator_id, None, None)
        await operator_sessions.revoke_all(tx, operator.operator_id)

    return await _change(pool, email, entry, change, "reset")


async def change_own_password(
    a: OperatorAccess, email: str, session_id: UUID, present: str, wanted: str, entry: Entry
) -> str:
    """Change an operator's own password; every other session ends, and this one goes on under a new token.

    Raises:
        BadRequest: the present password is wrong, or the new one cannot be used.
        Conflict: too many wrong ones; come back later.
    """
    verified = await _verified(a, email, present, entry)
    async with _refusals_kept(a.pool, entry):
        chosen = checked_password(wanted, email)
        if chosen == normal_password(present):
            raise BadRequest("This is the present password: take another one.")
    hashed, token = await a.passwords.hash(chosen), make_token()

    async def change(tx: Tx, operator: OperatorAccount) -> None:
        _same(operator, verified)
        await operator_accounts.set_password(tx, operator.operator_id, hashed)
        await operator_sessions.revoke_all(tx, operator.operator_id, besides=session_id)
        # Whoever took a copy of this browser's token is out as well.
        await operator_sessions.renew(tx, operator.operator_id, session_id, digest(token))

    await _change(a.pool, email, entry, change, "password_changed")
    return token


def offer_second_factor(a: OperatorAccess, operator_id: UUID, email: str, issuer: str) -> Offer:
    """A new secret for an operator's app. Nothing is kept until a code of it was typed."""
    return _offer(
        a, operator_id, email, issuer, second_factor.make_secret(os.urandom(second_factor.SECRET_BYTES))
    )


def same_offer(a: OperatorAccess, operator_id: UUID, email: str, issuer: str, sealed: str) -> Offer:
    """The offer that a form brought back. Raises BadRequest when it is none of this operator's."""
    return _offer(a, operator_id, email, issuer, _offered(a, operator_id, sealed))


async def confirm_second_factor(
    a: OperatorAccess, operator_id: UUID, email: str, sealed: str, code: str, password: str, entry: Entry
) -> None:
    """Set up the second factor that was offered, once its app shows the right code.

    Raises:
        BadRequest: the code or the password is wrong, or the offer is another operator's.
        Conflict: there is one already, or too many wrong passwords.
    """
    verified = await _verified(a, email, password, entry)
    secret = _offered(a, operator_id, sealed)

    async def change(tx: Tx, operator: OperatorAccount) -> None:
        _same(operator, verified)
        if operator.totp_sealed is not None:
            raise Conflict("A second factor is set up already: take it away first.", resource="operator")
        now = await operator_accounts.now(tx)
        step = second_factor.step_of_code(secret, code, now=now, after=None)
        if step is None:
            raise BadRequest("This is not the code that the app shows now. Is the phone's clock right?")
        await operator_accounts.set_totp(
            tx, operator_id, second_factor.seal(a.sealer, operator_id, secret), step
        )

    await _change(a.pool, email, entry, change, "second_factor_set")


async def remove_second_factor(a: OperatorAccess, email: str, password: str, code: str, entry: Entry) -> None:
    """Take an operator's own second factor away; whoever lost the app asks an admin for it.

    Raises:
        BadRequest: the password or the code is wrong; which of them is told, as signing in needed both.
        Conflict: too many were tried; come back later.
    """
    verified = await _verified(a, email, password, entry)

    async def change(tx: Tx, operator: OperatorAccount) -> None:
        _same(operator, verified)
        if operator.totp_sealed is not None and not await code_counts(tx, a, operator, code):
            raise BadRequest(
                "This is not the code that the app shows now, or it was used already: wait for the next one."
            )
        await operator_accounts.set_totp(tx, operator.operator_id, None, None)

    await _change(a.pool, email, entry, change, "second_factor_removed")


@dataclass(frozen=True, slots=True)
class Resealed:
    """How many second factors were sealed anew, and whose could not be opened."""

    operators: int
    unreadable: tuple[UUID, ...]


async def reseal(pool: Pool, sealer: Sealer) -> Resealed:
    """Seal every second factor under the current key; what is unreadable is left as it is and told."""
    after, count, unreadable = UUID(int=0), 0, list[UUID]()

    async def work(tx: Tx) -> list[tuple[UUID, bool]]:
        batch = await operator_accounts.not_sealed_with(tx, sealer.current_header, after, RESEAL_BATCH)
        done: list[tuple[UUID, bool]] = []
        for operator_id, sealed in batch:
            try:
                secret = second_factor.open_sealed(sealer, operator_id, sealed)
            except SealBrokenError:
                done.append((operator_id, False))
            else:
                resealed = second_factor.seal(sealer, operator_id, secret)
                await operator_accounts.reseal_totp(tx, operator_id, resealed)
                done.append((operator_id, True))
        return done

    while done := await transact(pool, work):
        after = done[-1][0]
        count += sum(readable for _, readable in done)
        unreadable += [operator_id for operator_id, readable in done if not readable]
    _log.info("operator_second_factors_resealed", operators=count, unreadable=len(unreadable))
    return Resealed(count, tuple(unreadable))


@asynccontextmanager
async def _refusals_kept(pool: Pool, entry: Entry) -> AsyncGenerator[None]:
    """Keep that what was asked for cannot be used, and pass the refusal on."""
    try:
        yield
    except BadRequest as refusal:
        why = refusal.detail
        await transact_single(pool, lambda tx: audit.record(tx, audit.with_result(entry, "refused", why)))
        access.observe_change(entry, "refused")
        raise


async def _change(
    pool: Pool,
    email: str,
    entry: Entry,
    change: Callable[[Tx, OperatorAccount], Awaitable[None]],
    result: str,
) -> OperatorAccount:
    """Change one operator under the lock of the row; a refusal leaves its audit row and nothing else."""
    found = normal_email(email)

    async def work(tx: Tx) -> OperatorAccount | DomainError:
        before = await operator_accounts.lock_by_email(tx, found or "")
        try:
            if before is None:
                raise NotFound
            await change(tx, before)
        except DomainError as refusal:
            why = "no such operator" if isinstance(refusal, NotFound) else str(refusal)
            await audit.record(tx, audit.with_result(entry, "refused", why))
            return refusal
        await audit.record(tx, audit.with_result(entry, result))
        after = await operator_accounts.lock(tx, before.operator_id)
        return after or before

    return _raised(await transact(pool, work), entry, result)


def _raised(done: OperatorAccount | DomainError, entry: Entry, result: str) -> OperatorAccount:
    if isinstance(done, DomainError):
        access.observe_change(entry, "refused")
        raise done
    access.observe_change(entry, result)
    return done


async def _verified(a: OperatorAccess, email: str, password: str, entry: Entry) -> OperatorAccount:
    """The operator, once the present password was right: a browser left open changes no password."""
    told = await a.limiter.draw(f"password:{email}", a.tries.of_an_operator_from_one_place)
    if told is not None and not told.granted:
        seconds = told.retry_after_seconds
        raise Conflict(f"Too many passwords were tried: wait {seconds} s.", retry_after_seconds=seconds)
    async with a.pool.acquire() as conn:
        operator = await operator_accounts.find_by_email(conn, email)
    right = await a.passwords.matches(operator.password_hash if operator else None, normal_password(password))
    if operator is None or not right:
        async with _refusals_kept(a.pool, entry):
            raise BadRequest("The present password is wrong.")
    return operator


def _same(operator: OperatorAccount, verified: OperatorAccount) -> None:
    if operator.password_hash != verified.password_hash or operator.disabled_at is not None:
        raise Conflict("The account was changed meanwhile.", resource="operator")


async def _need_another_admin(tx: Tx, operator: OperatorAccount) -> None:
    if all(admin == operator.operator_id for admin in await operator_accounts.lock_admins(tx)):
        raise Conflict(
            f"{operator.email} is the only admin who can sign in: make another one first.",
            resource="operator",
            field="role",
        )


def _checked_name(name: str | None) -> str | None:
    text = (name or "").strip()
    if len(text) > NAME_CHARS_MAX or not (text.isprintable() or not text):
        raise BadRequest(f"A name has at most {NAME_CHARS_MAX} characters.")
    return text or None


def _offer(a: OperatorAccess, operator_id: UUID, email: str, issuer: str, secret: str) -> Offer:
    sealed = a.sealer.seal(secret.encode(), second_factor.place_of_offer(operator_id))
    return Offer(secret, second_factor.address_of(secret, email=email, issuer=issuer), sealed.hex())


def _offered(a: OperatorAccess, operator_id: UUID, sealed: str) -> str:
    try:
        return a.sealer.open(bytes.fromhex(sealed), second_factor.place_of_offer(operator_id)).decode()
    except (ValueError, SealBrokenError):
        raise BadRequest("This form is of another operator or another day: start again.") from None
