"""Sealing at rest: what was moved, changed or sealed under a lost key stays shut."""

import os
from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_orders.kit.sealing import SealBrokenError, SealedPlace, Sealer, SealingKeyError

OLD_KEY = b64encode(bytes(range(32))).decode()
NEW_KEY = b64encode(bytes(range(100, 132))).decode()
PLACE = SealedPlace("webhook_endpoints", "secret_sealed", "0197a3c0-0000-7000-8000-000000000001")
PLAIN = b"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"


def test_a_sealed_value_opens_in_its_place_and_shows_nothing() -> None:
    sealer = Sealer(OLD_KEY)
    sealed = sealer.seal(PLAIN, PLACE)
    assert sealer.open(sealed, PLACE) == PLAIN
    assert PLAIN not in sealed
    assert PLAIN[6:20] not in sealed


def test_the_same_value_is_never_sealed_alike_twice() -> None:
    sealer = Sealer(OLD_KEY)
    assert len({sealer.seal(PLAIN, PLACE) for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "elsewhere",
    [
        PLACE._replace(table="accounts"),
        PLACE._replace(column="prev_secret_sealed"),
        PLACE._replace(row_id="0197a3c0-0000-7000-8000-000000000002"),
    ],
)
def test_a_value_moved_to_another_table_column_or_row_stays_shut(elsewhere: SealedPlace) -> None:
    sealer = Sealer(OLD_KEY)
    with pytest.raises(SealBrokenError, match="was changed or moved"):
        sealer.open(sealer.seal(PLAIN, PLACE), elsewhere)


def test_every_changed_byte_keeps_it_shut() -> None:
    sealer = Sealer(OLD_KEY)
    sealed = sealer.seal(PLAIN, PLACE)
    for position in range(len(sealed)):
        changed = sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1 :]
        with pytest.raises(SealBrokenError):
            sealer.open(changed, PLACE)


def test_every_shortened_value_stays_shut() -> None:
    sealer = Sealer(OLD_KEY)
    sealed = sealer.seal(PLAIN, PLACE)
    for length in range(len(sealed)):
        with pytest.raises(SealBrokenError):
            sealer.open(sealed[:length], PLACE)


def test_the_previous_key_still_opens_and_the_current_one_seals() -> None:
    sealed_before = Sealer(OLD_KEY).seal(PLAIN, PLACE)
    both = Sealer(f"{NEW_KEY},{OLD_KEY}")
    assert both.open(sealed_before, PLACE) == PLAIN
    assert Sealer(NEW_KEY).open(both.seal(PLAIN, PLACE), PLACE) == PLAIN


def test_resealing_leaves_nothing_under_the_old_key_and_repeats_no_work() -> None:
    both = Sealer(f"{NEW_KEY}, {OLD_KEY}\n")
    sealed_before = Sealer(OLD_KEY).seal(PLAIN, PLACE)
    assert not sealed_before.startswith(both.current_header)
    resealed = both.reseal(sealed_before, PLACE)
    assert resealed is not None
    assert resealed.startswith(both.current_header)
    assert both.reseal(resealed, PLACE) is None
    assert Sealer(NEW_KEY).open(resealed, PLACE) == PLAIN


def test_a_lost_key_is_named_by_its_id() -> None:
    sealer = Sealer(OLD_KEY)
    key_id = sealer.current_header[1:].hex()
    with pytest.raises(SealBrokenError, match=f"under the unknown key {key_id}"):
        Sealer(NEW_KEY).open(sealer.seal(PLAIN, PLACE), PLACE)


def test_both_orders_of_two_keys_open_each_others_values() -> None:
    first, second = Sealer(f"{OLD_KEY},{NEW_KEY}"), Sealer(f"{NEW_KEY},{OLD_KEY}")
    assert first.open(second.seal(PLAIN, PLACE), PLACE) == PLAIN
    assert second.open(first.seal(PLAIN, PLACE), PLACE) == PLAIN


@pytest.mark.parametrize(
    "text",
    [
        OLD_KEY,
        OLD_KEY.rstrip("="),
        urlsafe_b64encode(bytes(range(32))).decode(),
        bytes(range(32)).hex(),
        bytes(range(32)).hex().upper(),
        f"  {OLD_KEY}\n",
    ],
)
def test_a_key_is_taken_as_base64_or_hex(text: str) -> None:
    assert Sealer(text).open(Sealer(OLD_KEY).seal(PLAIN, PLACE), PLACE) == PLAIN


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("correct horse battery staple", "must be base64 or hex"),
        ("é" * 44, "must be base64 or hex"),
        (b64encode(bytes(31)).decode(), "must be 32 bytes, not 31"),
        (b64encode(bytes(33)).decode(), "must be 32 bytes, not 33"),
        (f"{OLD_KEY},", "must be 32 bytes, not 0"),
        (f"{OLD_KEY},{OLD_KEY}", "the same key twice"),
        (f"{OLD_KEY},{NEW_KEY},{OLD_KEY}", "holds 3 keys"),
    ],
)
def test_a_bad_key_setting_is_refused_in_one_sentence_that_does_not_repeat_it(
    text: str, sentence: str
) -> None:
    with pytest.raises(SealingKeyError, match=sentence) as refused:
        Sealer(text)
    if text.strip():
        assert text.strip() not in str(refused.value)


def test_derived_keys_differ_by_purpose_and_by_key_and_stay_the_same() -> None:
    sealer = Sealer(OLD_KEY)
    assert sealer.derive("checkout token") == sealer.derive("checkout token")
    assert len(sealer.derive("checkout token")) == 32
    assert sealer.derive("checkout token") != sealer.derive("admin session")
    assert sealer.derive("checkout token") != Sealer(NEW_KEY).derive("checkout token")
    both = Sealer(f"{NEW_KEY},{OLD_KEY}")
    assert both.derive_all("checkout token") == (
        Sealer(NEW_KEY).derive("checkout token"),
        sealer.derive("checkout token"),
    )


def test_derivation_is_hkdf_sha256_as_written_down() -> None:
    # Computed with two HMACs by hand, extract and expand (RFC 5869).
    assert Sealer(OLD_KEY).derive("checkout token") == bytes.fromhex(
        "7b376415fa9cc69bb5f6b260de7e95c49b50fc3c3c39c94a9cc5130e4df2794b"
    )


def test_a_sealer_shows_no_key() -> None:
    sealer = Sealer(OLD_KEY)
    assert repr(sealer) == f"Sealer({sealer.current_header[1:].hex()})"
    assert bytes(range(8)).hex() not in repr(sealer)


def test_a_separator_in_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="must not contain"):
        Sealer(OLD_KEY).seal(PLAIN, SealedPlace("a|b", "c", "d"))


@given(plain=st.binary(max_size=2000), row_id=st.uuids())
def test_any_value_comes_back_as_it_was(plain: bytes, row_id: object) -> None:
    sealer = Sealer(b64encode(os.urandom(32)).decode())
    place = PLACE._replace(row_id=str(row_id))
    assert sealer.open(sealer.seal(plain, place), place) == plain
