"""The routes of the published pages: no login, read only, kept by caches for minutes."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final

from msgspec import Meta, Struct
from starlette.responses import HTMLResponse, Response

from crypto_orders.docs.library import PREFIX, SEARCH_PATH, TRY_PATH, Facts
from crypto_orders.docs.search import QUESTION_CHARS_MAX, Found
from crypto_orders.kit.http import PUBLIC, Call, Endpoint, RouteGroup
from crypto_orders.kit.problem import Problem, not_found
from crypto_orders.pages.site import Site, Templates, problem_page, theme_of

if TYPE_CHECKING:
    from crypto_orders.docs.published import Drawn, Published

CACHE_CONTROL: Final = "public, max-age=300"
"""Five minutes: a deployment changes pages, and its readers see that soon."""

TRY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " font-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""For the try-it page alone: swagger-ui writes styles into what it draws."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocsServices:
    """What the published pages are made of. `openapi` is the document that /openapi.json answers.

    `tries` says whether the try-it page is there; production has none.
    """

    site: Site
    facts: Facts
    openapi: bytes
    tries: bool


class _Docs:
    """The pages, put together when the first is asked for. Its methods are a thread's work."""

    def __init__(self, services: DocsServices) -> None:
        self.services = services
        self.templates = Templates(services.site, "docs")

    @cached_property
    def published(self) -> "Published":
        # Half of a process's start, for what many processes are never asked.
        from crypto_orders.docs.published import Published  # noqa: PLC0415

        services = self.services
        return Published(self.templates, services.facts, services.openapi, tries=services.tries)

    def page(self, path: str, theme: str) -> "Drawn | None":
        return self.published.at(path, theme)

    def find(self, question: str) -> Sequence[Found]:
        return self.published.index.find(question)


class SearchQuery(Struct, frozen=True):
    """What is looked for; nothing shows how to search."""

    q: Annotated[str, Meta(max_length=QUESTION_CHARS_MAX)] | None = None


_Call = Call[_Docs, None, Any, Any]


async def show_page(call: _Call) -> Response:
    """The page at the path, or that it has not changed."""
    path: str = call.scope["path"]
    drawn = await asyncio.to_thread(call.deps.page, path, theme_of(call))
    if drawn is None:
        raise not_found()
    headers: Mapping[str, str] = {"cache-control": CACHE_CONTROL, "etag": drawn.etag, "vary": "Cookie"}
    if drawn.etag in (call.header("if-none-match") or ""):
        return Response(status_code=304, headers=headers)
    if path == TRY_PATH:
        call.response_headers["content-security-policy"] = TRY_POLICY
    return HTMLResponse(drawn.html, headers=headers)


async def search(call: Call[_Docs, None, None, SearchQuery]) -> Response:
    """The sections that hold what was asked for."""
    question = (call.query.q or "").strip()
    found = await asyncio.to_thread(call.deps.find, question)
    html = call.deps.published.frame(
        "search.html", active=SEARCH_PATH, theme=theme_of(call), question=question, found=found
    )
    return HTMLResponse(html, headers={"cache-control": "no-store"})


def show_problem(call: _Call, problem: Problem) -> Response:
    """A failure as a page."""
    return problem_page(call.deps.templates, call, problem)


def routes(services: DocsServices) -> RouteGroup[Any, None]:
    """The published pages."""
    endpoints = (
        *(_page(path) for path in (PREFIX, f"{PREFIX}/{{page}}", f"{PREFIX}/errors/{{slug}}")),
        Endpoint(
            method="GET",
            path=SEARCH_PATH,
            handler=search,
            scope=PUBLIC,
            query=SearchQuery,
            media_types=("text/html",),
            documented=False,
            from_page=True,
        ),
    )
    return RouteGroup(
        deps=_Docs(services),
        endpoints=endpoints,
        prefix=PREFIX,
        response_headers=services.site.headers,
        show_problem=show_problem,
    )


def _page(path: str) -> Endpoint[_Docs, None, Any, Any]:
    return Endpoint(
        method="GET",
        path=path,
        handler=show_page,
        scope=PUBLIC,
        media_types=("text/html",),
        documented=False,
    )
