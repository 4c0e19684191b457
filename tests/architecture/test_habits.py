"""Habits of this code that a reader relies on, checked over every module."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "crypto_orders"
MODULES = sorted(PACKAGE.rglob("*.py"))

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60

VAGUE_NAMES = {"base", "common", "helpers", "manager", "misc", "service", "util", "utils"}

READS_THE_CLOCK = re.compile(r"\b(utc_now|utcnow|datetime\.now|date\.today|perf_counter|monotonic)\b")


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_opens_with_a_sentence_and_stays_readable(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module opens with one sentence on its job"
    assert text.count("\n") <= FILE_LINES_MAX, (
        f"more than {FILE_LINES_MAX} lines: find the two things it does"
    )
    for function in functions(tree):
        lines = (function.end_lineno or 0) - function.lineno + 1
        assert lines <= FUNCTION_LINES_MAX, f"{function.name} has {lines} lines"


def test_no_module_has_a_name_that_says_nothing() -> None:
    vague = [name_of(path) for path in PACKAGE.rglob("*") if path.stem.lower() in VAGUE_NAMES]
    assert vague == []


@pytest.mark.parametrize("path", sorted((PACKAGE / "domain").rglob("*.py")), ids=name_of)
def test_the_domain_is_given_the_time(path: Path) -> None:
    assert READS_THE_CLOCK.findall(path.read_text()) == []


def test_every_package_is_one() -> None:
    """Without `__init__.py` a package is left out of the wheel and of the import contracts."""
    lacking = {
        str(path.parent.relative_to(PACKAGE))
        for path in MODULES
        if not (path.parent / "__init__.py").exists()
    }
    assert lacking == set()
