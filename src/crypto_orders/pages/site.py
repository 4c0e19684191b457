"""Draw pages: templates over one shared base, with what every page knows of the deployment it belongs to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from crypto_orders.kit import clock
from crypto_orders.kit.http import Call
from crypto_orders.kit.problem import NOT_FOUND_DETAIL, Problem
from crypto_orders.pages import formats
from crypto_orders.pages.assets import Assets

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing but our own files, nothing inline, in nobody's frame."""

PAGE_HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
STRICT_TRANSPORT: Final = "max-age=31536000"
THEMES: Final = frozenset({"light", "dark"})
THEME_COOKIE: Final = "theme"

ABSENT: Final = "This page does not exist, or is not yours to see."

FILTERS: Final[Mapping[str, Callable[..., object]]] = {
    "fiat": formats.fiat,
    "crypto": formats.crypto,
    "full_time": formats.full_time,
    "clock_time": formats.clock_time,
    "span": formats.span,
    "ago": formats.ago,
    "iso": clock.to_iso,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What every page knows: the brand, its own address, whether the money is play money, and its files."""

    brand_name: str
    brand_slug: str
    public_url: str
    sandbox: bool
    assets: Assets = field(repr=False)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that every page of the deployment is sent with."""
        if self.public_url.startswith("https://"):
            return {**PAGE_HEADERS, "strict-transport-security": STRICT_TRANSPORT}
        return PAGE_HEADERS


class Templates:
    """The templates of one of our packages, over the shared ones of `pages`.

    Every value is escaped, and a name that nobody gave is an error: a page is whole or it is not sent.
    """

    def __init__(
        self, site: Site, package: str, *, filters: Mapping[str, Callable[..., object]] | None = None
    ) -> None:
        self.site = site
        self._environment = Environment(
            loader=ChoiceLoader(
                [PackageLoader(f"crypto_orders.{package}"), PackageLoader("crypto_orders.pages")]
            ),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        cast("dict[str, object]", self._environment.globals).update(site=site, asset=site.assets.url)
        cast("dict[str, object]", self._environment.filters).update({**FILTERS, **(filters or {})})

    def text(self, template: str, **values: object) -> str:
        """The HTML of a template."""
        return self._environment.get_template(template).render(values)

    def page(
        self, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: object
    ) -> HTMLResponse:
        """The answer that shows a template."""
        return HTMLResponse(self.text(template, **values), status_code=status, headers=headers)


def theme_of(call: Call[Any, Any, Any, Any]) -> str:
    """The theme that a visitor chose by a cookie, or an empty text: then the system's own holds."""
    for part in (call.header("cookie") or "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == THEME_COOKIE and value in THEMES:
            return value
    return ""


def detail_of(problem: Problem) -> str:
    """What a page says about a problem: the wire's words for what is absent are for programs."""
    return ABSENT if problem.detail == NOT_FOUND_DETAIL else problem.detail


def problem_page(templates: Templates, call: Call[Any, Any, Any, Any], problem: Problem) -> HTMLResponse:
    """Any problem as a page of its own: what happened, in words, and the id to quote to support."""
    return templates.page(
        "problem.html",
        status=problem.status,
        theme=theme_of(call),
        problem=problem,
        detail=detail_of(problem),
        request_id=call.request_id,
    )
