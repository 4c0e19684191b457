"""What the published pages are over HTTP, and that everything they point to is there."""

import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest

from crypto_orders import app, settings
from crypto_orders.docs import library, markdown
from crypto_orders.docs.published import Published
from crypto_orders.docs.reference import path_pattern
from crypto_orders.kit.problem import KINDS
from crypto_orders.pages.site import Templates
from tests.docs_pages.reader import FENCE, steps_of
from tests.support.service import Service

ROOT = Path(__file__).parents[2]
SETTINGS = settings.read({"CRYPTO_ORDERS_BRAND_SLUG": "northwind", "CRYPTO_ORDERS_BRAND_NAME": "Northwind"})
LINK_TO_DOCS = re.compile(r"""(?<![\w}])/docs(/[a-z0-9-]+)*(#[A-Za-z0-9_.-]+)?(?=["'`)\s])""")
MENTIONED = re.compile(r"`(GET|POST|PUT|PATCH|DELETE) (/[^\s`?]+)")

FINDS = {
    "which order is this NOWPayments payment id": "payment-id",
    "my order is stuck in pending": "stuck-in-pending",
    "I see two charges on my card": "two-charges",
    "what happened to this order, in order": "timeline",
    "why is my order failed": "why-failed",
    "bulk-export today's orders for reconciliation": "export",
    "a customer's idempotency key is misbehaving": "idempotency",
}


@pytest.fixture(scope="module")
def published() -> Published:
    openapi = app.openapi_document(SETTINGS)
    templates = Templates(app.site_of(SETTINGS), "docs")
    return Published(templates, app.facts_of(SETTINGS), openapi, tries=True)


@pytest.fixture(scope="module")
def operations() -> list[tuple[str, re.Pattern[str]]]:
    """The method and path of every operation of the API document."""
    paths = json.loads(app.openapi_document(SETTINGS))["paths"]
    return [(method.upper(), path_pattern(path)) for path, methods in paths.items() for method in methods]


