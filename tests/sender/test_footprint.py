"""Bad receivers leave nothing behind: memory stays flat and every descriptor is closed."""

import asyncio
import contextlib
import json
import sys
from pathlib import Path

import uvloop

from tests.sender import bad_receivers as bad

ATTEMPTS_EACH = 20
GROWTH_BYTES_MAX = 20 * 1024 * 1024
BEHAVIOURS = (
    bad.endless_body,
    bad.endless_failure_body,
    bad.endless_interim,
    bad.endless_headers,
    bad.endless_chunk_extension,
    bad.huge_header,
    bad.status_line_drip,
    bad.gzip_bomb,
    bad.hang_on_accept,
    bad.hang_after_request,
    bad.reset_within_head,
    bad.garbage,
    bad.once_then_close,
)

# A process of its own, so that what the receivers hold does not count.
PROGRAM = """
import asyncio, json, os, resource, sys, uvloop
from crypto_orders.domain.webhook_url import UrlPolicy
from crypto_orders.sender.webhook_sender import SenderLimits, WebhookSender

def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def descriptors():
    return len(os.listdir("/proc/self/fd"))

async def main(attempts, good, *bad):
    limits = SenderLimits(attempt_seconds=0.3, body_seconds=0.2)
    policy = UrlPolicy(allow_insecure=True)
    async with WebhookSender(user_agent="x/1", policy=policy, limits=limits) as sender:
        async def four(url):
            await asyncio.gather(*(sender.send(url, url, (), b"{}") for _ in range(4)))
        for url in (good, *bad):
            await sender.send(url, url, (), b"{}")
        memory = peak_bytes()
        for _ in range(int(attempts) // 4):
            await asyncio.gather(*(four(url) for url in bad))
    sockets = descriptors()
    for _ in range(1000):
        # Closing is the event loop's to do, in its next rounds.
        await asyncio.sleep(0.02)
        sockets = descriptors()
        if sockets <= start:
            break
    return {"memory": peak_bytes() - memory, "descriptors": sockets - start}

with asyncio.Runner(loop_factory=uvloop.new_event_loop if sys.argv[1] == "uvloop" else None) as runner:
    async def first():
        await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
        return descriptors()
    start = runner.run(first())
    print(json.dumps(runner.run(main(*sys.argv[2:]))))
"""


async def test_bad_receivers_leave_neither_memory_nor_descriptors_behind() -> None:
    loop = "uvloop" if isinstance(asyncio.get_running_loop(), uvloop.Loop) else "asyncio"
    async with contextlib.AsyncExitStack() as stack:
        good = await stack.enter_async_context(bad.serving(bad.good))
        urls = [f"http://127.0.0.1:{good.port}/"]
        for behaviour in BEHAVIOURS:
            receiver = await stack.enter_async_context(bad.serving(behaviour))
            urls.append(f"http://127.0.0.1:{receiver.port}/")
            if behaviour is bad.hang_on_accept:
                urls.append(f"https://127.0.0.1:{receiver.port}/")
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", PROGRAM, loop, str(ATTEMPTS_EACH), *urls),
            cwd=Path(__file__).parents[2],
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await child.communicate()
    assert child.returncode == 0
    footprint = json.loads(output)
    assert footprint["memory"] < GROWTH_BYTES_MAX
    assert footprint["descriptors"] <= 0
