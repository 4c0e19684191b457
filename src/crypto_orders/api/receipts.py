"""The receipt of an order, as JSON, as plain text and as a one-page PDF that say the same."""

import asyncio

from starlette.responses import Response

from crypto_orders.api.services import ApiCall
from crypto_orders.domain.errors import NotFound
from crypto_orders.kit import clock
from crypto_orders.kit.http import Endpoint
from crypto_orders.pages.receipt import Receipt, as_pdf, as_text, receipt_of
from crypto_orders.store import orders


async def _receipt(call: ApiCall[None, None]) -> Receipt:
    async with call.deps.pool.acquire() as conn:
        order = await orders.get(conn, call.principal.account, call.text("order_id"))
    if order is None:
        raise NotFound
    return receipt_of(order, clock.utc_now())


async def receipt_json(call: ApiCall[None, None]) -> Receipt:
    """The receipt as JSON."""
    return await _receipt(call)


async def receipt_text(call: ApiCall[None, None]) -> Response:
    """The receipt as plain text."""
    text = as_text(await _receipt(call), call.deps.brand_name)
    return Response(text, media_type="text/plain; charset=utf-8")


async def receipt_pdf(call: ApiCall[None, None]) -> Response:
    """The receipt as a PDF."""
    receipt = await _receipt(call)
    headers = {"content-disposition": f'attachment; filename="receipt-{receipt.order_id}.pdf"'}
    pdf = await asyncio.to_thread(as_pdf, receipt, call.deps.brand_name)
    return Response(pdf, media_type="application/pdf", headers=headers)


_PATH = "/v1/billing/crypto-orders/{order_id:order_id}/receipt"

ENDPOINTS = (
    Endpoint(
        method="GET",
        path=_PATH,
        handler=receipt_json,
        scope="read:billing",
        response=Receipt,
        summary="The receipt of an order",
        tags=("Orders",),
    ),
    Endpoint(
        method="GET",
        path=f"{_PATH}.txt",
        handler=receipt_text,
        scope="read:billing",
        media_types=("text/plain",),
        summary="The receipt as plain text",
        tags=("Orders",),
    ),
    Endpoint(
        method="GET",
        path=f"{_PATH}.pdf",
        handler=receipt_pdf,
        scope="read:billing",
        media_types=("application/pdf",),
        summary="The receipt as a PDF",
        tags=("Orders",),
    ),
)
