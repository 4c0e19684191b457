"""Pages as short as their readers' browsers allow: gzip (RFC 9110, section 8.4.1.3) for those who take it."""

import gzip
import re
from typing import Final

from starlette.responses import Response

HTML_MEDIA_TYPE: Final = "text/html"

COMPRESS_FROM_BYTES: Final = 1024
"""A shorter page fits one packet as it is."""

GZIP_LEVEL: Final = 5
"""Past this level a page costs twice the time for two in a hundred of its bytes."""

_GZIP = re.compile(r"(?:^|,)\s*(?:gzip|\*)\s*(?:;\s*q=(?P<q>[0-9.]+)\s*)?(?:,|$)", re.IGNORECASE)


def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether an `Accept-Encoding` header allows gzip; a weight of zero forbids it."""
    found = _GZIP.search(accept_encoding or "")
    return found is not None and (found["q"] is None or found["q"].strip("0.") != "")


def compress(response: Response, accept_encoding: str | None) -> None:
    """Turn the body of a whole response to gzip where it is worth it and the client takes it.

    A page with a secret in it must not also repeat its secret unmasked beside what a stranger can choose
    (the BREACH attack): whoever puts tokens into pages masks them.
    """
    body = bytes(response.body)
    response.headers.add_vary_header("accept-encoding")
    if len(body) < COMPRESS_FROM_BYTES or not accepts_gzip(accept_encoding):
        return
    response.body = gzip.compress(body, GZIP_LEVEL, mtime=0)
    response.headers["content-encoding"] = "gzip"
    response.headers["content-length"] = str(len(response.body))
