"""A demo as a process of its own, and what its ready file says."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

DEADLINE_SECONDS = 240.0


def wait_until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return found


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Demo:
    """A running demo, its output in a file, and what its ready file says."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.home = home
        self.ready_file = home / "ready.json"
        self.log = home / "demo.log"
        environ = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTO_ORDERS_")}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "crypto_orders", "demo", "--port=0", "--sandbox-port=0"),
                    *(f"--data-dir={home}/data", f"--ready-file={self.ready_file}", *arguments),
                ],
                env={**environ, "CRYPTO_ORDERS_PAY_WINDOW_MINUTES": "45"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.told: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self.wait()

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def wait(self) -> Self:
        """Wait until it says that it is ready."""
        wait_until(lambda: self.ready_file.exists() or self.process.poll() is not None)
        assert self.ready_file.exists(), self.log.read_text()
        self.told = self.read()
        return self

    def read(self) -> dict[str, Any]:
        return json.loads(self.ready_file.read_text())

    def call(
        self, method: str, path: str, body: object = None, *, key: str = "customer_key", at: str = "base_url"
    ) -> tuple[int, Any]:
        request = urllib.request.Request(
            self.told[at] + path,
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.told[key]}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def check_out(self) -> Any:
        status, order = self.call("POST", "/v1/billing/crypto-checkout", {"product": "solo_manual"})
        assert status == 201
        return order

    def get(self, path: str, *, key: str = "customer_key") -> Any:
        status, answer = self.call("GET", path, key=key)
        assert status == 200, answer
        return answer

    def order(self, order_id: str) -> Any:
        return self.get(f"/v1/billing/crypto-orders/{order_id}")

    def stop(self) -> None:
        """Stop it as Ctrl-C does."""
        pids = [*self.read()["pids"].values(), self.process.pid]
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) == 0
        assert all(is_gone(pid) for pid in pids)
        assert not self.ready_file.exists()
