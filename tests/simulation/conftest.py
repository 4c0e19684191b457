"""Keeps a service quiet that runs inside a test: what it logs of many faults takes longer than the faults."""

import logging
from collections.abc import Generator

import pytest
import structlog


@pytest.fixture
def quiet() -> Generator[None]:
    """Have nothing logged below critical; drawing the trace of an error would hold up everybody else."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()
