"""Customers' webhook endpoints: adding, changing, deleting, testing, and changing their secrets."""

import os
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from msgspec.structs import replace

from crypto_orders.domain import webhook_event, webhook_signature
from crypto_orders.domain.errors import BadRequest, Conflict, NotFound, ValidationFailed
from crypto_orders.domain.webhook_url import UrlProblem, WebhookUrlError, parse_webhook_url
from crypto_orders.kit import ids, log
from crypto_orders.kit.sealing import SealBrokenError, SealedPlace, Sealer
from crypto_orders.store import deliveries, webhooks
from crypto_orders.store.connection import Pool, Tx
from crypto_orders.store.transaction import transact
from crypto_orders.store.webhooks import Counted, Endpoint, Sealed
from crypto_orders.usecases.deployment import Webhooks

ENDPOINTS_MAX: Final = 10
"""Endpoints of one account, deleted ones aside: every event is sent to each of them."""

ROTATION_GRACE: Final = timedelta(hours=24)
"""How long the secret before the present one signs, too; the webhooks page promises it."""

RESEAL_BATCH: Final = 100
"""Endpoints resealed in one transaction, which holds their locks for milliseconds."""

_log = log.get()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An endpoint to add; the description may be None or empty for none."""

    url: str
    events: tuple[str, ...]
    description: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What to change of an endpoint: the fields that are named, to these values."""

    named: frozenset[str] = field(default_factory=frozenset[str])
    url: str = ""
    events: tuple[str, ...] = ()
    description: str | None = None
    active: bool = True


@dataclass(frozen=True, slots=True)
class WithSecret:
    """An endpoint the moment it got a secret: the only time its text is known."""

    shown: Counted
    secret: str


@dataclass(frozen=True, slots=True)
class Ping:
    """A test event on its way."""

    delivery_id: UUID
    event_id: UUID


async def create(w: Webhooks, account_id: UUID, wanted: Wanted) -> WithSecret:
    """Add an endpoint and make its secret, which is told this once.

    Raises:
        ValidationFailed: the URL breaks a rule, or leads to an address that is not public.
        Conflict: the account has ten endpoints.
    """
    try:
        url = await _checked_url(w, wanted.url)
    except WebhookUrlError as refused:
        raise ValidationFailed({"url": [str(refused)]}) from None
    endpoint_id, secret = ids.uuid7(), _new_secret()

    async def work(tx: Tx) -> Counted:
        if await webhooks.count_kept(tx, account_id) >= ENDPOINTS_MAX:
            raise Conflict(
                f"An account has at most {ENDPOINTS_MAX} webhook endpoints.",
                resource="webhook",
                limit=ENDPOINTS_MAX,
            )
        await webhooks.insert(
            tx,
            account_id,
            endpoint_id,
            url=url,
            events=_once_each(wanted.events),
            description=wanted.description or None,
            secret_prefix=webhook_signature.shown_prefix(secret),
            secret_sealed=w.sealer.seal(secret.encode(), place_of_secret(endpoint_id)),
        )
        return await _shown(tx, account_id, endpoint_id)

    return WithSecret(await transact(w.pool, work), secret)


async def change(w: Webhooks, account_id: UUID, endpoint_id: UUID, changes: Changes) -> Counted:
    """Change an endpoint. Made inactive it holds its deliveries, made active it sends what was held.

    Raises:
        BadRequest: nothing is to be changed, or the URL breaks a rule.
        NotFound: the account has no such endpoint.
        Conflict: it is deleted.
    """
    if not changes.named:
        raise BadRequest("Name at least one of url, events, description and active.")
    url = None
    if "url" in changes.named:
        try:
            url = await _checked_url(w, changes.url)
        except WebhookUrlError as refused:
            raise BadRequest(f"url: {refused}") from None

    async def work(tx: Tx) -> Counted:
        endpoint = await _locked(tx, account_id, endpoint_id)
        active = changes.active if "active" in changes.named else endpoint.active
        changed = replace(
            endpoint,
            url=url or endpoint.url,
            events=_once_each(changes.events) if "events" in changes.named else endpoint.events,
            description=(changes.description or None)
            if "description" in changes.named
            else endpoint.description,
            active=active,
        )
        await webhooks.update(tx, changed)
        if endpoint.active and not active:
            await webhooks.hold(tx, account_id, endpoint_id)
        return await _shown(tx, account_id, endpoint_id)

    return await transact(w.pool, work)


async def delete(w: Webhooks, account_id: UUID, endpoint_id: UUID) -> None:
    """Delete an endpoint; deleting it again changes nothing.

    Raises:
        NotFound: the account has no such endpoint.
    """

    async def work(tx: Tx) -> None:
        if await webhooks.lock(tx, account_id, endpoint_id) is None:
            raise NotFound
        await webhooks.delete(tx, account_id, endpoint_id)

    await transact(w.pool, work)


