"""What lists and exports of orders are narrowed down by, read from a query."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from crypto_orders.domain.errors import BadRequest
from crypto_orders.domain.order import FlagKind, Status
from crypto_orders.kit import ids
from crypto_orders.kit.encoding import Instant
from crypto_orders.store.order_filters import Filters

PRODUCT_CHARS_MAX = 64
SEARCH_CHARS_MAX = 200
PAYMENT_ID_CHARS_MAX = 128


class OrderQuery(Struct, frozen=True, kw_only=True):
    """Filters over the orders of all accounts; each that is given narrows the result further."""

    account_id: str | None = None
    product: Annotated[str, Meta(max_length=PRODUCT_CHARS_MAX)] | None = None
    status: Status | None = None
    search: Annotated[str, Meta(max_length=SEARCH_CHARS_MAX)] | None = None
    payment_id: str | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None
    flag: FlagKind | None = None


def filters_of(query: OrderQuery) -> Filters:
    """The filters of a query; BadRequest tells which one is no filter."""
    after, before = query.created_after, query.created_before
    if after is not None and before is not None and before <= after:
        detail = "created_before: Must be later than created_after, which is inclusive."
        raise BadRequest(detail)
    return Filters(
        account_id=account_of(query.account_id),
        product=query.product,
        status=query.status,
        search=query.search,
        payment_id=_payment_id(query.payment_id),
        created_after=after,
        created_before=before,
        flag=query.flag,
    )


def account_of(text: str | None) -> UUID | None:
    """The account that a filter names, as acc_<uuid> or the bare UUID; BadRequest for another text."""
    if text is None:
        return None
    account_id = ids.parse_prefixed("acc", text) or ids.parse_uuid(text)
    if account_id is None:
        detail = "account_id: Is no account's id: acc_ and a UUID, or the UUID alone."
        raise BadRequest(detail)
    return account_id


def _payment_id(text: str | None) -> str | None:
    if text is None:
        return None
    trimmed = text.strip()
    if not 0 < len(trimmed) <= PAYMENT_ID_CHARS_MAX:
        detail = f"payment_id: Has 1 to {PAYMENT_ID_CHARS_MAX} characters, blanks around it aside."
        raise BadRequest(detail)
    return trimmed
