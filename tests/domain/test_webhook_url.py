"""Webhook URLs: what is kept as given, and every spelling that must not get through."""

# ruff: noqa: RUF001 - look-alike characters are what is tested here

from ipaddress import IPv6Address
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crypto_orders.domain.networks import is_public
from crypto_orders.domain.webhook_url import (
    UrlPolicy,
    UrlProblem,
    WebhookUrlError,
    ascii_host,
    parse_webhook_url,
)

NOT_PUBLIC = [
    line
    for line in (Path(__file__).parents[1] / "data" / "not_public_addresses.txt").read_text().splitlines()
    if not line.startswith("#")
]
STRICT = UrlPolicy(own_hosts=frozenset({"pay.example.com"}))
INSECURE = UrlPolicy(allow_insecure=True, own_hosts=frozenset({"pay.example.com", "127.0.0.1", "localhost"}))


def problem(text: str, policy: UrlPolicy = STRICT) -> UrlProblem:
    with pytest.raises(WebhookUrlError) as refused:
        parse_webhook_url(text, policy)
    assert str(refused.value).endswith(".")
    return refused.value.problem


@pytest.mark.parametrize(
    ("text", "host", "port", "target", "host_header"),
    [
        ("https://example.com", "example.com", 443, "/", "example.com"),
        ("https://example.com/", "example.com", 443, "/", "example.com"),
        ("https://example.com/a/../b?c=d&e=%2F", "example.com", 443, "/a/../b?c=d&e=%2F", "example.com"),
        ("https://example.com?x=1", "example.com", 443, "/?x=1", "example.com"),
        ("https://example.com:443/", "example.com", 443, "/", "example.com"),
        ("https://example.com:8443/h", "example.com", 8443, "/h", "example.com:8443"),
        ("https://my_shop.r3---x.example.com/h", "my_shop.r3---x.example.com", 443, "/h", None),
        ("https://xn--bcher-kva.example/h", "xn--bcher-kva.example", 443, "/h", None),
        ("https://8.8.8.8/h", "8.8.8.8", 443, "/h", "8.8.8.8"),
        ("https://[2606:4700::1111]:8443/h", "2606:4700::1111", 8443, "/h", "[2606:4700::1111]:8443"),
        ("https://1e100.net/h", "1e100.net", 443, "/h", None),
    ],
)
def test_a_good_url_is_kept_as_given(
    text: str, host: str, port: int, target: str, host_header: str | None
) -> None:
    url = parse_webhook_url(text, STRICT)
    assert (url.text, url.host, url.port, url.target, url.tls) == (text, host, port, target, True)
    assert url.host_header == (host_header or host)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("HTTPS://Example.COM/Path", "https://example.com/Path"),
        ("https://example.com./h", "https://example.com/h"),
        ("https://bücher.example/h", "https://xn--bcher-kva.example/h"),
        ("https://BÜCHER.example/h", "https://xn--bcher-kva.example/h"),
        ("https://faß.example/h", "https://xn--fa-hia.example/h"),
        ("https://ｅｘａｍｐｌｅ。com/h", "https://example.com/h"),
        ("https://example.com/ü?q=✓", "https://example.com/%C3%BC?q=%E2%9C%93"),
        ('https://example.com/"<>', "https://example.com/%22%3C%3E"),
        ("https://[2606:4700:0:0::1111]/h", "https://[2606:4700::1111]/h"),
    ],
)
def test_a_url_is_turned_into_ascii_once(text: str, kept: str) -> None:
    url = parse_webhook_url(text, STRICT)
    assert url.text == kept
    assert parse_webhook_url(url.text, STRICT) == url


@pytest.mark.parametrize(
    "text",
    [
        *("", "example.com", "//example.com/h", "/h", "https:/example.com", "https:example.com", "://x"),
        *("http://example.com/h", "ftp://example.com", "file:///etc/passwd", "gopher://example.com:70/_"),
        *("javascript:alert(1)", "data:text/plain,x", "wss://example.com", "httpss://example.com"),
    ],
)
def test_https_is_the_only_scheme(text: str) -> None:
    assert problem(text) is UrlProblem.SCHEME