async def rotate_secret(w: Webhooks, account_id: UUID, endpoint_id: UUID) -> WithSecret:
    """Give an endpoint a new secret, told this once; for 24 hours the one before signs, too.

    A second rotation inside that grace replaces the new secret alone: receivers still hold the old one.

    Raises:
        NotFound: the account has no such endpoint.
        Conflict: it is deleted.
    """
    secret = _new_secret()

    async def work(tx: Tx) -> Counted:
        endpoint = await _locked(tx, account_id, endpoint_id)
        replaced = w.sealer.open(endpoint.secret_sealed, place_of_secret(endpoint_id))
        await webhooks.rotate(
            tx,
            endpoint,
            secret_prefix=webhook_signature.shown_prefix(secret),
            secret_sealed=w.sealer.seal(secret.encode(), place_of_secret(endpoint_id)),
            replaced_sealed=w.sealer.seal(replaced, place_of_previous(endpoint_id)),
            grace=ROTATION_GRACE,
        )
        return await _shown(tx, account_id, endpoint_id)

    return WithSecret(await transact(w.pool, work), secret)


async def ping(w: Webhooks, account_id: UUID, endpoint_id: UUID) -> Ping:
    """Send a test event to an endpoint, whatever it subscribes to.

    Raises:
        NotFound: the account has no such endpoint.
        BadRequest: it is paused, disabled or deleted.
    """
    made = Ping(ids.uuid7(), ids.uuid7())

    async def work(tx: Tx) -> None:
        endpoint = await webhooks.lock(tx, account_id, endpoint_id)
        if endpoint is None:
            raise NotFound
        if not endpoint.active:
            state = "deleted" if endpoint.deleted_at else "disabled" if endpoint.disabled_at else "paused"
            raise BadRequest(f"The endpoint is {state}: nothing is sent to it.")
        now = await deliveries.now(tx)
        await deliveries.insert_ping(
            tx,
            account_id,
            endpoint_id,
            event_id=made.event_id,
            delivery_id=made.delivery_id,
            body=webhook_event.ping_body(made.event_id, ids.prefixed("whk", endpoint_id), now),
            now=now,
        )

    await transact(w.pool, work)
    return made


@dataclass(frozen=True, slots=True)
class Resealed:
    """How many endpoints' secrets were sealed anew, and which could not be opened."""

    endpoints: int
    unreadable: tuple[UUID, ...]


async def reseal(pool: Pool, sealer: Sealer) -> Resealed:
    """Seal every secret under the current key; what is unreadable is left as it is and told.

    It may run beside everything else, and again after it was interrupted.
    """
    after, count, unreadable = (UUID(int=0), UUID(int=0)), 0, list[UUID]()

    async def work(tx: Tx) -> list[tuple[Sealed, bool]]:
        batch = await webhooks.not_sealed_with(tx, sealer.current_header, after, RESEAL_BATCH)
        done: list[tuple[Sealed, bool]] = []
        for each in batch:
            try:
                await webhooks.reseal(tx, _resealed(sealer, each))
            except SealBrokenError:
                done.append((each, False))
            else:
                done.append((each, True))
        return done

    while done := await transact(pool, work):
        after = (done[-1][0].account_id, done[-1][0].endpoint_id)
        count += sum(readable for _, readable in done)
        unreadable += [each.endpoint_id for each, readable in done if not readable]
    _log.info("webhook_secrets_resealed", endpoints=count, unreadable=len(unreadable))
    return Resealed(count, tuple(unreadable))


def _resealed(sealer: Sealer, sealed: Sealed) -> Sealed:
    secret = sealer.reseal(sealed.secret, place_of_secret(sealed.endpoint_id))
    previous = sealed.previous
    if previous is not None:
        previous = sealer.reseal(previous, place_of_previous(sealed.endpoint_id)) or previous
    return Sealed(sealed.account_id, sealed.endpoint_id, secret or sealed.secret, previous)


def place_of_secret(endpoint_id: UUID) -> SealedPlace:
    """Where an endpoint's present secret is sealed for."""
    return SealedPlace("webhook_endpoints", "secret_sealed", str(endpoint_id))


def place_of_previous(endpoint_id: UUID) -> SealedPlace:
    """Where the secret before it is sealed for."""
    return SealedPlace("webhook_endpoints", "prev_secret_sealed", str(endpoint_id))


async def _checked_url(w: Webhooks, text: str) -> str:
    """Return the URL as it is kept. Raises WebhookUrlError when a rule or its present addresses forbid it."""
    url = parse_webhook_url(text, w.policy)
    if await w.sender.leads_to_blocked_address(url):
        raise WebhookUrlError(
            UrlProblem.PRIVATE_ADDRESS,
            "The URL's host leads to an address that is not on the public internet.",
        )
    return url.text


async def _locked(tx: Tx, account_id: UUID, endpoint_id: UUID) -> Endpoint:
    endpoint = await webhooks.lock(tx, account_id, endpoint_id)
    if endpoint is None:
        raise NotFound
    if endpoint.deleted_at is not None:
        raise deleted()
    return endpoint


def deleted() -> Conflict:
    """The refusal to change what belongs to a deleted endpoint."""
    return Conflict("The webhook endpoint is deleted.", resource="webhook", field="active")


async def _shown(tx: Tx, account_id: UUID, endpoint_id: UUID) -> Counted:
    shown = await webhooks.get(tx, account_id, endpoint_id)
    if shown is None:
        raise NotFound
    return shown


def _new_secret() -> str:
    return webhook_signature.make_secret(os.urandom(webhook_signature.SECRET_RANDOM_BYTES))


def _once_each(events: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(events))
