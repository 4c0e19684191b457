"""Serve a sandbox until killed: ``serve_sandbox.py PORT CONFIG-AS-JSON``."""

import sys
from pathlib import Path
from typing import Any

import msgspec

from crypto_orders.sandbox import SandboxConfig, serve


def _path(wanted: type, value: Any) -> Any:
    return Path(value) if wanted is Path else value


serve("127.0.0.1", int(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=SandboxConfig, dec_hook=_path))
