"""A real browser for tests: how it is started, what it looks like, and what no page may do in it."""

import asyncio
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, Request, Response

ARGUMENTS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    # Whatever a page asks of another host stays here, and is a finding.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)

DEADLINE_MS = 15_000
"""For anything that a page is waited for; long, as the machine may be busy."""

FAILED_LOAD = "Failed to load resource"
"""How the console opens its sentence about an answer of 400 and more, which is judged as an answer."""

REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", violation => tellViolation(
  `${violation.effectiveDirective} blocked ${violation.blockedURI || "inline"} on ${violation.documentURI}`
));
"""

# Width is compared with the window's: on a phone, content that is too wide makes the page itself wider.
BEYOND_THE_EDGE = """
width => {
  const scrolls = node => {
    for (let box = node.parentElement; box && box !== document.body; box = box.parentElement) {
      if (getComputedStyle(box).overflowX !== "visible") return true;
    }
    return false;
  };
  const pageWidth = Math.max(document.documentElement.scrollWidth, document.body.scrollWidth);
  if (pageWidth <= width) return null;
  const beyond = [...document.body.querySelectorAll("*")]
    .filter(node => node.getBoundingClientRect().right > width + 0.5);
  const outside = beyond.filter(node => !scrolls(node));
  // What is hidden by its place alone leaves even a box that scrolls.
  const wide = (outside.length ? outside : beyond)
    .map(node => `<${node.localName} class="${node.getAttribute("class") ?? ""}"> ends at `
      + Math.round(node.getBoundingClientRect().right)
      + (getComputedStyle(node).position === "absolute" ? ", placed absolutely" : ""));
  return {pageWidth, wide};
}
"""


class Look(NamedTuple):
    """A window and what its owner prefers."""

    name: str
    width: int
    height: int
    scheme: str
    is_phone: bool

    def __str__(self) -> str:
        return self.name


DESKTOP = Look("desktop-light", 1440, 900, "light", is_phone=False)
DESKTOP_DARK = Look("desktop-dark", 1440, 900, "dark", is_phone=False)
PHONE = Look("phone-light", 390, 844, "light", is_phone=True)
PHONE_DARK = Look("phone-dark", 390, 844, "dark", is_phone=True)

LOOKS = (DESKTOP, DESKTOP_DARK, PHONE, PHONE_DARK)

on_a_phone = pytest.mark.parametrize("page", [PHONE], indirect=True, ids=str)
"""Gives a test a phone's `page`."""


def chromium_path() -> str | None:
    """Where the system's Chromium is; CHROMIUM in the environment names another one."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium")


async def launch(playwright: Playwright, path: str) -> Browser:
    """Start the system's Chromium. Root has to do without its sandbox, and it meets no page but ours."""
    return await playwright.chromium.launch(
        executable_path=path, args=list(ARGUMENTS), chromium_sandbox=False
    )


async def open_window(browser: Browser, look: Look, base_url: str, **options: Any) -> BrowserContext:
    """A fresh profile: no cookies, no cache, paths relative to `base_url`, and no animations to wait for."""
    values: dict[str, Any] = {
        "base_url": base_url,
        "viewport": {"width": look.width, "height": look.height},
        "color_scheme": look.scheme,
        "is_mobile": look.is_phone,
        "has_touch": look.is_phone,
        "reduced_motion": "reduce",
        "locale": "en-US",
        "timezone_id": "UTC",
    }
    window = await browser.new_context(**(values | options))
    window.set_default_timeout(DEADLINE_MS)
    return window


@dataclass
class Guard:
    """Collects what no page of ours may do.

    These are: errors on the console, uncaught errors, violations of the content security policy, requests to
    another origin, and answers of 400 and more to anything that is not a page. A test that provokes such an
    answer says so with `allow`; a page itself may answer 4xx, which the test sees, but never 5xx.
    """

    origins: set[str] = field(default_factory=set[str])
    findings: list[str] = field(default_factory=list[str])
    allowed: set[int] = field(default_factory=set[int])

    async def watch(self, window: BrowserContext, origin: str) -> None:
        """Watch every page of a window from its first line on; they belong to `origin`."""
        self.origins.add(origin)
        window.on("console", self._console)
        window.on("weberror", lambda error: self.findings.append(f"uncaught: {error.error}"))
        window.on("request", self._request)
        window.on("response", self._response)
        speaking: Any = window  # Its type leaves open what a binding takes.
        await speaking.expose_binding("tellViolation", self._violation)
        await window.add_init_script(REPORT_VIOLATIONS)

    def allow(self, *statuses: int) -> None:
        """Let scripts of this test's pages get answers with these statuses, 400 and more."""
        self.allowed.update(statuses)

    def assert_nothing_found(self) -> None:
        """Fail with everything that was found."""
        assert not self.findings, "\n".join(["the page did what no page may:", *self.findings])

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(FAILED_LOAD):
            self.findings.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in {"data", "blob", "about"} and f"{url.scheme}://{url.netloc}" not in self.origins:
            self.findings.append(f"another origin: {request.method} {request.url}")

    def _response(self, response: Response) -> None:
        is_page = response.request.resource_type == "document"
        limit = 500 if is_page else 400
        if response.status >= limit and response.status not in self.allowed:
            self.findings.append(f"answer: {response.request.method} {response.url} {response.status}")

    def _violation(self, _source: Any, told: str) -> None:
        self.findings.append(f"policy: {told}")


