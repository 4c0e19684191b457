"""Keys: their form, and which scope stands for which."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_orders.domain.api_key import KeyForm, digest, satisfies

SECRET = "abcdefghijklmnopqrstuvwxyz234567"
FORM = KeyForm("ds")


@pytest.mark.parametrize("mode", ["live", "test", "admin"])
def test_a_key_names_its_mode(mode: str) -> None:
    assert FORM.mode_of(f"ds_{mode}_{SECRET}") == mode
    assert KeyForm("a.b").mode_of(f"a.b_{mode}_{SECRET}") == mode


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ds_live_",
        f"ds_live_{SECRET[:-1]}",
        f"ds_live_{SECRET}a",
        f"ds_live_{SECRET[:-1]}1",
        f"ds_LIVE_{SECRET}",
        f"ds_live_{SECRET.upper()}",
        f"sk_live_{SECRET}",
        f"ds_beta_{SECRET}",
        f"ds_live_{SECRET}\n",
        f"ds_live_{SECRET[:-1]}\u0662",
    ],
)
def test_nothing_else_has_the_form_of_a_key(text: str) -> None:
    assert FORM.mode_of(text) is None


@given(st.text(max_size=60))
def test_no_text_makes_the_form_fail(text: str) -> None:
    assert FORM.mode_of(text) is None
    assert KeyForm("a.b").mode_of(f"aXb_live_{SECRET}") is None


def test_the_digest_is_sha_256() -> None:
    assert digest("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    ("held", "needed", "allowed"),
    [
        (("read:billing",), "read:billing", True),
        (("read:billing",), "admin:billing", False),
        (("admin:billing",), "read:billing", False),
        (("read",), "read:billing", True),
        (("read",), "read:webhooks", True),
        (("read",), "admin:billing", False),
        (("read",), "account_owner", False),
        (("account_owner",), "read:billing", True),
        (("account_owner",), "admin:billing", True),
        (("account_owner",), "read:webhooks", True),
        (("account_owner",), "account_owner", True),
        (("account_owner", "read", "admin:billing"), "admin:read", False),
        (("admin:read", "admin:write"), "admin:read", True),
        (("admin:read", "admin:write"), "admin:override", False),
        (("admin:write",), "admin:read", False),
        (("admin:read", "admin:write", "admin:override"), "read:billing", False),
        (("admin:override",), "account_owner", False),
        ((), "read:billing", False),
        (("read",), "read:everything", False),
    ],
)
def test_scopes_stand_for_others_of_their_own_kind_only(
    held: tuple[str, ...], needed: str, allowed: bool
) -> None:
    assert satisfies(held, needed) is allowed
