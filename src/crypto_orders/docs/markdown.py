"""Makes HTML of a page's Markdown: sections with stable anchors, coloured examples, plain text to search.

Headings name their anchor as `{#anchor}`; without one it is made of their words. Raw HTML is not HTML here.
Blocks fenced as `sh test` set the scene for the test that runs the page and are left out.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple, Protocol, cast

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup
from pygments import formatters, lexers
from pygments import highlight as untyped_highlight

SCENE: Final = "sh test"
PAGE_LEVEL: Final = 1
DEPTH_MAX: Final = 3
"""Headings to this level are sections of their own, found by searching and linked to."""

ANSWERS: Final = frozenset({"json", "text", "http"})
LANGUAGES: Final = {
    "sh": "Request",
    "json": "JSON",
    "http": "Head of the answer",
    "text": "Text",
    "python": "Python",
    "javascript": "JavaScript",
    "go": "Go",
    "": "Shell",
}

_BEGINNING = re.compile(r"# ([^\n]+)\n\n(?:[^\n]+\n)+")
_ANCHOR = re.compile(r"\s*\{#([A-Za-z0-9_.-]+)\}\s*$")
_NO_WORD = re.compile(r"[^a-z0-9]+")
_BLANKS = re.compile(r"\s+")
_LEXERS: Final = {"": "sh"}
# A member `"…": "…"` of an example stands for members that are left out.
_LEFT_OUT = re.compile(
    r'<span class="nt">("|&quot;)…\1</span><span class="p">:</span> <span class="s2">\1…\1</span>'
)
_BLANK_SPAN = re.compile(r'<span class="w">(\s+)</span>')
_REQUEST = re.compile(r"\$BASE(/[^\s\"?]*)")
_METHOD = re.compile(r"-X ([A-Z]+)")


class _Highlight(Protocol):
    """What Pygments' own `highlight` does, which comes without types."""

    def __call__(self, code: str, lexer: object, formatter: object) -> str: ...


class _FindLexer(Protocol):
    """What Pygments' own `get_lexer_by_name` does."""

    def __call__(self, alias: str, /, *, stripnl: bool) -> object: ...


class _MakeFormatter(Protocol):
    """What Pygments' own `HtmlFormatter` is made with."""

    def __call__(self, *, nowrap: bool) -> object: ...


_highlight: Final = cast("_Highlight", untyped_highlight)
_lexer: Final = cast("_FindLexer", cast("Any", lexers).get_lexer_by_name)
_FORMATTER: Final = cast("_MakeFormatter", cast("Any", formatters).HtmlFormatter)(nowrap=True)


class Example(NamedTuple):
    """A request that a page shows: method, path (with `$NAME` for what varies), and all of it as HTML."""

    method: str
    path: str
    html: Markup


class Section(NamedTuple):
    """A heading with what stands under it, up to the next one; the first of a page is its beginning."""

    anchor: str
    title: str
    level: int
    body: Markup
    text: str
    examples: tuple[Example, ...]

    @property
    def html(self) -> Markup:
        """The section with its heading."""
        return _heading_html(self.title, self.anchor, self.level) + self.body


class Document(NamedTuple):
    """A page as HTML: its title, its first paragraph, and its sections in order."""

    title: str
    summary: str
    sections: tuple[Section, ...]

    @property
    def html(self) -> Markup:
        """The whole page below its title."""
        return Markup("").join(section.html for section in self.sections)


def render(source: str) -> Document:
    """The HTML of a page. ValueError when it has no title or an anchor twice."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = [token for token in parser.parse(source) if not (token.type == "fence" and token.info == SCENE)]
    sections: list[Section] = []
    title = ""
    for part in filter(None, _parts(tokens)):
        heading, anchor, level = _heading_of(part)
        body = part[3:] if heading else part
        if level == PAGE_LEVEL:
            title, anchor = heading, ""
        html, examples = _body_of(parser, body)
        sections.append(Section(anchor, heading, level, html, _text_of(body), examples))
    anchors = [section.anchor for section in sections]
    if not title or len(set(anchors)) != len(anchors):
        message = f"a page needs one title and different anchors, not {anchors}"
        raise ValueError(message)
    return Document(title, _summary_of(tokens), tuple(sections))


def heading(source: str) -> tuple[str, str]:
    """A page's title and its first paragraph, without rendering the rest."""
    found = _BEGINNING.match(source)
    if found is None:
        message = "a page begins with its title and a paragraph"
        raise ValueError(message)
    tokens = MarkdownIt("commonmark", {"html": False}).parse(found[0])
    return found[1], _summary_of(tokens)


