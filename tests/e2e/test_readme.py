"""The walk of the README, word for word, against everything as `make run` starts it."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.cluster import make_cluster_dir
from tests.support.demo import Demo
from tests.support.documents import Session, compare, steps_of

README = Path(__file__).parents[2] / "README.md"

pytestmark = [pytest.mark.xdist_group("demo"), pytest.mark.timeout(600)]


@pytest.fixture
def demo() -> Generator[Demo]:
    """A demo with its demo data."""
    home = make_cluster_dir()
    with Demo(home) as started:
        yield started
        started.stop()


def test_the_walk_goes_as_written(demo: Demo, tmp_path: Path) -> None:
    told = demo.told
    session = Session(
        tmp_path,
        {
            "PATH": os.environ["PATH"],
            "BASE": told["base_url"],
            "SANDBOX": told["sandbox_url"],
            "KEY": told["customer_key"],
            "ADMIN": told["admin_key"],
            "ACCOUNT": told["customer_account_id"],
        },
    )
    steps = steps_of(README.read_text(encoding="utf-8"))
    assert len(steps) > 12
    for step in steps:
        printed = session.run(step.commands) if step.commands else ""
        compare(step, printed, demo.log.read_text())
