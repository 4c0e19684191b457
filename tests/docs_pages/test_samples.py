"""The verification samples of the webhooks page accept what is signed here, and nothing else."""

import json
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from uuid import UUID

import pytest

from crypto_orders.domain.webhook_signature import Attempt, attempt_headers, make_secret
from crypto_orders.kit import clock

PAGE = files("crypto_orders.docs").joinpath("pages", "webhooks.md")
BODY = b'{"type":"test.ping"}'
SECRETS = (make_secret(b"n" * 24), make_secret(b"o" * 24))
PYTHON = "\nimport json, sys\ns, h, b = json.load(sys.stdin)\nprint(json.dumps(verify(s, h, b.encode())))"
NODE = (
    "\nconst [s, h, b] = JSON.parse(require('node:fs').readFileSync(0));"
    "\nconsole.log(JSON.stringify(verify(s, h, b)));"
)


def sample(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    return found[1]


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_a_sample_accepts_both_secrets_and_refuses_changes(language: str) -> None:
    node = shutil.which("node")
    if language == "javascript" and node is None:
        pytest.skip("there is no node on this machine")
    command = [sys.executable, "-c", sample("python") + PYTHON]
    if language == "javascript":
        command = [str(node), "-e", sample("javascript") + NODE]
    attempt = Attempt(event_id=UUID(int=7), event_type="test.ping", body=BODY, at=clock.utc_now())
    headers = dict(attempt_headers(attempt, "X-Crypto-Orders", *SECRETS))

    def accepts(secret: str, body: str, **changes: str) -> bool:
        asked = json.dumps([secret, headers | changes, body])
        done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    assert accepts(SECRETS[0], BODY.decode())
    assert accepts(SECRETS[1], BODY.decode())
    assert not accepts(SECRETS[0], BODY.decode() + " ")
    assert not accepts(make_secret(b"x" * 24), BODY.decode())
    assert not accepts(SECRETS[0], BODY.decode(), **{"webhook-timestamp": "1"})
