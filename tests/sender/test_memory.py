"""Memory stays flat while receivers send without end."""

import asyncio
import sys
from pathlib import Path

from tests.sender import bad_receivers as bad

ATTEMPTS_EACH = 40
GROWTH_BYTES_MAX = 20 * 1024 * 1024

# A process of its own, so that what the receivers hold does not count.
PROGRAM = """
import asyncio, resource, sys
from crypto_orders.domain.webhook_url import UrlPolicy
from crypto_orders.sender.webhook_sender import SenderLimits, WebhookSender

def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

async def main(good, attempts, *bad):
    limits = SenderLimits(attempt_seconds=0.5, body_seconds=0.2)
    policy = UrlPolicy(allow_insecure=True)
    async with WebhookSender(user_agent="x/1", policy=policy, limits=limits) as sender:
        for _ in range(20):
            await sender.send("good", good, (), b"{}")
        before = peak_bytes()
        for url in bad:
            for _ in range(int(attempts) // 4):
                await asyncio.gather(*(sender.send(url, url, (), b"{}") for _ in range(4)))
        print(peak_bytes() - before)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_endless_responses_cost_no_memory() -> None:
    behaviours = (
        bad.endless_body,
        bad.endless_failure_body,
        bad.endless_interim,
        bad.endless_headers,
        bad.endless_chunk_extension,
        bad.huge_header,
        bad.status_line_drip,
        bad.gzip_bomb,
    )
    async with bad.serving(bad.good) as good:
        urls = [f"http://127.0.0.1:{good.port}/", str(ATTEMPTS_EACH)]
        runs = [bad.serving(behaviour) for behaviour in behaviours]
        for run in runs:
            receiver = await run.__aenter__()
            urls.append(f"http://127.0.0.1:{receiver.port}/")
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            PROGRAM,
            *urls,
            cwd=Path(__file__).parents[2],
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await child.communicate()
        for run in runs:
            await run.__aexit__(None, None, None)
    assert child.returncode == 0
    assert int(output) < GROWTH_BYTES_MAX
