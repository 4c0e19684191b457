"""The provider's signature: genuine notifications pass in both forms, and nothing else does."""

import hashlib
import hmac
import json
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto_orders.domain.ipn_signature import (
    BODY_BYTES_MAX,
    NotJsonError,
    TooDeepError,
    TooLargeError,
    UnreadableJsonError,
    canonical,
    identity,
    js_number_text,
    read_json_exact,
    sign,
    verify,
)

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no finding."""

SECRET = "kQ7+/=Zr w9"
BODY = (
    b'{"payment_status":"finished","payment_id":5800000001,"fee":{"currency":"btc","depositFee":0.0000002}}'
)
SIGNED = b'{"fee":{"currency":"btc","depositFee":2e-7},"payment_id":5800000001,"payment_status":"finished"}'


def hmac_hex(secret: str, text: bytes) -> str:
    return hmac.new(secret.encode(), text, hashlib.sha512).hexdigest()


GENUINE = hmac_hex(SECRET, SIGNED)


# What is accepted -------------------------------------------------------------------------------------------


def test_every_vector_is_accepted_and_its_signature_made(ipn_vectors: list[dict[str, str]]) -> None:
    assert len(ipn_vectors) == 22
    for vector in ipn_vectors:
        raw, secret, signed = vector["body"].encode(), vector["secret"], vector["signed_text"].encode()
        assert canonical(raw) == signed, vector["id"]
        assert sign(raw, secret) == vector["expected_sig"], vector["id"]
        verified = verify(raw, vector["expected_sig"], [secret])
        assert verified is not None, vector["id"]
        assert verified.text == signed, vector["id"]
        assert verified.form == ("raw" if raw == signed else "canonical"), vector["id"]


def test_a_body_signed_as_it_is_matches_raw_and_is_read_as_it_is() -> None:
    verified = verify(BODY, hmac_hex(SECRET, BODY), [SECRET])
    assert verified is not None
    assert (verified.form, verified.text) == ("raw", BODY)


def test_a_body_in_another_spelling_matches_by_its_canonical_form_and_is_read_from_that() -> None:
    verified = verify(BODY, GENUINE, [SECRET])
    assert verified is not None
    assert (verified.form, verified.text) == ("canonical", SIGNED)


def test_an_infinite_number_is_read_as_the_null_that_was_signed() -> None:
    raw = b'{"actually_paid":1e400}'
    verified = verify(raw, hmac_hex(SECRET, b'{"actually_paid":null}'), [SECRET])
    assert verified is not None
    assert read_json_exact(verified.text) == {"actually_paid": None}


def test_a_body_that_is_no_json_is_accepted_by_its_raw_bytes_alone() -> None:
    for raw in (b"", b"not json", b"\xff\xfe", b"[" * 40 + b"]" * 40, b" " * (BODY_BYTES_MAX + 1)):
        verified = verify(raw, hmac_hex(SECRET, raw), [SECRET])
        assert verified is not None
        assert verified.form == "raw"
        assert verify(raw, GENUINE, [SECRET]) is None


def test_any_of_several_secrets_accepts_with_blanks_around_it_stripped() -> None:
    for secrets in ([SECRET, "other"], ["other", SECRET], ["", "other", f" {SECRET}\n"]):
        assert verify(BODY, GENUINE, secrets) is not None


def test_the_header_may_be_upper_case_and_have_blanks_around_it() -> None:
    for header in (GENUINE.upper(), f" {GENUINE}", f"{GENUINE}\t", GENUINE[:64].upper() + GENUINE[64:]):
        assert verify(BODY, header, [SECRET]) is not None


# What is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        GENUINE[:-1],
        GENUINE[:-2],
        GENUINE + "0",
        GENUINE + GENUINE,
        f"{GENUINE},{GENUINE}",
        f"{GENUINE[:64]} {GENUINE[64:]}",
        f"sha512={GENUINE}",
        f"0x{GENUINE[2:]}",
        GENUINE[:-1] + "g",
        GENUINE[:-1] + "\N{FULLWIDTH DIGIT ONE}",
        GENUINE[:-1] + "\N{ARABIC-INDIC DIGIT ONE}",
        f"{GENUINE}\N{NO-BREAK SPACE}",
        f"{GENUINE}\n",
        "0" * 128,
        hmac_hex("other", SIGNED),
        hmac_hex("", SIGNED),
        hmac_hex(SECRET.lower(), SIGNED),
        hmac.new(SECRET.encode(), SIGNED, hashlib.sha256).hexdigest() * 2,
        hashlib.sha512(SECRET.encode() + SIGNED).hexdigest(),
    ],
)
def test_any_other_header_is_refused(header: str) -> None:
    assert verify(BODY, header, [SECRET]) is None


def test_every_flipped_bit_of_the_signature_is_refused() -> None:
    signature = bytes.fromhex(GENUINE)
    for bit in range(512):
        flipped = (int.from_bytes(signature) ^ (1 << bit)).to_bytes(64)
        assert verify(BODY, flipped.hex(), [SECRET]) is None


def test_every_flipped_bit_of_the_body_is_refused() -> None:
    signature = hmac_hex(SECRET, BODY)
    for bit in range(8 * len(BODY)):
        flipped = bytearray(BODY)
        flipped[bit // 8] ^= 1 << bit % 8
        assert verify(bytes(flipped), signature, [SECRET]) is None


def test_a_body_with_one_more_or_one_changed_field_is_refused() -> None:
    for other in (
        BODY.replace(b"5800000001", b"5800000002"),
        BODY.replace(b"}}", b',"serviceFee":0}}'),
        BODY[:-1] + b',"payment_id":1}',
        b"[" + BODY + b"]",
        BODY[:-1],
    ):
        assert verify(other, GENUINE, [SECRET]) is None


def test_an_empty_secret_matches_nothing_and_signs_nothing() -> None:
    for secrets in ([], [""], ["  "], ["", "\n"]):
        assert verify(BODY, hmac_hex("", SIGNED), secrets) is None
        assert verify(BODY, hmac_hex("", BODY), secrets) is None
    with pytest.raises(ValueError, match="empty secret"):
        sign(BODY, " ")


def test_the_recipes_that_others_use_in_place_of_the_providers_are_refused() -> None:
    """The prose of the provider's page drops nested keys; walking arrays as objects numbers their items."""
    body = b'{"b":[1,2],"a":{"x":1}}'
    for text in (b'{"a":{},"b":[1,2]}', b'{"a":{"x":1},"b":{"0":1,"1":2}}', b'{"a": {"x": 1}, "b": [1, 2]}'):
        assert verify(body, hmac_hex(SECRET, text), [SECRET]) is None


