"""Let an operator in with password and code, know the session on every request, and end it."""

import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from uuid import UUID

from crypto_orders.domain.operator import actor_name, normal_email, normal_password
from crypto_orders.domain.rate_limit import Allowance, Policy, bucket_of_address
from crypto_orders.kit import ids, log
from crypto_orders.kit.sealing import SealBrokenError
from crypto_orders.store import audit, operator_accounts, operator_sessions
from crypto_orders.store.audit import Actor, Entry
from crypto_orders.store.connection import Pool, Tx
from crypto_orders.store.operator_accounts import OperatorAccount
from crypto_orders.store.operator_sessions import LiveSession
from crypto_orders.store.transaction import transact, transact_single
from crypto_orders.usecases import access, second_factor
from crypto_orders.usecases.access import OperatorAccess

TOKEN_BYTES: Final = 32
"""256 random bits: a fast digest of it is enough to keep."""

TOKEN_CHARS: Final = 43

ACTION: Final = "operator.sign_in"

LIMITED_ROWS: Final = Policy(1, 1 / 600)
"""Of the attempts from one place that were too many: one row in ten minutes. Log and metric tell of each."""

_log = log.get()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What somebody typed, and from where. `present_token` is of the session that the browser has already."""

    email: str
    password: str
    code: str
    remote_address: str
    request_id: str
    user_agent: str | None
    present_token: str | None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session was opened; its token is known this once."""

    token: str
    operator_id: UUID


@dataclass(frozen=True, slots=True)
class Refused:
    """Something of what was typed is wrong; nobody is told what."""


@dataclass(frozen=True, slots=True)
class TooMany:
    """Too many attempts: nothing was looked at."""

    retry_after_seconds: int


async def sign_in(a: OperatorAccess, attempt: Attempt) -> SignedIn | Refused | TooMany:
    """Open a session for who knows the password and, where one is set up, a code of the second factor.

    The work and the answer are the same whether the address, the password or the code is wrong.
    """
    email = normal_email(attempt.email)
    limited = await _draw(a, email, attempt.remote_address)
    if limited is not None:
        access.observe_sign_in("limited", email, attempt.remote_address)
        await _keep_limited(a, attempt, email)
        return TooMany(limited.retry_after_seconds)
    known = None
    if email is not None:
        async with a.pool.acquire() as conn:
            known = await operator_accounts.find_by_email(conn, email)
    password = normal_password(attempt.password)
    matches = await a.passwords.matches(known.password_hash if known else None, password)
    stronger = None
    if known is not None and matches and a.passwords.is_weak(known.password_hash):
        stronger = await a.passwords.hash(password)
    return await _decide(a, attempt, email, known if matches else None, stronger, is_known=known is not None)


async def _decide(
    a: OperatorAccess,
    attempt: Attempt,
    email: str | None,
    verified: OperatorAccount | None,
    stronger: str | None,
    *,
    is_known: bool,
) -> SignedIn | Refused:
    token = make_token()
    entry = _entry(attempt, email)

    async def work(tx: Tx) -> str | None:
        why = "wrong password" if is_known else "unknown address"
        if verified is not None:
            why = await _enter(tx, a, attempt, verified, token, stronger)
        await audit.record(tx, audit.with_result(entry, "refused" if why else "signed_in", why))
        return why

    why = await transact(a.pool, work)
    access.observe_sign_in(
        "refused" if why else "signed_in", email if is_known else None, attempt.remote_address
    )
    return Refused() if why or verified is None else SignedIn(token, verified.operator_id)


async def _enter(
    tx: Tx, a: OperatorAccess, attempt: Attempt, verified: OperatorAccount, token: str, stronger: str | None
) -> str | None:
    """Open the session, or say why not: what was verified may have changed since."""
    operator = await operator_accounts.lock(tx, verified.operator_id)
    if operator is None or operator.password_hash != verified.password_hash:
        return "the password was changed meanwhile"
    if operator.disabled_at is not None:
        return "disabled"
    if operator.totp_sealed is not None and not await code_counts(tx, a, operator, attempt.code):
        return "wrong or used code"
    if stronger is not None:
        await operator_accounts.strengthen_hash(tx, operator.operator_id, stronger)
    if attempt.present_token is not None:
        # A token that was in the browser before is never the one that is signed in with.
        await operator_sessions.revoke(tx, digest(attempt.present_token))
    await operator_sessions.insert(
        tx,
        token_sha256=digest(token),
        session_id=ids.uuid7(),
        operator_id=operator.operator_id,
        remote_addr=attempt.remote_address,
        user_agent=attempt.user_agent,
    )
    return None


