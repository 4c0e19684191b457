"""The files that pages load: read and compressed once, named by content, kept by browsers for ever."""

import gzip
import hashlib
import mimetypes
from collections.abc import Iterable
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Final, NamedTuple

from starlette.responses import Response

from crypto_orders.kit.compression import accepts_gzip
from crypto_orders.kit.http import PUBLIC, Call, Endpoint, RouteGroup
from crypto_orders.kit.problem import not_found

PREFIX: Final = "/static"
HASH_CHARS: Final = 12
FOREVER: Final = "public, max-age=31536000, immutable"

# What is compressed already only grows.
_PACKED: Final = frozenset({".woff2", ".png", ".gz"})
_TYPES: Final = {".woff2": "font/woff2", ".js": "text/javascript", ".svg": "image/svg+xml"}
_GZIP_LEVEL: Final = 9

# Says where vendored files came from; every folder of them has one, and no browser asks for it.
_MANIFEST: Final = "manifest.json"

# What the files of a folder refer to each other by; a style sheet names its fonts so.
_REFERENCE: Final = "asset:"


class Asset(NamedTuple):
    """One file as it is sent."""

    name: str
    url: str
    media_type: str
    body: bytes
    packed: bytes | None


class Assets:
    """All files in the `static` folders of some of our packages, by name.

    A name is the path below the folder, as `site.css` or `vendor/lucide.svg`. Two files of one name are a
    TypeError, a name that nobody has is a LookupError. In style sheets `url("asset:name")` stands for the
    address of another file.
    """

    def __init__(self, packages: Iterable[str]) -> None:
        found: dict[str, bytes] = {}
        for package in packages:
            for name, body in _files(resources.files(f"crypto_orders.{package}").joinpath("static")):
                if name in found:
                    message = f"two packages have a static file {name}"
                    raise TypeError(message)
                found[name] = body
        self._by_name: dict[str, Asset] = {}
        # Style sheets last, since they name the others.
        for name in sorted(found, key=lambda name: (name.endswith(".css"), name)):
            body = found[name]
            if name.endswith(".css"):
                for other in self._by_name.values():
                    body = body.replace(f"{_REFERENCE}{other.name}".encode(), other.url.encode())
            self._by_name[name] = _asset(name, body)
        self._by_path = {asset.url: asset for asset in self._by_name.values()}

    def url(self, name: str) -> str:
        """The address of a file; it changes with the file, so that it may be kept for ever."""
        return self._by_name[name].url

    def at(self, path: str) -> Asset | None:
        """The file at a path of the service."""
        return self._by_path.get(path)


def routes(assets: Assets) -> RouteGroup[Assets, None]:
    """The route of all files."""
    endpoints = tuple(
        Endpoint(
            method="GET",
            path=f"{PREFIX}/{{digest}}/{depth}",
            handler=_send,
            scope=PUBLIC,
            media_types=("application/octet-stream",),
            documented=False,
        )
        for depth in ("{name}", "{folder}/{name}")
    )
    return RouteGroup(deps=assets, endpoints=endpoints)


async def _send(call: Call[Assets, None, Any, Any]) -> Response:
    asset = call.deps.at(call.scope["path"])
    if asset is None:
        raise not_found()
    headers = {"cache-control": FOREVER, "cross-origin-resource-policy": "same-origin"}
    if asset.packed is None:
        return Response(asset.body, media_type=asset.media_type, headers=headers)
    headers["vary"] = "accept-encoding"
    if not accepts_gzip(call.header("accept-encoding")):
        return Response(asset.body, media_type=asset.media_type, headers=headers)
    headers["content-encoding"] = "gzip"
    return Response(asset.packed, media_type=asset.media_type, headers=headers)


def _files(folder: Traversable, above: str = "") -> Iterable[tuple[str, bytes]]:
    if not folder.is_dir():
        return
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry, f"{above}{entry.name}/")
        elif entry.name != _MANIFEST:
            yield f"{above}{entry.name}", entry.read_bytes()


def _asset(name: str, body: bytes) -> Asset:
    digest = hashlib.sha256(body).hexdigest()[:HASH_CHARS]
    suffix = "." + name.rpartition(".")[2]
    media_type = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    packed = None if suffix in _PACKED else gzip.compress(body, _GZIP_LEVEL, mtime=0)
    return Asset(name, f"{PREFIX}/{digest}/{name}", media_type, body, packed)
