"""What goes over the wire, and which connection it goes over."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from crypto_orders.domain.delivery import SendErrorCode
from crypto_orders.domain.webhook_url import UrlPolicy
from crypto_orders.sender.webhook_sender import SenderLimits, WebhookSender, tls_context
from tests.sender import bad_receivers as bad

LIMITS = SenderLimits(attempt_seconds=20, connect_seconds=20, body_seconds=20)
POLICY = UrlPolicy(allow_insecure=True)
TLS = tls_context()


def sender(limits: SenderLimits = LIMITS) -> WebhookSender:
    return WebhookSender(user_agent="crypto-orders-webhooks/1.0", policy=POLICY, limits=limits, tls=TLS)


@pytest.fixture
async def sending() -> AsyncGenerator[WebhookSender]:
    async with sender() as one:
        yield one


def url_of(receiver: bad.Receiver, path: str = "/hook?a=b") -> str:
    return f"http://127.0.0.1:{receiver.port}{path}"


async def test_the_request_is_exactly_this(sending: WebhookSender) -> None:
    headers = (("webhook-id", "1"), ("X-Crypto-Orders-Signature", "t=1,v1=ab"))
    async with bad.serving(bad.good) as receiver:
        await sending.send("whk_1", url_of(receiver), headers, b'{"id":1}')
    assert receiver.requests == [
        f"POST /hook?a=b HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{receiver.port}\r\n"
        f"User-Agent: crypto-orders-webhooks/1.0\r\n"
        f"Accept: */*\r\n"
        f"Accept-Encoding: identity\r\n"
        f"Content-Type: application/json\r\n"
        f"Content-Length: 8\r\n"
        f"webhook-id: 1\r\n"
        f"X-Crypto-Orders-Signature: t=1,v1=ab\r\n"
        f"\r\n"
        f'{{"id":1}}'.encode()
    ]


async def test_a_cookie_is_never_sent_back(sending: WebhookSender) -> None:
    async with bad.serving(bad.answering("HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/")) as receiver:
        for _ in range(2):
            await sending.send("whk_1", url_of(receiver), (), b"{}")
    assert len(receiver.requests) == 2
    assert not any(b"cookie" in request.lower() for request in receiver.requests)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_never_followed(sending: WebhookSender, status: int) -> None:
    async with bad.serving(bad.good) as elsewhere:
        async with bad.serving(bad.redirecting(status, url_of(elsewhere))) as receiver:
            result = await sending.send("whk_1", url_of(receiver), (), b"{}")
        assert result.status == status
        assert not result.delivered
        assert elsewhere.connections == 0


async def test_proxy_variables_are_ignored(sending: WebhookSender, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bad.serving(bad.good) as proxy, bad.serving(bad.good) as receiver:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        result = await sending.send("whk_1", url_of(receiver), (), b"{}")
        assert result.delivered
        assert receiver.connections == 1
        assert proxy.connections == 0


async def test_a_netrc_file_is_ignored(
    sending: WebhookSender, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / ".netrc"
    netrc.write_text("default login somebody password something\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with bad.serving(bad.good) as receiver:
        await sending.send("whk_1", url_of(receiver), (), b"{}")
    assert b"authorization" not in receiver.requests[0].lower()


@pytest.mark.parametrize(
    ("name", "value"),
    [("X-A", "b\r\nX-C: d"), ("X-A\r\nX-C", "d"), ("X-A", "b\n"), ("X-A", "b\0"), ("X-A", "é")],
)
async def test_a_header_that_would_break_its_line_is_a_mistake_of_ours(
    sending: WebhookSender, name: str, value: str
) -> None:
    async with bad.serving(bad.good) as receiver:
        with pytest.raises(ValueError, match=r"line break|ascii"):
            await sending.send("whk_1", url_of(receiver), ((name, value),), b"{}")
    assert receiver.connections == 0


async def test_a_request_of_more_than_20_kib_is_a_mistake_of_ours(sending: WebhookSender) -> None:
    async with bad.serving(bad.good) as receiver:
        with pytest.raises(ValueError, match="at most 20480 bytes"):
            await sending.send("whk_1", url_of(receiver), (), b"x" * 20_480)
    assert receiver.connections == 0


async def test_a_stored_url_that_breaks_a_rule_of_now_is_not_sent_to() -> None:
    async with bad.serving(bad.good) as receiver:
        async with WebhookSender(user_agent="x/1", policy=UrlPolicy(), tls=TLS) as strict:
            result = await strict.send("whk_1", url_of(receiver), (), b"{}")
        assert result.error is not None
        assert result.error.code == SendErrorCode.BAD_URL
        assert receiver.connections == 0


async def test_a_connection_is_used_again_for_the_same_endpoint(sending: WebhookSender) -> None:
    async with bad.serving(bad.good) as receiver:
        for _ in range(5):
            assert (await sending.send("whk_1", url_of(receiver), (), b"{}")).delivered
        assert receiver.connections == 1
        assert len(receiver.requests) == 5


async def test_a_connection_is_never_shared_between_endpoints(sending: WebhookSender) -> None:
    async with bad.serving(bad.good) as receiver:
        for endpoint in ("whk_1", "whk_2", "whk_1", "whk_2"):
            assert (await sending.send(endpoint, url_of(receiver), (), b"{}")).delivered
        assert receiver.connections == 2


async def test_a_connection_ends_at_its_age_however_busy_it_is() -> None:
    limits = SenderLimits(attempt_seconds=20, reuse_seconds=0.05)
    async with bad.serving(bad.good) as receiver, sender(limits) as sending:
        async with asyncio.timeout(20):
            while receiver.connections < 3:
                assert (await sending.send("whk_1", url_of(receiver), (), b"{}")).delivered


async def test_an_idle_connection_closes_by_itself_at_its_age() -> None:
    limits = SenderLimits(attempt_seconds=20, reuse_seconds=0.05)
    async with bad.serving(bad.good) as receiver, sender(limits) as sending:
        await sending.send("whk_1", url_of(receiver), (), b"{}")
        async with asyncio.timeout(20):
            await receiver.idle.wait()


@pytest.mark.parametrize(
    "behaviour",
    [
        bad.short_body,
        bad.endless_body,
        bad.gzip_bomb,
        bad.one_more_response,
        bad.http_1_0,
        bad.broken_chunks,
        bad.answering("HTTP/1.1 200 OK\r\nConnection: close"),
    ],
)
async def test_a_connection_whose_response_did_not_end_well_is_not_used_again(
    sending: WebhookSender, behaviour: bad.Behaviour
) -> None:
    async with bad.serving(behaviour) as receiver:
        for _ in range(2):
            assert (await sending.send("whk_1", url_of(receiver), (), b"{}")).delivered
        assert receiver.connections == 2


async def test_a_connection_on_which_the_receiver_speaks_unasked_is_closed(sending: WebhookSender) -> None:
    async with bad.serving(bad.one_more_response_later) as receiver, asyncio.timeout(20):
        for _ in range(2):
            assert (await sending.send("whk_1", url_of(receiver), (), b"{}")).delivered
            await receiver.idle.wait()
        assert receiver.connections == 2


@pytest.mark.parametrize(("body_bytes", "connections"), [(4096, 1), (4097, 2)])
async def test_a_body_is_read_up_to_4_kib(sending: WebhookSender, body_bytes: int, connections: int) -> None:
    async with bad.serving(bad.answering("HTTP/1.1 200 OK", b"x" * body_bytes)) as receiver:
        for _ in range(2):
            assert (await sending.send("whk_1", url_of(receiver), (), b"{}")).delivered
        assert receiver.connections == connections


async def test_a_kept_connection_that_the_receiver_closed_is_replaced_within_the_attempt(
    sending: WebhookSender,
) -> None:
    async with bad.serving(bad.once_then_close) as receiver:
        for _ in range(20):
            result = await sending.send("whk_1", url_of(receiver), (), b"{}")
            assert result.delivered
        assert len(receiver.requests) == 20


async def test_a_receiver_that_keeps_hanging_up_is_dialled_anew_once_an_attempt(
    sending: WebhookSender,
) -> None:
    async def once_in_its_life(visit: bad.Visit) -> None:
        await visit.request()
        if visit.receiver.connections == 1:
            await visit.write(bad.OK)
            await visit.request()

    async with bad.serving(once_in_its_life) as receiver:
        assert (await sending.send("whk_1", url_of(receiver), (), b"{}")).delivered
        result = await sending.send("whk_1", url_of(receiver), (), b"{}")
        assert result.error is not None
        assert result.error.code == SendErrorCode.RESET
        assert receiver.connections == 2


async def test_many_attempts_at_once_to_one_endpoint_each_have_their_connection(
    sending: WebhookSender,
) -> None:
    async with bad.serving(bad.good) as receiver:
        results = await asyncio.gather(
            *(sending.send("whk_1", url_of(receiver), (), b"{}") for _ in range(8))
        )
        assert all(result.delivered for result in results)
        assert receiver.connections == 8
        assert (await sending.send("whk_1", url_of(receiver), (), b"{}")).delivered
        assert receiver.connections == 8
