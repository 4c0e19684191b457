"""Webhook signatures, checked by three verifiers that are not ours."""

import hashlib
import hmac
import json
import shutil
import subprocess
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from crypto_orders.domain.webhook_signature import (
    Attempt,
    attempt_headers,
    header_family,
    make_secret,
    shown_prefix,
    signing_key,
)

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
OLD_SECRET = "whsec_" + "/+" * 16
EVENT_ID = UUID("0197a3c0-0000-7000-8000-000000000001")
BODY = '{"id":"0197a3c0-0000-7000-8000-000000000001","data":{"note":"é ✓"}}'.encode()


def signed(
    secret: str = SECRET,
    previous: str | None = None,
    at: datetime | None = None,
    body: bytes = BODY,
) -> dict[str, str]:
    attempt = Attempt(
        event_id=EVENT_ID, event_type="crypto.order.paid", body=body, at=at or datetime.now(tz=UTC)
    )
    keys = [signing_key(each) for each in (secret, previous) if each is not None]
    return dict(attempt_headers(attempt, "X-Crypto-Orders", keys))


def branded_accepts(header: str, secret: str, body: bytes) -> bool:
    """Verify the brand's header the way a customer would from the published description."""
    pairs = [part.split("=", 1) for part in header.split(",")]
    timestamp = next(value for name, value in pairs if name == "t")
    expected = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return any(name == "v1" and hmac.compare_digest(value, expected) for name, value in pairs)


def test_the_secret_is_38_characters_of_prefix_and_base64() -> None:
    assert make_secret(bytes(range(24))) == SECRET
    assert len(SECRET) == 38
    assert shown_prefix(SECRET) == "whsec_AAECAw"


@pytest.mark.parametrize("count", [0, 23, 25, 32])
def test_a_secret_takes_24_random_bytes_and_no_other_count(count: int) -> None:
    with pytest.raises(ValueError, match="24 random bytes"):
        make_secret(bytes(count))


def test_the_headers_of_a_known_attempt_are_these() -> None:
    headers = signed(at=datetime(2026, 5, 22, 10, 0, 0, 999_000, tzinfo=UTC), body=b"{}")
    assert headers == {
        "webhook-id": "0197a3c0-0000-7000-8000-000000000001",
        "webhook-timestamp": "1779444000",
        "webhook-signature": "v1,C60kMasDRnqrjdNp8DbLem9Vg03MIOUTUXzVexwaCMA=",
        "X-Crypto-Orders-Signature": "t=1779444000,"
        "v1=eb8fafa3eb9f716434920249c58ac425fef8f5f7090ff572dd35c50a07116c98",
        "X-Crypto-Orders-Event-Id": "0197a3c0-0000-7000-8000-000000000001",
        "X-Crypto-Orders-Event-Type": "crypto.order.paid",
    }


def test_the_standardwebhooks_package_accepts_it() -> None:
    assert Webhook(SECRET).verify(BODY, signed()) == json.loads(BODY)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "0197a3c0-0000-7000-8000-000000000002"},
        {"webhook-timestamp": "1"},
        {"webhook-signature": "v1,AAAA"},
    ],
)
def test_the_standardwebhooks_package_rejects_an_altered_header(change: dict[str, str]) -> None:
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY, signed() | change)


def test_the_standardwebhooks_package_rejects_an_altered_time_within_its_tolerance() -> None:
    now = datetime.now(tz=UTC)
    later = str(int((now + timedelta(seconds=1)).timestamp()))
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY, signed(at=now) | {"webhook-timestamp": later})


def test_every_altered_byte_of_the_body_is_rejected_by_both_schemes() -> None:
    headers = signed()
    for position in range(len(BODY)):
        altered = BODY[:position] + bytes([BODY[position] ^ 1]) + BODY[position + 1 :]
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(altered, headers)
        assert not branded_accepts(headers["X-Crypto-Orders-Signature"], SECRET, altered)


def test_a_few_lines_written_from_the_description_accept_the_branded_signature() -> None:
    header = signed()["X-Crypto-Orders-Signature"]
    assert branded_accepts(header, SECRET, BODY)
    assert not branded_accepts(header, OLD_SECRET, BODY)
    assert not branded_accepts(header.replace("t=1", "t=2"), SECRET, BODY)


