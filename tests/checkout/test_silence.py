"""A page tells of a silent provider when a question waits, and only then."""

import html
import re

import pytest

from tests.support.payer import is_asked, last_heard, order_in, path_of, time_passes
from tests.support.service import Service, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

SILENT = "we are still checking"


async def page_of(service: Service, path: str) -> str:
    reply = await service.client().get(path)
    assert reply.status == 200, reply.body
    return reply.body.decode()


def news_of(page: str) -> str:
    """The address that a page asks for news."""
    found = re.search(r'hx-get="([^"]+/status[^"]*)"', page)
    assert found
    return html.unescape(found[1])


async def test_a_page_that_nobody_had_open_tells_of_no_silence(service: Service) -> None:
    _, order = await order_in(service, "pay")
    await last_heard(service, order)
    opened = await page_of(service, path_of(service, order))
    assert SILENT not in opened
    # Neither does it when the question that it brought about was just put, or answered.
    assert SILENT not in await page_of(service, path_of(service, order))
    await is_asked(service, order)
    await time_passes(service, order, "16 seconds")
    assert SILENT not in await page_of(service, path_of(service, order))


async def test_a_question_that_waits_is_told_until_it_is_answered(service: Service) -> None:
    _, order = await order_in(service, "pay")
    path = path_of(service, order)
    await last_heard(service, order)
    await service.sandbox.post("/sandbox/faults", {"api_status": 503})
    try:
        assert SILENT not in await page_of(service, path)
        await is_asked(service, order)
        assert SILENT not in await page_of(service, path)
        await time_passes(service, order, "16 seconds")
        silent = await page_of(service, path)
        assert SILENT in silent
        assert order["payment_address"] in silent
        # A minute later it is asked anew, which is no answer: the notice stays, with and without a script.
        await service.sandbox.post("/sandbox/faults", {"api_status": 404})
        await time_passes(service, order, "1 minute")
        again = re.search(r'<a href="([^"]+)"[^>]*>Check again<', silent)
        assert again
        assert (await service.client().get(news_of(silent))).status == 204
        await is_asked(service, order)
        assert (await service.client().get(news_of(silent))).status == 204
        assert SILENT in await page_of(service, html.unescape(again[1]))
    finally:
        await service.sandbox.post("/sandbox/faults", {"api_status": None})
    await time_passes(service, order, "1 minute")
    assert (await service.client().get(news_of(silent))).status == 204

    async def is_heard() -> bool:
        news = await service.client().get(news_of(silent))
        return news.status == 200 and SILENT not in news.body.decode()

    await eventually(is_heard)
    assert SILENT not in await page_of(service, html.unescape(again[1]))
