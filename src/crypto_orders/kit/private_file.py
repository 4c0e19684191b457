"""Files that nobody else may read: written whole or not at all, and secrets that are made only once."""

import os
from collections.abc import Callable
from pathlib import Path


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


def made_once(path: Path, make: Callable[[], str]) -> str:
    """The text of a private file; the first call makes it, in a directory that need not exist yet.

    Callers that come at the same time all get the text that stays.
    """
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}.first")
        write_privately(fresh, make() + "\n")
        try:
            # Unlike a rename, a link does not replace what another process made meanwhile.
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text().strip()
