"""Logs: one JSON object a line, no secrets, no bodies, no line breaks."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from crypto_orders.kit import log


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handlers = logging.getLogger().handlers[:]
    log.configure(process="web", stream=stream)
    yield stream
    log.unbind_all()
    log.configure(level="critical")
    logging.getLogger().handlers[:] = handlers


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_with_time_level_process_and_keys(stream: io.StringIO) -> None:
    log.get().info("order_created", order_id="ord_1", amount=1.5)
    (line,) = lines(stream)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info", "event": "order_created", "order_id": "ord_1", "amount": 1.5, "process": "web",
    }  # fmt: skip


def test_a_line_break_in_a_value_stays_inside_its_line(stream: io.StringIO) -> None:
    log.get().warning("odd_value", note='a\r\n{"event":"forged"}\x00')
    (line,) = lines(stream)
    assert line["note"] == 'a\r\n{"event":"forged"}\x00'
    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize("name", ["secret", "password", "token", "authorization", "api_key", "body"])
def test_values_under_secret_names_are_masked(stream: io.StringIO, name: str) -> None:
    log.get().info("careless", **{name: "canary"})
    assert "canary" not in stream.getvalue()


def test_bound_keys_are_on_every_line_until_unbound(stream: io.StringIO) -> None:
    log.bind(request_id="req_1")
    log.get().info("first")
    log.unbind_all()
    log.get().info("second")
    first, second = lines(stream)
    assert first["request_id"] == "req_1"
    assert "request_id" not in second


def insert() -> None:
    message = "duplicate key\nDETAIL: Key (note)=(canary)"
    raise ValueError(message)


def save() -> None:
    try:
        insert()
    except ValueError as error:
        message = "saving failed"
        raise RuntimeError(message) from error


def test_an_exception_is_told_with_its_causes_but_only_first_lines(stream: io.StringIO) -> None:
    try:
        save()
    except RuntimeError:
        log.get().exception("save_failed")
    (line,) = lines(stream)
    assert line["exception"].startswith("RuntimeError: saving failed | ")
    assert "<- ValueError: duplicate key" in line["exception"]
    assert "canary" not in stream.getvalue()


def test_libraries_speak_in_the_same_stream(stream: io.StringIO) -> None:
    logging.getLogger("asyncio").error("task %s was never awaited", "x")
    logging.getLogger("asyncio").info("chatter")
    (line,) = lines(stream)
    assert line["event"] == "library_logged"
    assert line["logger"] == "asyncio"
    assert line["message"] == "task x was never awaited"


def test_events_below_the_level_are_not_written(stream: io.StringIO) -> None:
    log.get().debug("detail")
    assert lines(stream) == []
