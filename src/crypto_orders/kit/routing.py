"""Find the endpoint of a path: literal parts before parameters, and every allowed method of a path."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

from crypto_orders.kit.http import PathParameter, path_segments

TargetT = TypeVar("TargetT")


@dataclass(slots=True)
class _Node(Generic[TargetT]):
    literals: dict[str, "_Node[TargetT]"] = field(default_factory=dict[str, "_Node[TargetT]"])
    any_text: "_Node[TargetT] | None" = None
    targets: dict[str, TargetT] = field(default_factory=dict[str, TargetT])


@dataclass(frozen=True, slots=True)
class Match(Generic[TargetT]):
    """What a path leads to: the target of the method, if any, its captured texts, and all allowed methods."""

    target: TargetT | None
    captured: tuple[str, ...]
    allowed: tuple[str, ...]


class Router(Generic[TargetT]):
    """A tree of path parts. A literal part wins over a parameter in the same place."""

    def __init__(self) -> None:
        self._root: _Node[TargetT] = _Node()

    def add(self, method: str, path: str, target: TargetT) -> None:
        """Declare a target; TypeError when the place is taken."""
        node = self._root
        for segment in path_segments(path):
            if isinstance(segment, PathParameter):
                node.any_text = node.any_text or _Node()
                node = node.any_text
            else:
                node = node.literals.setdefault(segment, _Node())
        if method in node.targets:
            message = f"{method} {path} is declared twice"
            raise TypeError(message)
        node.targets[method] = target

    def find(self, method: str, raw_path: bytes) -> Match[TargetT] | None:
        """What the percent-encoded path leads to, whatever the method; None where nothing is declared.

        HEAD is allowed wherever GET is and leads to the same target.
        """
        segments = _decode(raw_path)
        if segments is None:
            return None
        wanted = "GET" if method == "HEAD" else method
        found: Match[TargetT] | None = None
        allowed: set[str] = set()
        for node, captured in _walk(self._root, segments, 0, ()):
            allowed.update(node.targets)
            if found is None and wanted in node.targets:
                found = Match(node.targets[wanted], captured, ())
        if found is not None:
            return found
        if not allowed:
            return None
        return Match(None, (), tuple(sorted(allowed | ({"HEAD"} if "GET" in allowed else set()))))


def _decode(raw_path: bytes) -> list[str] | None:
    try:
        if b"%" not in raw_path:
            return raw_path[1:].decode("ascii").split("/")
        return [unquote_to_bytes(part).decode("utf-8") for part in raw_path[1:].split(b"/")]
    except UnicodeDecodeError:
        return None


def _walk(
    node: _Node[TargetT], segments: list[str], at: int, captured: tuple[str, ...]
) -> Iterator[tuple[_Node[TargetT], tuple[str, ...]]]:
    if at == len(segments):
        if node.targets:
            yield node, captured
        return
    segment = segments[at]
    literal = node.literals.get(segment)
    if literal is not None:
        yield from _walk(literal, segments, at + 1, captured)
    if node.any_text is not None and segment:
        yield from _walk(node.any_text, segments, at + 1, (*captured, segment))
