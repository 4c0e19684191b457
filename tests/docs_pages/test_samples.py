"""The verification samples of the webhooks page accept what is signed here, and nothing else."""

import json
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from uuid import UUID

import pytest

from crypto_orders.domain.webhook_signature import Attempt, attempt_headers, make_secret, signing_key
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


GO = """package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

%s
func main() {
	var asked []json.RawMessage
	var secret, body string
	var given map[string]string
	json.NewDecoder(os.Stdin).Decode(&asked)
	json.Unmarshal(asked[0], &secret)
	json.Unmarshal(asked[1], &given)
	json.Unmarshal(asked[2], &body)
	header := http.Header{}
	for name, value := range given {
		header.Set(name, value)
	}
	fmt.Println(verify(secret, header, []byte(body)))
}
"""


def command_of(language: str, directory: Path) -> list[str]:
    """What runs a sample with a secret, headers and a body on its standard input."""
    match language:
        case "python":
            return [sys.executable, "-c", sample("python") + PYTHON]
        case "javascript":
            node = shutil.which("node")
            if node is None:
                pytest.skip("there is no node on this machine")
            return [node, "-e", sample("javascript") + NODE]
        case _:
            go = shutil.which("go")
            if go is None:
                pytest.skip("there is no go on this machine")
            source = directory / "sample.go"
            source.write_text(GO % sample("go"))
            subprocess.run([go, "build", "-o", "sample", source.name], cwd=directory, check=True)
            return [str(directory / "sample")]


@pytest.mark.parametrize("language", ["python", "javascript", "go"])
def test_a_sample_accepts_both_secrets_and_refuses_changes(language: str, tmp_path: Path) -> None:
    command = command_of(language, tmp_path)
    attempt = Attempt(event_id=UUID(int=7), event_type="test.ping", body=BODY, at=clock.utc_now())
    headers = dict(attempt_headers(attempt, "X-Crypto-Orders", [signing_key(each) for each in SECRETS]))

    def accepts(secret: str, body: str, **changes: str) -> bool:
        asked = json.dumps([secret, headers | changes, body])
        done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    assert accepts(SECRETS[0], BODY.decode())
    assert accepts(SECRETS[1], BODY.decode())
    assert not accepts(SECRETS[0], BODY.decode() + " ")
    assert not accepts(make_secret(b"x" * 24), BODY.decode())
    assert not accepts(SECRETS[0], BODY.decode(), **{"webhook-timestamp": "1"})
