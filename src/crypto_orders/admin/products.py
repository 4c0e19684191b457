"""The catalogue: what is sold and for how much, adding to it, and changing a price with eyes open."""

import re
from typing import Any, Final

from msgspec import Struct
from starlette.responses import Response

from crypto_orders.admin.lists import address
from crypto_orders.admin.refusals import Refusal, refusal_of
from crypto_orders.admin.services import AdminServices
from crypto_orders.admin.session import AdminCall, Form, Operator, action, audited, page, screen, see_done
from crypto_orders.domain.errors import BadRequest, DomainError, NotFound
from crypto_orders.domain.operator import MANAGE_CATALOGUE
from crypto_orders.kit.http import Endpoint
from crypto_orders.pages.formats import CENTS, fiat
from crypto_orders.store import overview, products
from crypto_orders.store.products import Product
from crypto_orders.usecases import accounts

PATH: Final = "/admin/products"
_ONE: Final = f"{PATH}/{{product}}"
PRICE_CENTS_MAX: Final = 100_000_000_000

_PRICE = re.compile(r"(\d{1,10})(?:\.(\d{2}))?", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)


class ProductRow(Struct, frozen=True, kw_only=True):
    """A product as it is drawn, with the orders that are open at the price they began with."""

    path: str
    orders: str
    at: Product
    open_orders: int


class ProductForm(Form, frozen=True, kw_only=True):
    """What a product costs, as `79.00`. Without `confirmed` it is told what the change does, and not made."""

    product: str = ""
    price: str = ""
    currency: str = "USD"
    active: bool = False
    confirmed: bool = False


class Change(Struct, frozen=True, kw_only=True):
    """What a form would do, in words, before it does it."""

    words: tuple[str, ...]
    form: ProductForm


async def show_products(call: AdminCall[None, None]) -> Response:
    """The whole catalogue, and the form for a new product."""
    return await _products_page(call)


async def show_product(call: AdminCall[None, None]) -> Response:
    """One product, and changing it."""
    return await _product_page(call)


async def add_product(call: AdminCall[ProductForm, None]) -> Response:
    """Add a product. One that is there already is changed on its own page."""
    form = call.body
    name = form.product.strip()
    _declare(call, name)
    try:
        cents, currency = _price_of(form)
        if accounts.PRODUCT_FORM.fullmatch(name) is None:
            raise BadRequest("A product is named by small letters, digits and _ . - such as api_builder.")
        if any(each.at.product == name for each in await _rows(call)):
            raise BadRequest(f"There is a product {name} already: change it on its own page.")
        await _put(call, name, cents, currency, active=True)
    except DomainError as error:
        return await _products_page(call, form=form, refusal=refusal_of(error, "refused-products"))
    return see_done(call, PATH, f"{name} is stored.")


async def change_product(call: AdminCall[ProductForm, None]) -> Response:
    """Say what a change does, and with `confirmed` make it."""
    form, found = call.body, await _found(call)
    _declare(call, found.at.product)
    try:
        cents, currency = _price_of(form)
        if not form.confirmed:
            change = Change(words=_words(found, cents, currency, active=form.active), form=form)
            return await _product_page(call, form=form, change=change)
        await _put(call, found.at.product, cents, currency, active=form.active)
    except DomainError as error:
        return await _product_page(call, form=form, refusal=refusal_of(error, "refused-products"))
    return see_done(call, PATH, f"{found.at.product} is stored.")


def _declare(call: AdminCall[ProductForm, None], name: str) -> None:
    """Say what is wanted before the form is read, so that its refusal is kept."""
    form = call.body
    target = name if accounts.PRODUCT_FORM.fullmatch(name) else None
    audited(call, "put_product", target, price=form.price, currency=form.currency, active=form.active)


def _price_of(form: ProductForm) -> tuple[int, str]:
    matched, currency = _PRICE.fullmatch(form.price.strip()), form.currency.strip().upper()
    cents = int(matched[1]) * CENTS + int(matched[2] or 0) if matched else 0
    if not 0 < cents <= PRICE_CENTS_MAX:
        raise BadRequest(f"A price such as 79.00, at most {fiat(PRICE_CENTS_MAX, currency)}.")
    if _CURRENCY.fullmatch(currency) is None:
        raise BadRequest("A currency has three letters, such as USD.")
    return cents, currency


def _words(found: ProductRow, cents: int, currency: str, *, active: bool) -> tuple[str, ...]:
    at, words = found.at, list[str]()
    if (cents, currency) != (at.price_cents, at.price_currency):
        words.append(
            f"New orders cost {fiat(cents, currency)} instead of {fiat(at.price_cents, at.price_currency)}."
        )
        words.append(
            f"{found.open_orders:,} open orders keep the price they began with, and so do all that ended."
        )
    if at.active and not active:
        words.append("Nobody can start an order for it any more; open orders can still be paid.")
    if active and not at.active:
        words.append("It can be bought again.")
    return tuple(words) or ("Nothing: this is how it is stored already.",)


async def _put(call: AdminCall[Any, Any], name: str, cents: int, currency: str, *, active: bool) -> None:
    entry = audited(call, "put_product", name, price_cents=cents, price_currency=currency, active=active)
    await accounts.put_product(call.deps.pool, name, cents, currency, active=active, entry=entry)


async def _rows(call: AdminCall[Any, Any]) -> list[ProductRow]:
    async with call.deps.pool.acquire() as conn:
        listed = await products.list_all(conn)
        open_orders = await overview.open_orders_by_product(conn)
    return [
        ProductRow(
            path=f"{PATH}/{each.product}",
            orders=address("/admin/orders", product=each.product),
            at=each,
            open_orders=open_orders.get(each.product, 0),
        )
        for each in listed
    ]


async def _found(call: AdminCall[Any, Any]) -> ProductRow:
    for row in await _rows(call):
        if row.at.product == call.text("product"):
            return row
    raise NotFound


async def _products_page(
    call: AdminCall[Any, Any],
    *,
    form: ProductForm | None = None,
    refusal: Refusal | None = None,
) -> Response:
    rows = await _rows(call)
    async with call.deps.pool.acquire() as conn:
        now = await overview.now(conn)
    return page(
        call,
        "products.html",
        status=refusal.status if refusal else 200,
        active="products",
        rows=rows,
        now=now,
        form=form or ProductForm(),
        refusal=refusal,
    )


async def _product_page(
    call: AdminCall[Any, Any],
    *,
    form: ProductForm | None = None,
    change: Change | None = None,
    refusal: Refusal | None = None,
) -> Response:
    row = await _found(call)
    at = row.at
    async with call.deps.pool.acquire() as conn:
        now = await overview.now(conn)
    whole, cents = divmod(at.price_cents, CENTS)
    return page(
        call,
        "product.html",
        status=refusal.status if refusal else 200,
        active="products",
        product=row,
        now=now,
        form=form or ProductForm(price=f"{whole}.{cents:02d}", currency=at.price_currency, active=at.active),
        change=change,
        refusal=refusal,
    )


ENDPOINTS: tuple[Endpoint[AdminServices, Operator, Any, Any], ...] = (
    screen(PATH, show_products),
    action(PATH, add_product, body=ProductForm, scope=MANAGE_CATALOGUE),
    screen(_ONE, show_product),
    action(_ONE, change_product, body=ProductForm, scope=MANAGE_CATALOGUE),
)
