"""A provider whose answers a test chooses, to see what the service makes of them."""

import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class OddProvider:
    """Answers create calls as asked for, except for what `changes` says; a `refusal` is answered instead."""

    changes: dict[str, Any] = field(default_factory=dict[str, Any])
    refusal: Mapping[str, Any] | None = None
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The bodies of the create calls so far."""
    url: str = ""

    async def create(self, request: web.Request) -> web.Response:
        """Answer a create call."""
        asked = await request.json()
        self.asked.append(asked)
        if self.refusal is not None:
            return web.json_response(dict(self.refusal), status=400)
        made = {
            "payment_id": str(5_000_000_000 + len(self.asked)),
            "payment_status": "waiting",
            "pay_address": "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh",
            "pay_amount": 0.001,
            "payin_extra_id": None,
        }
        return web.json_response({**asked, **made, **self.changes}, status=201)


@contextlib.asynccontextmanager
async def odd_provider(**changes: Any) -> AsyncGenerator[OddProvider]:
    """Run such a provider on loopback."""
    odd = OddProvider(changes)
    application = web.Application()
    application.router.add_post("/v1/payment", odd.create)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    odd.url = "http://{}:{}".format(*runner.addresses[0][:2])
    try:
        yield odd
    finally:
        await runner.cleanup()
