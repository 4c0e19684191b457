"""The demo's secrets: made once, each in a file of its own that nobody else may read."""

import os
import secrets
from base64 import b64encode
from pathlib import Path
from typing import Final

SEALING_KEY_BYTES: Final = 32
SECRET_BYTES: Final = 24


class Keyring:
    """A directory of secrets (0700, each file 0600)."""

    def __init__(self, directory: Path) -> None:
        """Open it, making it when there is none."""
        self._directory = directory
        directory.mkdir(mode=0o700, exist_ok=True)

    def path(self, name: str) -> Path:
        """The file of a secret, for a `CRYPTO_ORDERS_…_FILE` variable."""
        return self._directory / name

    def made_once(self, name: str) -> str:
        """A random secret: the one made at the first start."""
        return self.read(name) or self.write(name, secrets.token_hex(SECRET_BYTES))

    def sealing_key(self) -> str:
        """The key that seals secrets at rest: the one made at the first start."""
        name = "sealing_key"
        return self.read(name) or self.write(name, b64encode(os.urandom(SEALING_KEY_BYTES)).decode())

    def read(self, name: str) -> str | None:
        """A secret, or None when it has not been made yet."""
        try:
            return self.path(name).read_text().strip() or None
        except FileNotFoundError:
            return None

    def write(self, name: str, text: str) -> str:
        """Keep a secret under a name, in the place of an earlier one; answers it."""
        write_privately(self.path(name), text + "\n")
        return text


def write_privately(path: Path, text: str) -> None:
    """Write a file (0600) so that whoever reads it sees the old or the new text, never a part."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
