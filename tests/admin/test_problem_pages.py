"""What people read when a page cannot be shown, and where addresses typed by hand lead."""

import pytest

from tests.admin.test_overview import words
from tests.support.operators import Desk, signed_in
from tests.support.service import Service

ABSENT = "This page does not exist, or is not yours to see."


async def test_what_is_not_there_keeps_the_ways_to_everything_else(service: Service) -> None:
    desk = await signed_in(service, "viewer")
    missing = await desk.get("/admin/orders/ord_00000000000000000000000000")
    assert missing.status == 404
    assert ABSENT in words(missing.body)
    assert 'href="/admin/flags"' in missing.body.decode()
    fragment = await desk.get("/admin/orders/ord_00000000000000000000000000/drawer", HX_Request="true")
    assert fragment.status == 404
    assert ABSENT in words(fragment.body)
    docs = await desk.get("/docs/nothing-of-ours")
    assert docs.status == 404
    assert ABSENT in words(docs.body)
    assert 'href="/docs"' in docs.body.decode()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/admin/flags?kind=foo", "Kind: choose one that the page offers."),
        ("/admin/stuck?older_than_hours=9999", "Older than hours: a number of at most 8760."),
        ("/admin/orders?limit=9999", "A page shows 1 to 200 orders."),
        (f"/docs/search?q={'x' * 101}", "Search: at most 100 characters."),
    ],
)
async def test_a_value_that_cannot_be_read_is_named_in_plain_words(
    service: Service, path: str, said: str
) -> None:
    reply = await (await signed_in(service, "viewer")).get(path)
    assert reply.status == 400
    assert said in words(reply.body)


async def test_addresses_typed_by_hand_lead_to_pages(service: Service) -> None:
    browser = Desk(service.session, service.base_url)
    home = await browser.get("/", Accept="text/html,application/xhtml+xml")
    assert (home.status, home.headers["Location"]) == (303, "/docs")
    program = await browser.get("/", Accept="application/json")
    assert (program.status, program.headers["Content-Type"]) == (404, "application/problem+json")
    for typed, page in (("/admin/", "/admin"), ("/docs/", "/docs")):
        reply = await browser.get(typed)
        assert (reply.status, reply.headers["Location"]) == (308, page)
