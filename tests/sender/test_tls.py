"""TLS: the certificate is for the URL's host and from a trusted authority, or nothing is sent."""

import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest

from crypto_orders.domain.delivery import SendErrorCode, SendResult
from crypto_orders.domain.webhook_url import UrlPolicy
from crypto_orders.sender.webhook_sender import SenderLimits, WebhookSender, tls_context
from tests.sender import bad_receivers as bad
from tests.sender.certificates import Authority

LIMITS = SenderLimits(attempt_seconds=20, connect_seconds=20)


async def loopback(host: str) -> Sequence[str]:
    del host
    return ["127.0.0.1"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def sender(authority: Authority, limits: SenderLimits = LIMITS) -> WebhookSender:
    return WebhookSender(
        user_agent="x/1",
        policy=UrlPolicy(allow_insecure=True),
        limits=limits,
        resolve=loopback,
        tls=tls_context(authority.pem),
    )


async def sent(authority: Authority, receiver: bad.Receiver, host: str = "hook.example") -> SendResult:
    async with sender(authority) as sending:
        return await sending.send("whk_1", f"https://{host}:{receiver.port}/", (), b'{"secret": true}')


def assert_nothing_was_sent(result: SendResult, receiver: bad.Receiver) -> None:
    assert result.error is not None
    assert result.error.code == SendErrorCode.TLS
    assert receiver.requests == []


async def test_a_trusted_certificate_for_the_host_is_accepted(authority: Authority) -> None:
    names: list[str | None] = []
    server = authority.server("hook.example")
    server.sni_callback = lambda _socket, name, _context: names.append(name)
    async with bad.serving(bad.good, tls=server) as receiver:
        result = await sent(authority, receiver)
    assert result.delivered
    assert result.dialled_ip == "127.0.0.1"
    assert names == ["hook.example"]


async def test_a_certificate_for_another_name_is_refused(authority: Authority) -> None:
    async with bad.serving(bad.good, tls=authority.server("other.example")) as receiver:
        result = await sent(authority, receiver)
        assert_nothing_was_sent(result, receiver)
    assert "hook.example" in str(result.failure)


async def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    async with bad.serving(bad.good, tls=authority.server("hook.example", expired=True)) as receiver:
        result = await sent(authority, receiver)
        assert_nothing_was_sent(result, receiver)
    assert result.failure == "tls: certificate not accepted: certificate has expired"


async def test_a_self_signed_certificate_is_refused(authority: Authority) -> None:
    async with bad.serving(bad.good, tls=authority.server("hook.example", self_signed=True)) as receiver:
        result = await sent(authority, receiver)
        assert_nothing_was_sent(result, receiver)
    assert "self" in str(result.failure)


async def test_a_certificate_of_an_unknown_authority_is_refused(
    authority: Authority, stranger: Authority
) -> None:
    async with bad.serving(bad.good, tls=stranger.server("hook.example")) as receiver:
        assert_nothing_was_sent(await sent(authority, receiver), receiver)


async def test_a_server_that_does_not_know_the_name_is_a_tls_failure(authority: Authority) -> None:
    server = authority.server("hook.example")
    server.sni_callback = lambda _socket, _name, _context: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    async with bad.serving(bad.good, tls=server) as receiver:
        assert_nothing_was_sent(await sent(authority, receiver), receiver)


async def test_tls_older_than_1_2_is_refused(authority: Authority) -> None:
    server = authority.server("hook.example")
    server.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        server.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        server.maximum_version = ssl.TLSVersion.TLSv1_1
    async with bad.serving(bad.good, tls=server) as receiver:
        assert_nothing_was_sent(await sent(authority, receiver), receiver)


async def test_a_server_without_tls_is_a_tls_failure(authority: Authority) -> None:
    async with bad.serving(bad.another_protocol) as receiver:
        assert_nothing_was_sent(await sent(authority, receiver), receiver)


async def test_a_hang_up_during_the_handshake_is_a_tls_failure(authority: Authority) -> None:
    async with bad.serving(bad.close_on_accept) as receiver:
        assert_nothing_was_sent(await sent(authority, receiver), receiver)


async def test_a_handshake_that_hangs_is_cut_off(authority: Authority) -> None:
    limits = SenderLimits(attempt_seconds=20, connect_seconds=0.1)
    async with bad.serving(bad.hang_on_accept) as receiver, sender(authority, limits) as sending:
        result = await sending.send("whk_1", f"https://hook.example:{receiver.port}/", (), b"{}")
    assert result.failure == "timeout: no TLS handshake in time"


async def test_a_connection_with_tls_is_used_again(authority: Authority) -> None:
    async with (
        bad.serving(bad.good, tls=authority.server("hook.example")) as receiver,
        sender(authority) as sending,
    ):
        for _ in range(3):
            url = f"https://hook.example:{receiver.port}/"
            assert (await sending.send("whk_1", url, (), b"{}")).delivered
        assert receiver.connections == 1


def test_the_machines_authorities_are_trusted_and_names_checked() -> None:
    context = tls_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
