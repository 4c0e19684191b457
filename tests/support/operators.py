"""Operators for tests, and what a browser of theirs keeps and sends without drawing anything."""

import html
import re
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import urlencode

import aiohttp

from crypto_orders.store.connection import Pool
from crypto_orders.usecases import operator_accounts
from crypto_orders.usecases.operator_accounts import Wanted
from crypto_orders.usecases.passwords import Passwords
from tests.support.service import IN_A_TEST, QUICK_HASHER, Reply, Service

PASSWORD = "four words of a test"
SIGN_IN = "/admin/sign-in"

_CSRF = re.compile(r'name="csrf" value="([^"]+)"')


async def make_operator(pool: Pool, email: str = "ann@example.com", role: str = "admin") -> str:
    """Make an operator whose password is PASSWORD; the address."""
    async with Passwords(QUICK_HASHER) as passwords:
        wanted = Wanted(email=email, role=role, password=PASSWORD)
        await operator_accounts.create(pool, passwords, wanted, IN_A_TEST)
    return email


async def signed_in(service: Service, role: str = "admin", email: str | None = None) -> "Desk":
    """The desk of a new operator who has just signed in."""
    desk = Desk(service.session, service.base_url)
    reply = await desk.sign_in(await make_operator(service.pool, email or f"{role}@example.com", role))
    assert reply.status == 303, reply.body
    return desk


@dataclass
class Desk:
    """One browser: its cookies, and requests as its pages make them."""

    session: aiohttp.ClientSession
    origin: str
    cookies: dict[str, str] = field(default_factory=dict[str, str])

    async def call(self, method: str, path: str, form: object = None, **headers: str) -> Reply:
        """Make one request as it is told; header names are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            named["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        async with self.session.request(
            method, self.origin + path, headers=named, data=form, allow_redirects=False
        ) as reply:
            for line in reply.headers.getall("Set-Cookie", []):
                for name, morsel in SimpleCookie(line).items():
                    self.cookies[name] = morsel.value
                    if morsel["max-age"] == "0" or not morsel.value:
                        del self.cookies[name]
            return Reply(reply.status, await reply.read(), reply.headers)

    async def get(self, path: str, **headers: str) -> Reply:
        """Follow a link to a page."""
        return await self.call("GET", path, **headers)

    async def send(self, path: str, fields: dict[str, str], **headers: str) -> Reply:
        """Send a form of one of our own pages, with the fields as they are."""
        sent = {"Sec_Fetch_Site": "same-origin", "Content_Type": "application/x-www-form-urlencoded"}
        return await self.call("POST", path, urlencode(fields), **{**sent, **headers})

    async def act(self, path: str, **fields: str) -> Reply:
        """Send a form with the session's token in it."""
        return await self.send(path, {"csrf": await self.csrf(), **fields})

    async def csrf(self) -> str:
        """The token of this session's forms."""
        found = _CSRF.search((await self.get("/admin/account")).body.decode())
        assert found is not None, "nobody is signed in"
        return html.unescape(found[1])

    async def sign_in(self, email: str, password: str = PASSWORD, **more: str) -> Reply:
        """Fill in the sign-in page."""
        return await self.send(SIGN_IN, {"email": email, "password": password, **more})

    async def is_signed_in(self) -> bool:
        """Whether the account's page is shown."""
        return (await self.get("/admin/account")).status == 200