@PATIENT
@given(st.text(max_size=140), st.binary(max_size=200))
def test_no_header_and_no_body_breaks_the_check(header: str, body: bytes) -> None:
    assert verify(body, header, [SECRET]) is None
    assert verify(body, GENUINE, [SECRET]) is None


# Limits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_is_read_to_a_depth_of_32_and_refused_beyond(opening: bytes, closing: bytes) -> None:
    document = opening * 32 + b"1" + closing * 32
    assert canonical(document) == document
    read_json_exact(document)
    for depth in (33, 1_000, 40_000):
        deeper = opening * depth + b"1" + closing * depth
        with pytest.raises(TooDeepError):
            canonical(deeper)
        with pytest.raises(TooDeepError):
            read_json_exact(deeper)


def test_brackets_side_by_side_or_in_texts_are_no_depth() -> None:
    text = rb'"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"{{{{\\"'
    for document in (
        b"[" + b",".join([b"[]"] * 1000) + b"]",
        b"[" + text + b"]",
        b'{"a":' + text + b',"b":{}}',
    ):
        assert canonical(document) == document


@pytest.mark.parametrize("body", [b'["' + b"[" * 99, b'["\\' + b"[" * 99, b'{"a":"\\', b"[" * 20 + b"]" * 80])
def test_an_unclosed_document_with_many_brackets_is_refused_whatever_it_lacks(body: bytes) -> None:
    with pytest.raises(UnreadableJsonError):
        canonical(body)


def test_a_document_of_exactly_256_kib_is_read_and_one_byte_more_is_refused() -> None:
    document = b'"' + b"a" * (BODY_BYTES_MAX - 2) + b'"'
    assert canonical(document) == document
    for refused in (canonical, read_json_exact):
        with pytest.raises(TooLargeError):
            refused(document + b" ")


