"""Run jobs again and again: at once while there is work, after a pause when there is none or one failed."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from prometheus_client import Counter

from crypto_orders.kit import log
from crypto_orders.kit.metrics import REGISTRY

FAILURE_PAUSE_SECONDS_MAX = 30.0
"""A job that keeps failing is tried at least this often: the cause may be gone by then."""

FAILURE_PAUSE_SECONDS_MIN = 0.25
"""What a job rests after its first failure, even one that never rests otherwise."""

RUNS = Counter("crypto_orders_worker_runs", "Runs of a job.", ("job", "outcome"), registry=REGISTRY)

_log = log.get()


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of background work. `run` tells how much it did; 0 lets it rest for `pause_seconds`.

    No job depends on being the only one of its kind.
    """

    name: str
    run: Callable[[], Awaitable[int]]
    pause_seconds: float
    rests_after_work: bool = False


async def run_jobs(jobs: tuple[Job, ...], stop: asyncio.Event) -> None:
    """Run every job until `stop` is set; the one in hand is finished first."""
    async with asyncio.TaskGroup() as tasks:
        for job in jobs:
            tasks.create_task(_run(job, stop), name=job.name)


async def _run(job: Job, stop: asyncio.Event) -> None:
    failures = 0
    while not stop.is_set():
        try:
            done = await job.run()
        except Exception as error:  # noqa: BLE001 - whatever it was, the next run may do better
            failures += 1
            RUNS.labels(job.name, "failed").inc()
            _log.warning("worker_job_failed", job=job.name, failures=failures, exc_info=error)
            pause = max(job.pause_seconds, FAILURE_PAUSE_SECONDS_MIN) * 2 ** min(failures, 8)
            pause = min(FAILURE_PAUSE_SECONDS_MAX, pause)
            await _rest(stop, pause * random.uniform(0.5, 1))  # noqa: S311 - a pause, no secret
            continue
        failures = 0
        RUNS.labels(job.name, "worked" if done else "idle").inc()
        if not done or job.rests_after_work:
            await _rest(stop, job.pause_seconds)


async def _rest(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