@pytest.mark.parametrize(
    "text",
    [
        *(" https://example.com", "https://example.com ", "https://exa mple.com", "https://example.com/a b"),
        *("https://example.com/\r\nX: y", "https://example.com\t/", "https://example.com/\x00"),
        *("https://example.com\\@10.0.0.1/", "https:\\\\example.com", "https://example.com/\x7f"),
        *("https://example.com/\xa0", "https://example.com/\ud800", "https://exa\nmple.com/"),
    ],
)
def test_blanks_controls_and_backslashes_are_refused(text: str) -> None:
    assert problem(text) is UrlProblem.CHARACTER


@pytest.mark.parametrize(
    "text",
    [
        *("https://user@example.com", "https://user:pass@example.com/h", "https://@example.com"),
        *("https://example.com@10.0.0.1/", "https://:@example.com", "https://a@b@example.com"),
    ],
)
def test_credentials_are_refused(text: str) -> None:
    assert problem(text) is UrlProblem.CREDENTIALS


@pytest.mark.parametrize(
    "text", ["https://example.com/#", "https://example.com#x", "https://example.com/a?b#c"]
)
def test_a_fragment_is_refused(text: str) -> None:
    assert problem(text) is UrlProblem.FRAGMENT


@pytest.mark.parametrize("port", ["22", "25", "80", "6379", "5432", "0", "65536", "99999", "", "x", "-443"])
def test_other_ports_are_refused(port: str) -> None:
    assert problem(f"https://example.com:{port}/h") is UrlProblem.PORT


def test_ports_must_be_ascii_digits() -> None:
    assert problem("https://example.com:４４３/h") is UrlProblem.PORT
    assert problem("https://example.com:443:443/h") is UrlProblem.PORT


def test_the_ports_can_be_set() -> None:
    policy = UrlPolicy(ports=frozenset({443, 9443}))
    assert parse_webhook_url("https://example.com:9443/h", policy).port == 9443
    assert problem("https://example.com:8443/h", policy) is UrlProblem.PORT


def test_a_url_may_have_2048_characters_and_no_more() -> None:
    longest = "https://example.com/" + "a" * 2028
    assert parse_webhook_url(longest, STRICT).text == longest
    assert problem(longest + "a") is UrlProblem.TOO_LONG
    assert problem("https://example.com/" + "ü" * 1000) is UrlProblem.TOO_LONG


@pytest.mark.parametrize(
    "host",
    [
        *("", ".", "..", "a..b", ".example.com", "-a.example", "a-.example", "exa%6dple.com", "a,b.example"),
        *("example.com..", "a" * 64 + ".example", ".".join(["a" * 60] * 5), "[", "[]", "[::1", "::1", "[x]"),
        *("[::1]x", "℀.example", "a＠b.example", "a／b.example", "xn--a.example", "💩.example", "*.example"),
        *("[fe80::1%25eth0]", "[fe80::1%eth0]", "[2606:4700::1111%1]", "[８.８.８.８]", "[8.8.8.8]"),
    ],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    assert problem(f"https://{host}/h") in {UrlProblem.HOST, UrlProblem.PORT}


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_a_literal_that_is_not_public_is_refused(text: str) -> None:
    host = f"[{text}]" if ":" in text else text
    assert problem(f"https://{host}/h") is UrlProblem.PRIVATE_ADDRESS
    assert problem(f"https://{host}:8443/h?x=1") is UrlProblem.PRIVATE_ADDRESS


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0x7f000001", "0X7F000001", "017700000001", "0x7f.0.0.1", "0x7f.1", "0177.0.0.1"),
        *("127.1", "127.0.1", "0", "00", "0x0", "0x", "127.0.0.01", "127.0.0.0x1", "1.2.3.4.5", "256.1.1.1"),
        *("127.000.000.001", "4294967295", "99999999999", "10.1", "192.168.257", "0xa9fea9fe", "2852039166"),
        *("134744072", "8.8.2056", "0x08.8.8.8", "example.1", "1"),
    ],
)
def test_a_legacy_spelling_of_an_address_is_refused(host: str) -> None:
    assert problem(f"https://{host}/h") is UrlProblem.ADDRESS_SPELLING
    assert problem(f"http://{host}/h", INSECURE) is UrlProblem.ADDRESS_SPELLING