@pytest.mark.parametrize(
    "unit",
    [
        b"[],",
        b'"\\"',
        b'\\"',
        b'{"',
        b"1" * 40_000,
        b"0.",
        b"1e9,",
        b'"a":{},',
        b"\xff",
        b'"\\ud800",',
        b"-",
        b" ",
    ],
)
@pytest.mark.timeout(60)  # A reader of quadratic work would not come back.
def test_the_longest_hostile_documents_are_judged_in_bounded_work(unit: bytes) -> None:
    body = (b"[" + unit * (BODY_BYTES_MAX // len(unit)))[:BODY_BYTES_MAX]
    assert verify(body, GENUINE, [SECRET]) is None
    assert len(identity(body)) == 32


# Identity ---------------------------------------------------------------------------------------------------


def test_spellings_of_one_notification_share_an_identity_and_another_has_another() -> None:
    respelled = rb""" {"payment_id": 5800000001.0, "payment_status": "f\u0069nished", "__proto__": 1,
        "fee":{"depositFee":2E-7,"currency":"x","currency":"btc"}} """
    assert identity(BODY) == identity(respelled) == hashlib.sha256(SIGNED).digest()
    assert identity(BODY.replace(b"btc", b"ltc")) != identity(BODY)


def test_what_is_no_json_is_identified_by_its_bytes() -> None:
    assert identity(b"not json") == hashlib.sha256(b"not json").digest()


def test_the_identity_is_the_same_whichever_form_matched() -> None:
    by_raw, by_canonical = verify(BODY, hmac_hex(SECRET, BODY), [SECRET]), verify(BODY, GENUINE, [SECRET])
    assert by_raw is not None
    assert by_canonical is not None
    assert by_raw.identity() == by_canonical.identity() == identity(BODY)


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@PATIENT
@given(JSON_LIKE)
def test_the_canonical_form_of_a_canonical_form_is_itself(value: object) -> None:
    raw = json.dumps(value, allow_nan=True).replace("Infinity", "1e999").encode()
    text = canonical(raw)
    assert canonical(text) == text
    assert identity(text) == identity(raw)


# Values and numbers -----------------------------------------------------------------------------------------


def test_every_number_is_read_as_the_decimal_it_spells() -> None:
    read = read_json_exact(b'{"a":0.1,"b":[12345678901234567890,1.10,-0],"c":1E-7,"d":true}')
    assert read == {
        "a": Decimal("0.1"),
        "b": [Decimal(12345678901234567890), Decimal("1.1"), 0],
        "c": Decimal("1E-7"),
        "d": True,
    }
    assert isinstance(read, dict)
    numbers = read["b"]
    assert isinstance(numbers, list)
    assert [str(number) for number in numbers] == ["12345678901234567890", "1.10", "-0"]
    assert all(type(number) is Decimal for number in numbers)


def test_a_number_too_large_for_a_decimal_is_infinite_and_breaks_nothing_else() -> None:
    read = read_json_exact(b'{"a":1e9999999999999999999,"b":-1e9999999999999999999,"c":1}')
    assert read == {"a": Decimal("Infinity"), "b": Decimal("-Infinity"), "c": Decimal(1)}


def test_the_last_of_duplicate_keys_is_read() -> None:
    assert read_json_exact(b'{"order_id":"a","order_id":"b"}') == {"order_id": "b"}


@pytest.mark.parametrize(
    "body", [b"", b"NaN", b'{"a":Infinity}', b"[-Infinity]", b"{}x", b"\xef\xbb\xbf{}", b"'a'"]
)
def test_what_is_no_json_is_not_read(body: bytes) -> None:
    for read in (read_json_exact, canonical):
        with pytest.raises(NotJsonError):
            read(body)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (Decimal("-0"), "0"),
        (Decimal("0.000002"), "0.000002"),
        (Decimal("0.0000001"), "1e-7"),
        (Decimal("1.5e-10"), "1.5e-10"),
        (Decimal("100.10"), "100.1"),
        (Decimal("20.00"), "20"),
        (Decimal("-12.5"), "-12.5"),
        (12345678901234567890, "12345678901234567000"),
        (9007199254740993, "9007199254740992"),
        (10**21, "1e+21"),
        (-(10**20), "-100000000000000000000"),
        (10**400, "null"),
        (Decimal("1e400"), "null"),
        (Decimal("-Infinity"), "null"),
        (Decimal("NaN"), "null"),
        (Decimal("sNaN"), "null"),
    ],
)
def test_numbers_print_as_javascript_prints_them(number: Decimal | int, text: str) -> None:
    assert js_number_text(number) == text