class Anchors(HTMLParser):
    """The ids of a page, and where its links point."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if named.get("id"):
            self.ids.append(str(named["id"]))
        if tag == "a":
            self.links.append(str(named.get("href")))


@cache
def ids_in(html: str) -> frozenset[str]:
    return frozenset(Anchors(html).ids)


def leads_somewhere(published: Published, link: str) -> bool:
    path, _, anchor = link.partition("#")
    if path in {"/openapi.json", "/docs/search"}:
        return True
    drawn = published.at(path, "")
    return drawn is not None and (not anchor or anchor in ids_in(drawn.html))


def test_every_link_and_anchor_of_every_page_is_there(published: Published) -> None:
    dead: set[str] = set()
    for path in sorted(published.paths):
        drawn = published.at(path, "")
        assert drawn is not None
        page = Anchors(drawn.html)
        assert len(page.ids) == len(set(page.ids)), f"{path} has an id twice"
        for link in page.links:
            whole = path + link if link.startswith("#") else link
            if whole.startswith("/") and not leads_somewhere(published, whole):
                dead.add(f"{path}: {link}")
    assert dead == set()


def test_every_mention_of_a_page_in_the_source_leads_to_it(published: Published) -> None:
    """The other pages of the service link the runbook by its sections."""
    sources = [p for kind in ("html", "py", "md") for p in (ROOT / "src").rglob(f"*.{kind}")]
    dead = {
        f"{source.relative_to(ROOT)}: {found[0]}"
        for source in sources
        for found in LINK_TO_DOCS.finditer(source.read_text(encoding="utf-8"))
        if not leads_somewhere(published, found[0])
    }
    assert dead == set()


@pytest.mark.parametrize("name", library.NAMES)
def test_every_request_is_shown_with_its_answer_and_is_one_of_the_api(
    name: str, operations: list[tuple[str, re.Pattern[str]]]
) -> None:
    source = library.source(name, app.facts_of(SETTINGS))
    for step in steps_of(source):
        if step.published:
            assert step.kind is not None, f"what it answers is not shown: {step.commands}"
    outside = FENCE.sub(lambda found: "" if found[1] == "sh" else found[0], source)
    assert "curl -" not in outside, "a request stands where no test makes it"
    mentioned = [(found[1], found[2]) for found in MENTIONED.finditer(source)]
    shown = [
        (example.method, example.path)
        for section in markdown.render(source).sections
        for example in section.examples
    ]
    for method, path in [*mentioned, *shown]:
        known = any(method == m and pattern.fullmatch(path) for m, pattern in operations)
        assert known or (method, path) == ("DELETE", "/v1/billing/crypto-orders"), f"{method} {path}"


def test_the_runbook_answers_each_question_of_support_under_its_own_heading() -> None:
    document = markdown.render(library.source(library.RUNBOOK, app.facts_of(SETTINGS)))
    found = {s.title.rstrip("?").lower(): s for s in document.sections}
    for question, anchor in FINDS.items():
        section = found[question.lower()]
        assert section.anchor == anchor
        assert section.examples
        assert all(part in section.text for part in ("What it means.", "Next step", "Never"))


def test_every_kind_of_flag_has_a_section_in_the_runbook() -> None:
    kinds = json.loads(app.openapi_document(SETTINGS))["components"]["schemas"]["FlagKind"]["enum"]
    document = markdown.render(library.source(library.RUNBOOK, app.facts_of(SETTINGS)))
    anchors = [section.anchor for section in document.sections]
    assert [f"flag-{kind}" for kind in sorted(kinds)] == sorted(a for a in anchors if a.startswith("flag-"))


@pytest.mark.parametrize("question", FINDS)
def test_searching_for_a_question_finds_its_section_first(published: Published, question: str) -> None:
    first = published.index.find(question)[0]
    assert first.place.url == f"/docs/{library.RUNBOOK}#{FINDS[question]}"


def test_searching_marks_the_words_and_wants_all_of_them(published: Published) -> None:
    found = published.index.find("Retry-After BEFOREHAND")[0]
    assert {piece.lower() for piece in found.excerpt[1::2]} <= {"retry-after", "beforehand"}
    assert published.index.find("pending zebra") == []
    assert published.index.find("!?") == ()
    assert published.index.find("ask-provider")[0].place.url.startswith("/docs/")


def test_the_words_of_a_deployment_are_its_own(published: Published) -> None:
    drawn = published.at("/docs/webhooks", "")
    assert drawn is not None
    assert "X-Northwind-Signature" in drawn.html
    assert "Crypto-Orders-Signature" not in drawn.html
    assert not re.search(r"%[A-Z_]{3,}%", drawn.html)


def test_raw_html_and_scenes_are_not_published() -> None:
    scene, request = "```sh test\nsecret scene\n```\n", '```sh\ncurl "$BASE/v1/x"\n```\n'
    source = f"# A title\n\nText <script>alert(1)</script>\n\n{scene}{request}"
    document = markdown.render(source)
    assert "<script>" not in document.html
    assert "secret scene" not in document.html
    assert [(e.method, e.path) for e in document.sections[0].examples] == [("GET", "/v1/x")]


@pytest.mark.parametrize("source", ["no title\n", "# A\n\ntext\n\n## B\n\n## B\n"])
def test_a_page_without_title_or_with_an_anchor_twice_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="title"):
        markdown.render(source)


async def test_pages_come_whole_without_login_and_are_kept_by_caches(service: Service) -> None:
    anyone = service.client()
    for name in ("", *(f"/{name}" for name in library.NAMES), "/api"):
        reply = await anyone.get(f"/docs{name}")
        assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert reply.body.count(b"<h1>") == 1
        assert "script-src 'self';" in reply.headers["content-security-policy"]
        assert "unsafe" not in reply.headers["content-security-policy"]
        again = await anyone.get(f"/docs{name}", If_None_Match=reply.headers["etag"])
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == reply.headers["etag"]
    dark = await anyone.get("/docs", Cookie="theme=dark")
    assert b'data-theme="dark"' in dark.body
    assert dark.headers["etag"] != (await anyone.get("/docs")).headers["etag"]


async def test_the_type_of_an_error_is_a_page_about_it(service: Service) -> None:
    anyone = service.client()
    problem = await anyone.get("/v1/whoami")
    path = problem.json["type"].removeprefix(service.base_url)
    assert path == "/docs/errors/unauthorized"
    for slug in KINDS:
        page = await anyone.get(f"/docs/errors/{slug}")
        assert (page.status, f"<h1>{slug}</h1>".encode() in page.body) == (200, True)


async def test_searching_works_by_a_plain_form(service: Service) -> None:
    anyone = service.client()
    reply = await anyone.get("/docs/search?q=stuck+in+pending")
    assert reply.body.count(b"crypto-orders-ops-runbook#stuck-in-pending") == 1
    assert b"<mark>pending</mark>" in reply.body
    assert reply.headers["cache-control"] == "no-store"
    hostile = await anyone.get("/docs/search?q=%3Cscript%3Ealert(1)%3C/script%3E")
    assert (hostile.status, b"<script>alert" in hostile.body) == (200, False)
    assert b"No section has all of these words" in hostile.body
    assert (await anyone.get("/docs/search?q=")).status == 200
    assert (await anyone.get(f"/docs/search?q={'a' * 101}")).status == 400


async def test_what_is_not_there_is_told_by_a_page(service: Service) -> None:
    for path in ("/docs/nothing", "/docs/errors/nothing", "/docs/a/b/c"):
        reply = await service.client().get(path)
        assert (reply.status, reply.headers["content-type"]) == (404, "text/html; charset=utf-8")


async def test_the_reference_shows_every_operation_with_its_scope(service: Service) -> None:
    page = (await service.client().get("/docs/api")).body.decode()
    document = (await service.client().get("/openapi.json")).json
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert f'id="{operation["operationId"]}"' in page
            assert f"<code>{path}</code>" in page
    assert "<code>admin:override</code>" not in page
    assert page.count("<code>account_owner</code>") == 7


async def test_the_try_it_page_is_off_in_production(service: Service) -> None:
    reply = await service.client().get("/docs/try")
    assert (reply.status, b"swagger-ui-bundle" in reply.body) == (200, True)
    assert "style-src 'self' 'unsafe-inline'" in reply.headers["content-security-policy"]
    openapi, facts = app.openapi_document(SETTINGS), app.facts_of(SETTINGS)
    templates = Templates(app.site_of(SETTINGS), "docs")
    production = Published(templates, facts, openapi, tries=False)
    assert production.at("/docs/try", "") is None
    index = production.at("/docs", "")
    assert index is not None
    assert "/docs/try" not in index.html