@pytest.mark.parametrize(
    "host",
    [
        *(
            "①②⑦.0.0.1",
            "１２７.0.0.1",
            "127。0。0。1",
            "127．0．0．1",
            "127｡0｡0｡1",
            "127.0.0.1.",
            "127.0.0.1。",
        ),
        *("𝟙𝟘.0.0.1", "１６９。２５４。１６９。２５４", "¹²⁷.⁰.⁰.¹", "127.0.0.1\u00ad", "10.0.\u200b0.1"),
    ],
)
def test_a_private_address_in_other_digits_or_dots_is_refused(host: str) -> None:
    assert problem(f"https://{host}/h") is UrlProblem.PRIVATE_ADDRESS


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "localhost.", "a.localhost", "intranet", "ⓛocalhost"]
)
def test_a_name_that_is_not_public_is_refused(host: str) -> None:
    assert problem(f"https://{host}/h") is UrlProblem.PRIVATE_NAME


@pytest.mark.parametrize(
    "host", ["pay.example.com", "PAY.example.com", "pay.example.com.", "ｐay。example.com"]
)
def test_our_own_host_is_refused(host: str) -> None:
    assert problem(f"https://{host}/h") is UrlProblem.OWN_HOST
    assert problem(f"https://{host}:8443/v1/x", INSECURE) is UrlProblem.OWN_HOST


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("http://127.0.0.1:5000/h", 5000),
        ("http://localhost/h", 80),
        ("http://hook.localhost:9/h", 9),
        ("http://[::1]:5000/h", 5000),
        ("http://127.8.9.1:65535/", 65535),
        ("https://localhost:8444/h", 8444),
        ("http://example.com:8000/h", 8000),
    ],
)
def test_the_insecure_mode_permits_http_loopback_and_any_port(text: str, port: int) -> None:
    assert parse_webhook_url(text, INSECURE).port == port


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_the_insecure_mode_opens_nothing_but_loopback(text: str) -> None:
    if text.startswith("127.") or text in {"::1", "::ffff:127.0.0.1"}:
        return
    host = f"[{text}]" if ":" in text else text
    assert problem(f"http://{host}/h", INSECURE) is UrlProblem.PRIVATE_ADDRESS


@pytest.mark.parametrize("text", ["ftp://127.0.0.1/", "http://user@127.0.0.1/", "http://127.0.0.1/#a"])
def test_the_insecure_mode_keeps_the_other_rules(text: str) -> None:
    assert problem(text, INSECURE) in {UrlProblem.SCHEME, UrlProblem.CREDENTIALS, UrlProblem.FRAGMENT}


def test_the_insecure_mode_keeps_the_port_in_range() -> None:
    assert problem("http://127.0.0.1:0/", INSECURE) is UrlProblem.PORT
    assert problem("http://127.0.0.1:65536/", INSECURE) is UrlProblem.PORT


def test_a_host_becomes_ascii_without_its_trailing_dot() -> None:
    assert ascii_host("Pay.Example.COM.") == "pay.example.com"


HOSTS = st.text(st.sampled_from("0123456789abcdefx.:[]%-_①②⑦。．１０Ｘü℀\u00ad\u200b"), max_size=24)


@given(
    st.text(max_size=80)
    | st.tuples(HOSTS, st.text(max_size=20)).map(lambda parts: "https://{}/{}".format(*parts))
)
@example("https://[::ffff:7f00:1]/")
def test_any_text_is_refused_or_yields_a_safe_ascii_url(text: str) -> None:
    try:
        url = parse_webhook_url(text, STRICT)
    except WebhookUrlError:
        return
    assert all("\x21" <= char <= "\x7e" for char in url.text + url.target + url.host_header)
    assert url.port in {443, 8443}
    assert url.target.startswith("/")
    assert parse_webhook_url(url.text, STRICT) == url
    if url.literal is not None:
        assert is_public(url.literal)
        assert str(url.literal) == url.host
    else:
        assert not url.host.rpartition(".")[2].isdecimal()


@given(st.ip_addresses(v=6))
def test_any_ipv6_literal_is_taken_exactly_when_public(address: IPv6Address) -> None:
    text = f"https://[{address}]/h"
    if is_public(address):
        assert parse_webhook_url(text, STRICT).literal == address
    else:
        assert problem(text) is UrlProblem.PRIVATE_ADDRESS
