"""Support administers who may use the service and what is sold."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from crypto_orders.api.admin.lists import AccountView
from crypto_orders.api.services import ApiCall, audited
from crypto_orders.domain.errors import BadRequest
from crypto_orders.kit import ids
from crypto_orders.kit.encoding import Instant
from crypto_orders.kit.http import Endpoint
from crypto_orders.store.products import Product
from crypto_orders.usecases import accounts
from crypto_orders.usecases.accounts import KeyWanted


class AccountBody(Struct, frozen=True):
    """A new customer; `tier` is a free label."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    tier: Annotated[str, Meta(min_length=1, max_length=40)] = "free"


class KeyBody(Struct, frozen=True):
    """A new key of an account; without scopes it owns the account."""

    scopes: Annotated[tuple[str, ...], Meta(max_length=10)] = ()
    label: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    expires_at: Instant | None = None


class NewKeyView(Struct, frozen=True, kw_only=True):
    """A new key: the only answer that ever shows it."""

    id: str
    account_id: str
    key: str
    mode: str
    scopes: tuple[str, ...]
    label: str | None
    prefix: str
    created_at: Instant
    expires_at: Instant | None


class ProductBody(Struct, frozen=True):
    """What a product costs, in integer cents, and whether it can be bought."""

    price_cents: Annotated[int, Meta(ge=1, le=100_000_000_000)]
    price_currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")]
    active: bool = True


async def create_account(call: ApiCall[AccountBody, None]) -> AccountView:
    """Make an account."""
    body = call.body
    entry = audited(call, "create_account", None, name=body.name, tier=body.tier)
    made = await accounts.create_account(call.deps.pool, body.name, body.tier, entry)
    return AccountView(ids.prefixed("acc", made.account_id), made.name, made.tier, made.created_at)


async def create_key(call: ApiCall[KeyBody, None]) -> NewKeyView:
    """Make a key of an account and show it once."""
    account_id, body = call.uuid("account_id"), call.body
    shown_id = ids.prefixed("acc", account_id)
    entry = audited(call, "create_key", shown_id, **msgspec.structs.asdict(body))
    wanted = KeyWanted(
        account_id=account_id,
        mode=call.deps.key_mode,
        brand_prefix=call.deps.key_prefix,
        scopes=body.scopes,
        label=body.label,
        expires_at=body.expires_at,
    )
    made = await accounts.create_key(call.deps.pool, wanted, entry)
    return NewKeyView(
        id=ids.prefixed("key", made.key_id),
        account_id=shown_id,
        key=made.key,
        mode=made.mode,
        scopes=made.scopes,
        label=made.label,
        prefix=made.prefix,
        created_at=made.created_at,
        expires_at=made.expires_at,
    )


async def revoke_key(call: ApiCall[None, None]) -> None:
    """Revoke a key from the next request on, on every process."""
    key_id = call.uuid("key_id")
    await accounts.revoke_key(
        call.deps.pool, key_id, audited(call, "revoke_key", ids.prefixed("key", key_id))
    )


async def put_product(call: ApiCall[ProductBody, None]) -> Product:
    """Add or change a product; orders keep the price they were started with."""
    product, body = call.text("product"), call.body
    if not accounts.PRODUCT_FORM.fullmatch(product):
        raise BadRequest(f"A product is named by {accounts.PRODUCT_FORM.pattern}.")
    entry = audited(call, "put_product", product, **msgspec.structs.asdict(body))
    return await accounts.put_product(
        call.deps.pool, product, body.price_cents, body.price_currency, active=body.active, entry=entry
    )


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/admin/accounts",
        handler=create_account,
        scope="admin:write",
        body=AccountBody,
        response=AccountView,
        status=201,
        summary="Make an account",
        tags=("Accounts",),
    ),
    Endpoint(
        method="POST",
        path="/v1/admin/accounts/{account_id:acc}/keys",
        handler=create_key,
        scope="admin:write",
        body=KeyBody,
        response=NewKeyView,
        status=201,
        summary="Make a key of an account",
        tags=("Accounts",),
    ),
    Endpoint(
        method="DELETE",
        path="/v1/admin/keys/{key_id:key}",
        handler=revoke_key,
        scope="admin:write",
        status=204,
        summary="Revoke a key",
        tags=("Accounts",),
    ),
    Endpoint(
        method="PUT",
        path="/v1/admin/products/{product}",
        handler=put_product,
        scope="admin:write",
        body=ProductBody,
        response=Product,
        summary="Add or change a product",
        tags=("Products",),
    ),
)
