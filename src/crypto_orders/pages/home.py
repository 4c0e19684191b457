"""Where browsers begin: the service's bare address, and the addresses of its pages with a slash too many."""

from typing import Final

from starlette.responses import RedirectResponse, Response

from crypto_orders.kit.http import PUBLIC, Call, Endpoint, RouteGroup
from crypto_orders.kit.problem import not_found

HOME: Final = "/docs"
STARTS: Final = ("/admin", "/docs")
"""The pages that people type by hand."""


def routes() -> RouteGroup[None, None]:
    """The ways to the pages that people look for."""
    paths = ("/", *(f"{start}/" for start in STARTS))
    return RouteGroup(
        deps=None,
        endpoints=tuple(
            Endpoint(
                method="GET",
                path=path,
                handler=_lead_on,
                scope=PUBLIC,
                media_types=("text/html",),
                documented=False,
            )
            for path in paths
        ),
    )


async def _lead_on(call: Call[None, None, None, None]) -> Response:
    path: str = call.scope["path"]
    if path == "/":
        # Programs that lost their path are told so, as everywhere.
        if "text/html" not in (call.header("accept") or ""):
            raise not_found()
        return RedirectResponse(HOME, status_code=303)
    return RedirectResponse(path.rstrip("/"), status_code=308)