def code_html(text: str, language: str) -> Markup:
    """A text with its syntax marked by classes."""
    lexer = _lexer(_LEXERS.get(language, language), stripnl=False)
    marked = _BLANK_SPAN.sub(r"\1", _highlight(text, lexer, _FORMATTER).rstrip("\n"))
    return Markup(_LEFT_OUT.sub('<span class="c1">…</span>', marked))  # noqa: S704 - escaped by Pygments


def _parts(tokens: Sequence[Token]) -> Iterable[Sequence[Token]]:
    """The tokens from each heading up to the next one."""
    starts = [
        index
        for index, token in enumerate(tokens)
        if token.type == "heading_open" and token.level == 0 and int(token.tag[1:]) <= DEPTH_MAX
    ]
    yield tokens[: starts[0]] if starts else tokens
    for start, end in pairwise((*starts, len(tokens))):
        yield tokens[start:end]


def _heading_of(part: Sequence[Token]) -> tuple[str, str, int]:
    if not part or part[0].type != "heading_open":
        return "", "", PAGE_LEVEL
    words = _plain(part[1])
    found = _ANCHOR.search(words)
    title = words[: found.start()] if found else words
    anchor = found[1] if found else _NO_WORD.sub("-", title.lower()).strip("-")
    return title, anchor, int(part[0].tag[1:])


def _heading_html(heading: str, anchor: str, level: int) -> Markup:
    if level == PAGE_LEVEL:
        return Markup("")
    return Markup(
        '<h{level} id="{anchor}">{heading} <a class="anchor" href="#{anchor}"'
        ' aria-label="Link to this section: {heading}">#</a></h{level}>\n'
    ).format(level=level, anchor=anchor, heading=heading)


def _body_of(parser: MarkdownIt, body: Sequence[Token]) -> tuple[Markup, tuple[Example, ...]]:
    pieces: list[Markup] = []
    rest: list[Token] = []
    examples: list[Example] = []
    before: Token | None = None
    for token in body:
        if token.type not in {"fence", "code_block"}:
            rest.append(_with_attributes(token))
            continue
        is_answer = token.info in ANSWERS and before is not None and before.info == "sh" and not rest
        html = _code_block(token, is_answer=is_answer)
        request = _REQUEST.search(token.content) if token.info == "sh" else None
        if request:
            examples.append(Example(_method_of(token.content), request[1], html))
        elif is_answer and examples:
            examples[-1] = examples[-1]._replace(html=examples[-1].html + html)
        pieces += [_prose(parser, rest), html]
        before, rest = token, []
    pieces.append(_prose(parser, rest))
    return Markup("").join(pieces), tuple(examples)


def _method_of(command: str) -> str:
    named = _METHOD.search(command)
    if named:
        return named[1]
    return "POST" if "--json" in command else "GET"


def _prose(parser: MarkdownIt, tokens: Sequence[Token]) -> Markup:
    html = str(parser.renderer.render(list(tokens), parser.options, {}))
    opened = '<div class="scroll" tabindex="0" role="group" aria-label="Table"><table class="table">'
    html = html.replace("<table>", opened).replace("</table>", "</table></div>")
    return Markup(html)  # noqa: S704 - the parser escapes what it is given


def _with_attributes(token: Token) -> Token:
    if token.type == "th_open":
        token.attrSet("scope", "col")
    for child in token.children or ():
        if child.type == "link_open" and str(child.attrGet("href")).startswith("http"):
            child.attrSet("rel", "noopener noreferrer")
    return token


def _code_block(token: Token, *, is_answer: bool) -> Markup:
    language = token.info
    label = "Answer" if is_answer and language != "http" else LANGUAGES.get(language, language)
    copy = Markup("")
    if not is_answer:
        copy = Markup(
            '<button type="button" class="copy" data-copy="{text}" aria-label="Copy: {label}" hidden>'
            "Copy</button>"
        ).format(text=token.content.strip(), label=label)
    return Markup(
        '<figure class="example {kind}"><figcaption>{label}{copy}</figcaption>'
        '<pre tabindex="0" role="group" aria-label="{label}"><code>{code}</code></pre></figure>\n'
    ).format(
        kind="answer" if is_answer else "request",
        label=label,
        copy=copy,
        code=code_html(token.content, language),
    )


def _plain(inline: Token) -> str:
    return "".join(
        " " if child.type in {"softbreak", "hardbreak"} else child.content for child in inline.children or ()
    )


def _text_of(tokens: Sequence[Token]) -> str:
    """What a reader reads, without marks, for searching."""
    words = [_plain(t) if t.type == "inline" else t.content for t in tokens if t.type in {"inline", "fence"}]
    return _BLANKS.sub(" ", " ".join(words)).strip()


def _summary_of(tokens: Sequence[Token]) -> str:
    paragraphs = (b for a, b in pairwise(tokens) if a.type == "paragraph_open")
    return _BLANKS.sub(" ", _plain(next(paragraphs))).strip()