async def code_counts(tx: Tx, a: OperatorAccess, operator: OperatorAccount, code: str) -> bool:
    """Whether a code of the operator's app is right and was not used before; from now on it is used."""
    try:
        secret = second_factor.open_sealed(a.sealer, operator.operator_id, operator.totp_sealed or b"")
    except SealBrokenError:
        # The sealing key was changed without resealing, or the row was tampered with: nobody gets in by it.
        _log.error("operator_second_factor_unreadable", operator_id=str(operator.operator_id))
        return False
    now = await operator_accounts.now(tx)
    step = second_factor.step_of_code(secret, code, now=now, after=operator.totp_last_step)
    if step is None:
        return False
    await operator_accounts.use_totp_step(tx, operator.operator_id, step)
    return True


async def _draw(a: OperatorAccess, email: str | None, remote_address: str) -> Allowance | None:
    """One attempt from the address and one at the e-mail; what says no, if anything does."""
    place = bucket_of_address(remote_address)
    buckets = [(f"sign_in:{place}", a.tries.from_one_place)]
    if email is not None:
        # From here first: what one place may not try any more takes nothing from the others.
        buckets.append((f"sign_in:{email}:{place}", a.tries.of_an_operator_from_one_place))
        buckets.append((f"sign_in:{email}", a.tries.of_an_operator))
    for bucket, policy in buckets:
        told = await a.limiter.draw(bucket, policy)
        if told is not None and not told.granted:
            return told
    return None


async def _keep_limited(a: OperatorAccess, attempt: Attempt, email: str | None) -> None:
    """Keep now and then that a place is refused: rows that anybody makes without a limit fill the disk."""
    told = await a.limiter.draw(f"sign_in_told:{bucket_of_address(attempt.remote_address)}", LIMITED_ROWS)
    if told is not None and told.granted:
        entry = audit.with_result(_entry(attempt, email), "refused", "too many attempts")
        await transact_single(a.pool, lambda tx: audit.record(tx, entry))


def _entry(attempt: Attempt, email: str | None) -> Entry:
    # What is typed where an address belongs may be a password: only what looks like an address is kept.
    actor = Actor(
        name="nobody" if email is None else actor_name(email),
        remote_address=attempt.remote_address,
        request_id=attempt.request_id,
    )
    return Entry(actor=actor, action=ACTION, target=email, request={"with_code": bool(attempt.code.strip())})


async def find_session(pool: Pool, token: str) -> LiveSession | None:
    """The session of a token as long as it lasts; asked on every request, so that an end holds at once."""
    if len(token) != TOKEN_CHARS or not token.isascii():
        return None
    async with pool.acquire() as conn:
        return await operator_sessions.find_alive(conn, digest(token))


async def see_session(pool: Pool, token: str) -> None:
    """Write that a session is used, if it was not written for a minute."""
    await transact_single(pool, lambda tx: operator_sessions.see(tx, digest(token)))


async def sign_out(pool: Pool, token: str, entry: Entry) -> None:
    """End the session of a token, on every process from the next request on."""

    async def work(tx: Tx) -> None:
        ended = await operator_sessions.revoke(tx, digest(token))
        await audit.record(tx, audit.with_result(entry, "signed_out" if ended else "no_change"))

    await transact(pool, work)
    access.observe_change(entry, "signed_out")


async def sign_out_everywhere(
    pool: Pool, operator_id: UUID, entry: Entry, *, besides: UUID | None = None
) -> int:
    """End every session of an operator, or all but one; how many."""

    async def work(tx: Tx) -> int:
        ended = await operator_sessions.revoke_all(tx, operator_id, besides=besides)
        await audit.record(tx, audit.with_result(entry, "signed_out", f"{ended} sessions"))
        return ended

    ended = await transact(pool, work)
    access.observe_change(entry, "signed_out")
    return ended


async def end_session(pool: Pool, operator_id: UUID, session_id: UUID, entry: Entry) -> bool:
    """End one of an operator's sessions; whether it was still open."""

    async def work(tx: Tx) -> bool:
        ended = await operator_sessions.revoke_one(tx, operator_id, session_id)
        await audit.record(tx, audit.with_result(entry, "signed_out" if ended else "no_change"))
        return ended

    ended = await transact(pool, work)
    access.observe_change(entry, "signed_out" if ended else "no_change")
    return ended


def make_token() -> str:
    """A token that nobody guesses; the browser alone keeps it."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def digest(token: str) -> bytes:
    """What is kept of a token."""
    return sha256(token.encode()).digest()
