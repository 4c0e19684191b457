"""`crypto-orders demo` as a person and a program meet it: one start serves most of these tests."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.cluster import make_cluster_dir
from tests.support.demo import DEADLINE_SECONDS, Demo, is_gone, wait_until

pytestmark = [pytest.mark.xdist_group("demo"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def home() -> Generator[Path]:
    directory = make_cluster_dir()
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def demo(home: Path) -> Generator[Demo]:
    with Demo(home) as running:
        yield running


def test_the_ready_file_says_everything_and_is_private(demo: Demo) -> None:
    assert stat.S_IMODE(demo.ready_file.stat().st_mode) == 0o600
    assert set(demo.told) == {
        "base_url",
        "sandbox_url",
        "operator",
        "admin_key",
        "customer_key",
        "customer_account_id",
        "second_customer_key",
        "ipn_secret",
        "provider_api_key",
        "database_url",
        "pids",
    }
    assert set(demo.told["pids"]) == {"postgres", "web", "workers", "sandbox"}
    assert all(not is_gone(pid) for pid in demo.told["pids"].values())
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", demo.told["base_url"])
    assert re.fullmatch(r"ds_admin_[a-z2-7]{32}", demo.told["admin_key"])
    assert re.fullmatch(r"ds_test_[a-z2-7]{32}", demo.told["second_customer_key"])


def test_the_operator_of_the_box_can_sign_in(demo: Demo) -> None:
    operator = demo.told["operator"]
    box = demo.log.read_text().split("Crypto Orders is running.")[1]
    assert f"{demo.told['base_url']}/admin" in box
    assert (operator["email"] in box, operator["password"] in box) == (True, True)
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    opener.addheaders = [("Sec-Fetch-Site", "same-origin")]
    form = urllib.parse.urlencode({**operator, "next": "/admin/account"}).encode()
    with opener.open(f"{demo.told['base_url']}/admin/sign-in", form, 20) as page:
        assert page.url == f"{demo.told['base_url']}/admin/account"
        assert operator["email"] in page.read().decode()


def test_the_keys_are_whose_they_are_said_to_be(demo: Demo) -> None:
    customer = demo.get("/v1/whoami")
    assert customer["account_id"] == demo.told["customer_account_id"]
    assert customer["scopes"] == ["account_owner"]
    assert demo.get("/v1/whoami", key="admin_key")["scopes"] == ["admin:read", "admin:write"]
    second = demo.get("/v1/whoami", key="second_customer_key")
    assert second["account_id"] != demo.told["customer_account_id"]


def test_the_printed_customers_start_empty_beside_demo_data_of_others(demo: Demo) -> None:
    for key in ("customer_key", "second_customer_key"):
        assert demo.get("/v1/billing/crypto-orders", key=key)["orders"] == []
    log = demo.log.read_text()
    assert '"event":"demo_data_made"' in log
    assert "demo_story_failed" not in log


def test_the_box_holds_a_curl_line_that_works_when_pasted_and_no_secret_of_the_provider(demo: Demo) -> None:
    log = demo.log.read_text()
    assert demo.told["ipn_secret"] not in log
    assert demo.told["provider_api_key"] not in log
    box = log.split("Crypto Orders is running.")[1]
    for said in ("base_url", "sandbox_url", "admin_key", "customer_key", "second_customer_key"):
        assert demo.told[said] in box
    assert f"rm -rf {demo.home}/data" in box
    assert "Ctrl-C" in box
    line = next(line for line in box.splitlines() if line.strip().startswith("curl "))
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["provider"] == "nowpayments"


def test_an_order_is_paid_through_the_sandbox(demo: Demo) -> None:
    order = demo.check_out()
    payment_id = demo.order(order["order_id"])["payment_id"]
    status, _ = demo.call("POST", f"/sandbox/payments/{payment_id}/pay", {}, at="sandbox_url")
    assert status == 202
    wait_until(lambda: demo.order(order["order_id"])["status"] == "paid")


def test_settings_of_the_user_reach_the_service(demo: Demo) -> None:
    order = demo.check_out()
    moments = [time.strptime(order[name], "%Y-%m-%dT%H:%M:%S.%fZ") for name in ("created_at", "expires_at")]
    created, expires = (time.mktime(moment) for moment in moments)
    assert expires - created == 45 * 60


@pytest.mark.parametrize("name", ["web", "workers", "sandbox", "postgres"])
def test_a_killed_process_is_back_and_the_ready_file_knows_it(demo: Demo, name: str) -> None:
    before = demo.read()["pids"]
    os.kill(before[name], signal.SIGKILL)
    after = wait_until(lambda: (pids := demo.read()["pids"])[name] not in {None, before[name]} and pids)
    assert {other: pid for other, pid in after.items() if other != name} == {
        other: pid for other, pid in before.items() if other != name
    }

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return demo.call("GET", "/readyz")[0] == 200 and demo.call("GET", "/v1/whoami")[0] == 200
        return False

    wait_until(answers)


def test_a_second_demo_on_the_same_data_is_refused_while_the_first_runs(demo: Demo, tmp_path: Path) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "crypto_orders", "demo", "--port=0", f"--data-dir={demo.home}/data"],
        stdout=(tmp_path / "log").open("w"),
        stderr=subprocess.PIPE,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    sentence = f"crypto-orders: the database in {demo.home}/data/postgres is in use by process"
    assert second.stderr.startswith(sentence)
    assert second.returncode == 1
    assert demo.get("/readyz")["status"] == "ok"


def test_a_second_start_keeps_data_and_keys_says_which_ports_are_taken_and_dies_as_a_whole(
    demo: Demo,
) -> None:
    orders = demo.get("/v1/billing/crypto-orders")["orders"]
    before = demo.told
    demo.stop()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with Demo(demo.home, f"--port={port}") as again:
            log = again.log.read_text()
            assert f'"event":"port_taken","name":"web","wanted":{port},' in log
            assert "demo_data_started" not in log
            assert not again.told["base_url"].endswith(f":{port}")
            for kept in (
                "operator",
                "admin_key",
                "customer_key",
                "second_customer_key",
                "ipn_secret",
                "provider_api_key",
            ):
                assert again.told[kept] == before[kept]
            assert again.get("/v1/billing/crypto-orders")["orders"] == orders
            pids = list(again.read()["pids"].values())
    # The demo was killed, which no program can prepare for.
    wait_until(lambda: all(is_gone(pid) for pid in pids))
