"""Where the sender may connect to: never off the public internet, whatever a URL or a name server says."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest

from crypto_orders.domain.delivery import SendErrorCode, SendResult
from crypto_orders.domain.webhook_url import UrlPolicy, parse_webhook_url
from crypto_orders.sender.addresses import SystemResolver, may_dial
from crypto_orders.sender.webhook_sender import SenderLimits, WebhookSender, tls_context
from tests.sender import bad_receivers as bad

NOT_PUBLIC = [
    line
    for line in (Path(__file__).parents[1] / "data" / "not_public_addresses.txt").read_text().splitlines()
    if not line.startswith("#")
]
LIMITS = SenderLimits(attempt_seconds=20, dns_seconds=10, connect_seconds=10)
PUBLIC = "8.8.8.8"
TLS = tls_context()


class NameServer:
    """Stands in for the DNS: answers what it was told to, one set of addresses after the other."""

    def __init__(self, *answers: Sequence[str] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[str]:
        answer = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append(host)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Canary:
    """Listens on loopback in both families under one port, and counts who comes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = 0


@contextlib.asynccontextmanager
async def canary() -> AsyncGenerator[Canary]:
    async def sing(visit: bad.Visit) -> None:
        bird.connections += 1
        await visit.write(bad.OK)

    async with contextlib.AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(bad.serving(sing))
        bird = Canary(receiver.port)

        async def count(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            bird.connections += 1
            writer.close()

        if socket.has_ipv6:
            with contextlib.suppress(OSError):
                await stack.enter_async_context(await asyncio.start_server(count, "::1", receiver.port))
        yield bird


def strict(port: int, resolve: Callable[[str], Awaitable[Sequence[str]]]) -> WebhookSender:
    """Return a sender of a production deployment, but for the port, which must be the canary's."""
    policy = UrlPolicy(ports=frozenset({443, port}))
    return WebhookSender(user_agent="x/1", policy=policy, limits=LIMITS, resolve=resolve, tls=TLS)


async def send(sending: WebhookSender, url: str) -> SendResult:
    return await sending.send("whk_1", url, (), b"{}")


def code_of(result: SendResult) -> SendErrorCode | None:
    assert result.status is None
    return result.error.code if result.error else None


@pytest.mark.parametrize("literal", NOT_PUBLIC)
async def test_a_literal_that_is_not_public_is_never_dialled(literal: str) -> None:
    host = f"[{literal}]" if ":" in literal else literal
    async with strict(8443, NameServer([PUBLIC])) as sending:
        result = await send(sending, f"https://{host}:8443/")
    assert code_of(result) == SendErrorCode.BAD_URL
    assert result.dialled_ip is None


@pytest.mark.parametrize("address", NOT_PUBLIC)
async def test_a_name_that_leads_to_an_address_that_is_not_public_is_never_dialled(address: str) -> None:
    async with canary() as bird, strict(bird.port, NameServer([address])) as sending:
        result = await send(sending, f"https://hook.example:{bird.port}/")
        assert code_of(result) == SendErrorCode.BLOCKED_ADDRESS
        assert result.dialled_ip is None
        assert bird.connections == 0


@pytest.mark.parametrize(
    "answer",
    [
        [PUBLIC, "127.0.0.1"],
        ["127.0.0.1", PUBLIC],
        [PUBLIC, "1.1.1.1", "2606:4700:4700::1111", "::1"],
        ["2606:4700:4700::1111", "10.0.0.1"],
        ["fd00::1", PUBLIC],
        ["::ffff:127.0.0.1", PUBLIC],
        ["fe80::1%1", PUBLIC],
        [f"1.1.1.{number}" for number in range(200)] + ["127.0.0.1"],
    ],
)
async def test_one_answer_that_is_not_public_blocks_the_whole_name(answer: list[str]) -> None:
    async with canary() as bird, strict(bird.port, NameServer(answer)) as sending:
        result = await send(sending, f"https://hook.example:{bird.port}/")
        assert code_of(result) == SendErrorCode.BLOCKED_ADDRESS
        assert bird.connections == 0


async def test_a_name_that_was_public_when_saved_and_is_rebound_when_sent_is_never_dialled() -> None:
    name_server = NameServer([PUBLIC], ["127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"])
    async with canary() as bird, strict(bird.port, name_server) as sending:
        text = f"https://rebind.example:{bird.port}/"
        saved = parse_webhook_url(text, UrlPolicy(ports=frozenset({bird.port})))
        assert not await sending.leads_to_blocked_address(saved)
        for _ in range(3):
            assert code_of(await send(sending, text)) == SendErrorCode.BLOCKED_ADDRESS
        assert bird.connections == 0


async def test_a_name_is_asked_for_once_and_the_vetted_number_is_dialled() -> None:
    async with bad.serving(bad.good) as receiver:
        # A second question would be answered with an address where nobody listens.
        name_server = NameServer(["127.0.0.1"], ["127.0.0.2"])
        policy = UrlPolicy(allow_insecure=True)
        async with WebhookSender(
            user_agent="x/1", policy=policy, limits=LIMITS, resolve=name_server, tls=TLS
        ) as sending:
            result = await send(sending, f"http://rebind.example:{receiver.port}/")
    assert result.delivered
    assert result.dialled_ip == "127.0.0.1"
    assert name_server.asked == ["rebind.example"]


async def test_every_new_dial_is_vetted_again() -> None:
    async with bad.serving(bad.once_then_close) as receiver:
        name_server = NameServer(["127.0.0.1"], ["10.0.0.1"])
        policy = UrlPolicy(allow_insecure=True)
        async with WebhookSender(
            user_agent="x/1", policy=policy, limits=LIMITS, resolve=name_server, tls=TLS
        ) as sending:
            first = await send(sending, f"http://rebind.example:{receiver.port}/")
            second = await send(sending, f"http://rebind.example:{receiver.port}/")
    assert first.delivered
    assert code_of(second) == SendErrorCode.BLOCKED_ADDRESS
    assert second.dialled_ip is None
    assert receiver.connections == 1


@pytest.mark.parametrize(
    "answer", [[], ["not an address"], socket.gaierror(-2, "Name or service not known"), OSError("SERVFAIL")]
)
async def test_a_name_without_a_usable_answer_is_a_dns_failure(answer: list[str] | Exception) -> None:
    async with strict(8443, NameServer(answer)) as sending:
        result = await send(sending, "https://hook.example:8443/")
    assert code_of(result) == SendErrorCode.DNS
    assert result.failure == "dns: hook.example does not resolve to any address"


async def test_a_name_server_that_never_answers_is_cut_off() -> None:
    async def silence(host: str) -> list[str]:
        await bad.forever()
        return [host]

    limits = SenderLimits(attempt_seconds=20, dns_seconds=0.05)
    async with WebhookSender(
        user_agent="x/1", policy=UrlPolicy(), limits=limits, resolve=silence, tls=TLS
    ) as sending:
        result = await send(sending, "https://hook.example/")
    assert result.failure == "dns: hook.example did not resolve within 0.05 s"


async def test_the_failure_does_not_tell_the_customer_what_our_resolver_knows() -> None:
    async with strict(8443, NameServer(["10.1.2.3"])) as sending:
        result = await send(sending, "https://inner.example:8443/")
    assert result.failure == (
        "blocked_address: inner.example leads to an address that is not on the public internet"
    )


async def test_the_next_address_is_tried_when_one_refuses() -> None:
    async with bad.serving(bad.good) as receiver:
        policy = UrlPolicy(allow_insecure=True)
        async with WebhookSender(
            user_agent="x/1",
            policy=policy,
            limits=LIMITS,
            resolve=NameServer(["127.0.0.2", "127.0.0.3", "127.0.0.1"]),
            tls=TLS,
        ) as sending:
            result = await send(sending, f"http://hook.example:{receiver.port}/")
    assert result.delivered
    assert result.dialled_ip == "127.0.0.1"


async def test_at_most_four_addresses_of_a_name_are_dialled() -> None:
    async with bad.serving(bad.good) as receiver:
        policy = UrlPolicy(allow_insecure=True)
        answers = [f"127.0.0.{number}" for number in (2, 3, 4, 5, 1)]
        async with WebhookSender(
            user_agent="x/1", policy=policy, limits=LIMITS, resolve=NameServer(answers), tls=TLS
        ) as sending:
            result = await send(sending, f"http://hook.example:{receiver.port}/")
    assert code_of(result) == SendErrorCode.CONNECT
    assert receiver.connections == 0


async def test_the_insecure_mode_permits_loopback_and_no_other_private_address() -> None:
    assert may_dial(ip_address("127.0.0.1"), allow_loopback=True)
    assert may_dial(ip_address("::1"), allow_loopback=True)
    for address in ("10.0.0.1", "169.254.169.254", "192.168.1.1", "fd00::1", "0.0.0.0", "fe80::1"):
        assert not may_dial(ip_address(address), allow_loopback=True)
    assert not may_dial(ip_address("127.0.0.1"), allow_loopback=False)


@pytest.mark.parametrize(
    ("url", "blocked"),
    [
        ("https://private.example/", True),
        ("https://public.example/", False),
        ("https://absent.example/", False),
        ("https://8.8.8.8/", False),
    ],
)
async def test_a_url_is_vetted_when_it_is_saved(url: str, blocked: bool) -> None:
    async def resolve(host: str) -> list[str]:
        return {"private.example": ["10.0.0.1"], "public.example": [PUBLIC]}.get(host, [])

    async with strict(443, resolve) as sending:
        assert await sending.leads_to_blocked_address(parse_webhook_url(url, UrlPolicy())) == blocked


async def test_the_system_resolver_reads_the_machines_own_names() -> None:
    resolver = SystemResolver()
    assert "127.0.0.1" in await resolver("localhost")
    with pytest.raises(socket.gaierror):
        await resolver("no-such-name.invalid")
    resolver.close()


@pytest.mark.parametrize("spelling", ["2130706433", "0x7f.0.0.1", "127.1", "0177.0.0.1", "0"])
async def test_legacy_spellings_that_the_system_takes_for_loopback_are_blocked_by_their_address(
    spelling: str,
) -> None:
    resolver = SystemResolver()
    addresses = await resolver(spelling)
    assert addresses
    assert not any(may_dial(ip_address(address), allow_loopback=False) for address in addresses)
    resolver.close()


async def test_a_name_that_is_being_looked_up_is_looked_up_once_and_delays_no_other() -> None:
    asked: list[str] = []
    released = threading.Event()

    def look_up(host: str) -> list[str]:
        asked.append(host)
        if host == "slow.example":
            released.wait(60)
        return [PUBLIC]

    resolver = SystemResolver(look_up)
    slow = [asyncio.ensure_future(resolver("slow.example")) for _ in range(100)]
    try:
        assert await resolver("quick.example") == [PUBLIC]
        slow[0].cancel()
    finally:
        released.set()
    assert await asyncio.gather(*slow[1:]) == [[PUBLIC]] * 99
    assert sorted(asked) == ["quick.example", "slow.example"]
    resolver.close()
