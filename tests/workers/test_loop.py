"""Jobs go on after failures, with a rest between the tries."""

import asyncio

from crypto_orders.workers.loop import FAILURE_PAUSE_SECONDS_MIN, Job, run_jobs


async def test_a_job_without_a_pause_rests_after_a_failure_and_goes_on() -> None:
    stop = asyncio.Event()
    begun: list[float] = []

    async def run() -> int:
        begun.append(asyncio.get_running_loop().time())
        if len(begun) == 1:
            raise OSError("the database is away")
        stop.set()
        return 1

    await run_jobs((Job("failing", run, pause_seconds=0),), stop)
    assert len(begun) == 2
    # Half of a pause is random, so that processes do not come back in one instant.
    assert begun[1] - begun[0] >= FAILURE_PAUSE_SECONDS_MIN / 2