async def too_wide(page: Page) -> str | None:
    """What makes the page scroll sideways, one element a line; None when nothing does."""
    await settled(page)
    size = page.viewport_size
    assert size is not None
    found = await page.evaluate(BEYOND_THE_EDGE, size["width"])
    if not found:
        return None
    return "\n".join(
        [f"{page.url} is {found['pageWidth']} px wide in {size['width']} px:", *found["wide"][:20]]
    )


async def no_sideways_scroll(page: Page) -> None:
    """Fail when the page can be scrolled sideways, naming what sticks out."""
    found = await too_wide(page)
    assert found is None, found


async def first_load_bytes(page: Page, path: str) -> int:
    """Open a path and answer what came over the wire for it, compressed and with headers.

    Give it a page that has opened nothing yet: what a browser has kept weighs nothing.
    """
    weights: dict[str, int] = {}
    awaited: dict[str, str] = {}

    def started(sent: Any) -> None:
        awaited[sent["requestId"]] = sent["request"]["url"]

    def ended(told: Any) -> None:
        awaited.pop(told["requestId"], None)
        weights[told["requestId"]] = int(told.get("encodedDataLength", 0))

    session: Any = await page.context.new_cdp_session(page)
    session.on("Network.requestWillBeSent", started)
    session.on("Network.loadingFinished", ended)
    session.on("Network.loadingFailed", ended)
    await session.send("Network.enable")
    await page.goto(path)
    end = time.monotonic() + DEADLINE_MS / 1000
    while awaited:
        assert time.monotonic() < end, f"{path} still waits for {list(awaited.values())}"
        await asyncio.sleep(0.02)
    await session.detach()
    return sum(weights.values())


async def settled(page: Page) -> None:
    """Wait until styles and fonts are there and no animation runs, so that what is measured stays."""
    await page.wait_for_load_state("load")
    await page.evaluate(
        "async () => { await document.fonts.ready; await Promise.all(document.getAnimations()"
        ".filter(a => a.effect?.getComputedTiming().endTime !== Infinity)"
        ".map(a => a.finished.catch(() => null))); }"
    )


VENDOR = Path(__file__).parents[1] / "browser" / "vendor"

AXE_TAGS: Sequence[str] = (
    *("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"),
    "best-practice",
)

RUN_AXE = """
axe.run(document, {runOnly: %s, resultTypes: ["violations"]}).then(({violations}) => violations.flatMap(
  ({id, impact, help, nodes}) => nodes.map(({target, html, failureSummary}) => (
    {id, impact, help, target: target.join(" "), html: html.slice(0, 300), summary: failureSummary}))
))
"""


async def axe_findings(page: Page) -> list[str]:
    """What axe finds on the page as it stands: for each the rule, the element and the reason.

    It runs in a world of its own, which a page's policy does not reach and its scripts do not see.
    """
    await settled(page)
    session: Any = await page.context.new_cdp_session(page)
    try:
        tree = await session.send("Page.getFrameTree")
        world = await session.send(
            "Page.createIsolatedWorld", {"frameId": tree["frameTree"]["frame"]["id"], "worldName": "axe"}
        )
        (source,) = VENDOR.glob("axe-core-*.min.js")
        for expression in (source.read_text(encoding="utf-8") + ";0", RUN_AXE % list(AXE_TAGS)):
            found = await session.send(
                "Runtime.evaluate",
                {
                    "expression": expression,
                    "contextId": world["executionContextId"],
                    "awaitPromise": True,
                    "returnByValue": True,
                },
            )
            assert "exceptionDetails" not in found, found["exceptionDetails"]
        return [_told(page.url, finding) for finding in found["result"]["value"]]
    finally:
        await session.detach()


def _told(url: str, finding: Any) -> str:
    reasons = ["  " + line for line in (finding["summary"] or "").splitlines()]
    first = f"{finding['impact']} {finding['id']}: {finding['help']}"
    return "\n".join([first, f"  on {url}", f"  at {finding['target']}", f"  {finding['html']}", *reasons])


async def axe(page: Page) -> None:
    """Fail with a listing when axe finds anything on the page as it stands."""
    findings = await axe_findings(page)
    assert not findings, "\n".join([f"axe found {len(findings)} on {page.url}:", *findings])