def test_a_few_lines_written_from_the_standard_accept_the_standard_signature() -> None:
    headers = signed()
    key = b64decode(SECRET.removeprefix("whsec_"))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + BODY
    signature = headers["webhook-signature"].removeprefix("v1,")
    assert b64decode(signature) == hmac.new(key, content, hashlib.sha256).digest()


def openssl_hmac(key: bytes, content: bytes, scratch: Path) -> str:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    path = scratch / "content"
    path.write_bytes(content)
    done = subprocess.run(
        [program, "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key.hex()}", str(path)],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout.split("=")[-1].strip()


def test_openssl_computes_the_same_signatures(tmp_path: Path) -> None:
    headers = signed()
    timestamp = headers["webhook-timestamp"].encode()
    branded = openssl_hmac(SECRET.encode(), timestamp + b"." + BODY, tmp_path)
    assert headers["X-Crypto-Orders-Signature"] == f"t={timestamp.decode()},v1={branded}"
    key = b64decode(SECRET.removeprefix("whsec_"))
    standard = openssl_hmac(key, f"{EVENT_ID}.{timestamp.decode()}.".encode() + BODY, tmp_path)
    assert b64decode(headers["webhook-signature"].removeprefix("v1,")).hex() == standard


def test_both_secrets_verify_during_the_grace_with_the_current_one_first() -> None:
    headers = signed(SECRET, OLD_SECRET)
    assert Webhook(SECRET).verify(BODY, headers)
    assert Webhook(OLD_SECRET).verify(BODY, headers)
    assert branded_accepts(headers["X-Crypto-Orders-Signature"], SECRET, BODY)
    assert branded_accepts(headers["X-Crypto-Orders-Signature"], OLD_SECRET, BODY)
    alone = signed(SECRET, at=datetime.fromtimestamp(int(headers["webhook-timestamp"]), tz=UTC))
    assert headers["webhook-signature"].startswith(alone["webhook-signature"] + " v1,")
    assert headers["X-Crypto-Orders-Signature"].startswith(alone["X-Crypto-Orders-Signature"] + ",v1=")


def test_only_the_new_secret_verifies_after_the_grace() -> None:
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD_SECRET).verify(BODY, signed(SECRET))


def test_attempts_of_one_event_differ_in_time_and_signature_alone() -> None:
    first = signed(at=datetime(2026, 5, 22, 10, 0, tzinfo=UTC))
    second = signed(at=datetime(2026, 5, 22, 10, 1, tzinfo=UTC))
    assert {name for name in first if first[name] != second[name]} == {
        "webhook-timestamp",
        "webhook-signature",
        "X-Crypto-Orders-Signature",
    }


@pytest.mark.parametrize(
    "secret", ["", "whsec_", SECRET[:-1], SECRET + "A", SECRET.removeprefix("whsec_"), "whsec_" + "-" * 32]
)
def test_a_text_that_is_no_secret_never_signs(secret: str) -> None:
    with pytest.raises(ValueError, match="a webhook secret is"):
        signed(secret)
    with pytest.raises(ValueError, match="a webhook secret is"):
        signed(SECRET, secret)


@pytest.mark.parametrize(
    ("slug", "family"), [("crypto-orders", "X-Crypto-Orders"), ("acme", "X-Acme"), ("a1-b2", "X-A1-B2")]
)
def test_the_header_family_comes_from_the_brand_slug(slug: str, family: str) -> None:
    assert header_family(slug) == family


@pytest.mark.parametrize("slug", ["", "Acme", "a b", "a--b", "-a", "a-", "a_b", "a\r\nb", "é"])
def test_a_slug_that_could_break_a_header_is_refused(slug: str) -> None:
    with pytest.raises(ValueError, match="brand slug"):
        header_family(slug)


@given(random_bytes=st.binary(min_size=24, max_size=24), body=st.binary(max_size=500))
def test_any_secret_and_body_verify_with_independent_code(random_bytes: bytes, body: bytes) -> None:
    secret = make_secret(random_bytes)
    headers = signed(secret, body=body)
    assert branded_accepts(headers["X-Crypto-Orders-Signature"], secret, body)
    content = f"{EVENT_ID}.{headers['webhook-timestamp']}.".encode() + body
    expected = hmac.new(random_bytes, content, hashlib.sha256).digest()
    assert b64decode(headers["webhook-signature"].removeprefix("v1,")) == expected
