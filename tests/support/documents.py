"""Runs the examples of a page as a reader would: one shell, and answers compared with what is shown.

A `json` block stands for the answer of the `sh` block before it: every field it shows must be there and
equal, and `…` stands for anything. A `text` block is compared line by line. A `log` block must be found in
the service's log.
"""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANYTHING = "…"
STEP_SECONDS = 90


class Step(NamedTuple):
    """A shell block of a page, and the kind and text of what is shown after it."""

    commands: str
    kind: str | None
    shown: str


def steps_of(page: str) -> list[Step]:
    """The shell blocks of a page in their order; what follows one at once belongs to it."""
    found: list[Step] = []
    for match in FENCE.finditer(page):
        kind, text = match[1], match[2]
        if kind == "sh":
            found.append(Step(text, None, ""))
        elif kind in {"json", "text", "log"} and found:
            if found[-1].kind is None:
                found[-1] = Step(found[-1].commands, kind, text)
            else:
                found.append(Step("", kind, text))
    return found


class Session:
    """One shell, kept between the blocks of a page."""

    def __init__(self, directory: Path, variables: Mapping[str, str]) -> None:
        self._state = directory / "session.sh"
        self._state.write_text("")
        self._directory = directory
        self._variables = dict(variables)

    def run(self, commands: str) -> str:
        """Run a block with what the earlier ones have defined, and give what it prints."""
        kept = f"{{ declare -p | grep -v '^declare -[a-z]*r'; declare -f; }} > {self._state}"
        script = f"source {self._state} 2>/dev/null\nset -e -o pipefail\n{commands}\nset +e\n{kept}\n"
        done = subprocess.run(
            ["/bin/bash", "-c", script],
            cwd=self._directory,
            env=self._variables,
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def compare(step: Step, printed: str, log: str) -> None:
    """Fail when what was printed is not what the page shows."""
    match step.kind:
        case "json":
            difference = _differs(json.loads(step.shown), json.loads(printed), "")
            assert difference is None, f"{difference}\n{step.commands}\n{printed}"
        case "text":
            pattern = re.escape(step.shown.strip()).replace(re.escape(ANYTHING), ".*")
            got = "\n".join(line.rstrip() for line in printed.strip().splitlines())
            assert re.fullmatch(pattern, got, re.IGNORECASE), f"{step.shown}\nbut was\n{printed}"
        case "log":
            assert step.shown.strip() in log, step.shown
        case _:
            pass


def _differs(shown: Any, got: Any, where: str) -> str | None:
    if shown == ANYTHING:
        return None if got is not None else f"{where}: null"
    if isinstance(shown, dict) and isinstance(got, dict):
        for name, value in shown.items():
            if name not in got:
                return f"{where}.{name} is missing"
            if difference := _differs(value, got[name], f"{where}.{name}"):
                return difference
        return None
    if isinstance(shown, list) and isinstance(got, list):
        if len(shown) != len(got):
            return f"{where}: {len(got)} members instead of {len(shown)}"
        pairs = enumerate(zip(shown, got, strict=True))
        return next((d for i, (s, g) in pairs if (d := _differs(s, g, f"{where}[{i}]"))), None)
    return None if shown == got else f"{where}: {got!r} instead of {shown!r}"
