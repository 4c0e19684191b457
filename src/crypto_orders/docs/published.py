"""All published pages as they are sent: each drawn once in each theme, with an ETag."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final, NamedTuple

import msgspec

from crypto_orders.docs import library, markdown
from crypto_orders.docs.library import API_PATH, ERRORS, INDEX_PATH, PREFIX, SHELVES, TRY_PATH, Facts
from crypto_orders.docs.markdown import Document
from crypto_orders.docs.reference import Reference, Shown, reference
from crypto_orders.docs.search import Index, Place
from crypto_orders.kit.problem import KINDS
from crypto_orders.pages.site import Templates

ETAG_CHARS: Final = 20


class Link(NamedTuple):
    """A page as other pages name it."""

    path: str
    title: str
    summary: str


class Page(NamedTuple):
    """A page of Markdown with its neighbours in reading order."""

    path: str
    document: Document
    before: Link | None
    after: Link | None


class Drawn(NamedTuple):
    """A whole page as it is sent, and the weak validator of its content (RFC 9110, section 8.8.1)."""

    html: str
    etag: str


class Published:
    """The pages of one deployment by path and theme, and the search over them.

    Each is drawn when it is first asked for, and kept. That takes part of a second at most, so it is a
    thread's work; two threads that draw the same page at once draw the same.
    """

    def __init__(self, templates: Templates, facts: Facts, openapi: bytes, *, tries: bool) -> None:
        self._templates = templates
        self._facts = facts
        self._openapi = openapi
        self._tries = tries
        self._documents: dict[str, Document] = {}
        self._drawn: dict[tuple[str, str], Drawn] = {}

    def at(self, path: str, theme: str) -> Drawn | None:
        """The page at a path in a theme, or None when there is none."""
        if path not in self.paths:
            return None
        drawn = self._drawn.get((path, theme))
        if drawn is None:
            html = self._draw(path, theme)
            drawn = Drawn(html, f'W/"{hashlib.sha256(html.encode()).hexdigest()[:ETAG_CHARS]}"')
            self._drawn[path, theme] = drawn
        return drawn

    @cached_property
    def paths(self) -> frozenset[str]:
        """Every address that there is a page for; each error has one, at the address that its type names."""
        names = {f"{PREFIX}/{name}" for name in library.NAMES}
        errors = {f"{PREFIX}/{ERRORS}/{slug}" for slug in KINDS}
        return frozenset({INDEX_PATH, API_PATH, *names, *errors, *([TRY_PATH] if self._tries else [])})

    @cached_property
    def index(self) -> Index:
        """The search over all sections and operations."""
        return Index([*_places(self._all()), *_places_of(self._reference)])

    def frame(self, template: str, *, active: str, theme: str, **values: object) -> str:
        """A page in the frame of all pages."""
        return self._templates.text(
            template, shelves=self._shelves, tries=self._tries, active=active, theme=theme, **values
        )

    def _draw(self, path: str, theme: str) -> str:
        name = path.removeprefix(f"{PREFIX}/")
        match path:
            case _ if path == INDEX_PATH:
                return self.frame("index.html", active=path, theme=theme)
            case _ if path == API_PATH:
                return self.frame("api.html", active=path, theme=theme, reference=self._reference)
            case _ if path == TRY_PATH:
                return self._templates.text("try.html")
            case _ if name in library.NAMES:
                return self.frame("page.html", active=path, theme=theme, page=self._page(name))
            case _:
                return self._draw_error(name.rpartition("/")[2], theme)

    def _draw_error(self, slug: str, theme: str) -> str:
        sections = {section.anchor: section for section in self._document(ERRORS).sections}
        return self.frame(
            "error.html",
            active=f"{PREFIX}/{ERRORS}",
            theme=theme,
            section=sections[slug],
            others=[other for other in KINDS if other != slug],
        )

    def _page(self, name: str) -> Page:
        number = library.NAMES.index(name)
        before = library.NAMES[number - 1] if number else None
        after = library.NAMES[number + 1] if number + 1 < len(library.NAMES) else None
        return Page(
            path=f"{PREFIX}/{name}",
            document=self._document(name),
            before=self._link(before) if before else None,
            after=self._link(after) if after else None,
        )

    def _document(self, name: str) -> Document:
        if name not in self._documents:
            self._documents[name] = markdown.render(library.source(name, self._facts))
        return self._documents[name]

    def _all(self) -> Mapping[str, Document]:
        return {name: self._document(name) for name in library.NAMES}

    def _link(self, name: str) -> Link:
        title, summary = markdown.heading(library.source(name, self._facts))
        return Link(f"{PREFIX}/{name}", title, summary)

    @cached_property
    def _shelves(self) -> Sequence[tuple[str, Sequence[Link]]]:
        return [(shelf.title, [self._link(name) for name in shelf.names]) for shelf in SHELVES]

    @cached_property
    def _reference(self) -> Reference:
        return reference(msgspec.json.decode(self._openapi), list(_shown(self._all())))


def _places(documents: Mapping[str, Document]) -> Iterable[Place]:
    for name, document in documents.items():
        for section in document.sections:
            anchor = f"#{section.anchor}" if section.anchor else ""
            title = section.title if anchor else ""
            yield Place(f"{PREFIX}/{name}{anchor}", document.title, title, section.text)


def _places_of(described: Reference) -> Iterable[Place]:
    for operation in described.operations:
        text = f"{operation.method} {operation.path} {operation.description.striptags()}"
        yield Place(f"{API_PATH}#{operation.anchor}", "API reference", operation.summary, text)


def _shown(documents: Mapping[str, Document]) -> Iterable[Shown]:
    for name, document in documents.items():
        for section in document.sections:
            for example in section.examples:
                yield Shown(f"{PREFIX}/{name}#{section.anchor}", section.title, example)
