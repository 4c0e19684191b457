#!/usr/bin/env python3
"""Take the README's pictures: start a demo, sign in, and photograph the main pages in a real browser.

    .venv/bin/python tools/screenshots.py [FOLDER]

The pictures go to docs/screenshots, or to FOLDER. They are made small: 256 colours are enough for pages.
"""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "screenshots"

BYTES_MAX = 200_000
"""Of one picture, as a README is read over slow lines too."""

COLOURS = (256, 128, 64, 32)
"""Palettes, tried in this order until a picture is small enough."""

START_SECONDS = 240.0
PAGE_MS = 30_000
HTTP_ERRORS_FROM = 400

ARGUMENTS = ("--disable-gpu", "--disable-background-networking", "--no-first-run", "--hide-scrollbars")

Scheme = Literal["light", "dark"]


class Shot(NamedTuple):
    """One picture: its file, what it shows, and in which window."""

    name: str
    path: str
    scheme: Scheme = "light"
    is_phone: bool = False
    signed_in: bool = True


class Demo:
    """What a running demo says of itself, and its API."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        self.origin: str = told["base_url"]

    def call(self, key: str, method: str, path: str, body: object = None, at: str = "base_url") -> Any:  # noqa: ANN401
        """Call the API and answer its JSON."""
        headers = {"Authorization": f"Bearer {self.told[key]}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.told[at] + path, data, headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 (it is our own)
            return json.load(answer)

    def order_with(self, query: str) -> str:
        """The id of the newest order that a search of support finds."""
        return self.call("admin_key", "GET", f"/v1/admin/crypto-orders?limit=1&{query}")["orders"][0][
            "order_id"
        ]

    def payment_page(self, **wanted: str) -> str:
        """The path of the payment page of a new order."""
        order = self.call("customer_key", "POST", "/v1/billing/crypto-checkout", wanted)
        return str(order["checkout_url"]).removeprefix(self.origin)


@contextmanager
def running_demo() -> Generator[Demo]:
    """A demo of its own, on free ports, gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="crypto-orders-screenshots-"))
    # As root the database server is another user, who has to be able to pass through.
    home.chmod(0o711)
    ready = home / "ready.json"
    command = [sys.executable, "-m", "crypto_orders", "demo", "--port=0", "--sandbox-port=0"]
    places = [f"--data-dir={home}/data", f"--ready-file={ready}"]
    with (home / "log").open("w") as log:
        process = subprocess.Popen([*command, *places], stdout=log, stderr=log, start_new_session=True)
    try:
        end = time.monotonic() + START_SECONDS
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > end:
                sys.exit(f"screenshots: the demo did not start.\n{(home / 'log').read_text()[-2000:]}")
            time.sleep(0.1)
        yield Demo(json.loads(ready.read_text()))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
        shutil.rmtree(home, ignore_errors=True)


def shots_of(demo: Demo) -> list[Shot]:
    """What is photographed, with orders of the demo's own stories."""
    late = demo.order_with("flag=late_payment")
    pending = demo.payment_page(product="team_manual", pay_currency="btc")
    return [
        Shot("overview", "/admin"),
        Shot("orders", "/admin/orders"),
        Shot("drawer", f"/admin/orders?order={late}"),
        Shot("orders-phone", "/admin/orders", is_phone=True),
        Shot("pay-phone", pending, is_phone=True, signed_in=False),
        Shot("pay-phone-dark", pending, "dark", is_phone=True, signed_in=False),
        Shot("runbook", "/docs/crypto-orders-ops-runbook", signed_in=False),
    ]


def open_window(browser: Browser, demo: Demo, shot: Shot) -> BrowserContext:
    """A desktop's window, or a phone's with its finer dots."""
    size = (390, 844) if shot.is_phone else (1440, 900)
    return browser.new_context(
        base_url=demo.origin,
        viewport={"width": size[0], "height": size[1]},
        device_scale_factor=2 if shot.is_phone else 1,
        is_mobile=shot.is_phone,
        has_touch=shot.is_phone,
        color_scheme=shot.scheme,
        reduced_motion="reduce",
        locale="en-US",
        timezone_id="UTC",
    )


def go(page: Page, path: str) -> None:
    """Open a page; there is no picture of one that is not there."""
    answer = page.goto(path)
    if answer is None or answer.status >= HTTP_ERRORS_FROM:
        sys.exit(f"screenshots: {path} answers {answer.status if answer else 'nothing'}.")


def sign_in(page: Page, demo: Demo) -> None:
    """Sign in as the demo's operator."""
    operator = demo.told["operator"]
    go(page, "/admin/sign-in")
    page.locator("input[name=email]").fill(operator["email"])
    page.locator("input[name=password]").fill(operator["password"])
    page.locator("input[name=password]").press("Enter")
    page.wait_for_url(lambda url: "/admin/sign-in" not in url)


def small(picture: bytes) -> bytes:
    """The same picture with as many colours as fit."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    for colours in COLOURS:
        out = io.BytesIO()
        image.quantize(colours, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        if out.tell() <= BYTES_MAX:
            return out.getvalue()
    sys.exit(f"screenshots: a picture is larger than {BYTES_MAX} bytes.")


def main(folder: Path) -> None:
    """Take all pictures."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        sys.exit("screenshots: Chromium is not installed: apt-get install chromium, as root.")
    folder.mkdir(parents=True, exist_ok=True)
    with running_demo() as demo, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        # One session serves all: signing in is slow on purpose.
        session: Any = None
        for shot in shots_of(demo):
            window = open_window(browser, demo, shot)
            window.set_default_timeout(PAGE_MS)
            page = window.new_page()
            if shot.signed_in and session is None:
                sign_in(page, demo)
                session = window.cookies()
            elif shot.signed_in:
                window.add_cookies(session)
            go(page, shot.path)
            page.wait_for_load_state("networkidle")
            page.evaluate("document.fonts.ready.then(() => null)")
            picture = small(page.screenshot())
            (folder / f"{shot.name}.png").write_bytes(picture)
            sys.stdout.write(f"{folder / shot.name}.png  {len(picture):,} bytes\n")
            window.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
