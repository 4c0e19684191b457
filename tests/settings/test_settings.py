"""Settings as an operator gives them: defaults, files for secrets, and sentences for what is wrong."""

from decimal import Decimal
from pathlib import Path

import pytest

from crypto_orders import settings
from crypto_orders.settings import SettingsError, SettingsReader

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

PRODUCTION = {
    "CRYPTO_ORDERS_ENV": "production",
    "CRYPTO_ORDERS_PUBLIC_URL": "https://orders.example.com/",
    "CRYPTO_ORDERS_NOWPAYMENTS_IPN_SECRET": "s1",
    "CRYPTO_ORDERS_SEALING_KEY": KEY,
}


def test_without_any_variable_the_defaults_hold() -> None:
    found = settings.read({})
    assert found.env == "development"
    assert found.public_url == "http://127.0.0.1:8080"
    assert found.error_type_base == "http://127.0.0.1:8080/docs/errors"
    assert found.default_pay_currency == "btc"
    assert found.pay_window_minutes == 60
    assert found.pay_tolerance_percent == Decimal(1)
    assert found.open_orders_max == 5
    assert found.unpaid_orders_per_day_max == 10
    assert found.sweep_every_minutes == 15
    assert found.sweep_older_than_hours == 24
    assert found.idempotency_mismatch == "replay"
    assert found.allow_insecure_webhooks is False
    assert found.sandbox is False
    assert found.database_url is None
    assert (found.rate_limit_customer_capacity, found.rate_limit_customer_per_second) == (120, 20)
    assert (found.rate_limit_admin_capacity, found.rate_limit_admin_per_second) == (300, 50)
    assert (found.rate_limit_failure_capacity, found.rate_limit_failure_per_second) == (60, 1)
    assert (found.brand_name, found.brand_slug, found.key_prefix) == ("Crypto Orders", "crypto-orders", "ds")
    assert found.header_prefix == "X-Crypto-Orders-"


def test_what_follows_from_other_settings_follows_them() -> None:
    found = settings.read({"CRYPTO_ORDERS_HOST": "::1", "CRYPTO_ORDERS_PORT": "9000"})
    assert found.public_url == "http://[::1]:9000"
    found = settings.read({"CRYPTO_ORDERS_PUBLIC_URL": "https://pay.example/x/"})
    assert found.public_url == "https://pay.example/x"
    assert found.error_type_base == "https://pay.example/x/docs/errors"


def test_insecure_webhooks_are_allowed_in_the_demo_unless_said_otherwise() -> None:
    assert settings.read({"CRYPTO_ORDERS_ENV": "demo"}).allow_insecure_webhooks is True
    said = {"CRYPTO_ORDERS_ENV": "demo", "CRYPTO_ORDERS_ALLOW_INSECURE_WEBHOOKS": "off"}
    assert settings.read(said).allow_insecure_webhooks is False


def test_an_empty_variable_is_as_if_it_were_not_set() -> None:
    empty = {description.variable: "" for description in settings.DESCRIPTIONS}
    del empty["CRYPTO_ORDERS_DEFAULT_PAY_CURRENCY"]
    assert settings.read(empty) == settings.read({})


def test_an_empty_default_coin_leaves_the_choice_to_the_payer() -> None:
    assert settings.read({"CRYPTO_ORDERS_DEFAULT_PAY_CURRENCY": ""}).default_pay_currency is None


def test_what_is_given_is_read() -> None:
    given = {
        "PAY_TOLERANCE_PERCENT": "2.5",
        "DEFAULT_PAY_CURRENCY": "USDTTRC20",
        "OPEN_ORDERS_MAX": "0",
        "TRUSTED_PROXIES": "10.0.0.0/8, ::1",
        "IDEMPOTENCY_MISMATCH": "reject",
    }
    found = settings.read({f"CRYPTO_ORDERS_{name}": text for name, text in given.items()})
    assert found.pay_tolerance_percent == Decimal("2.5")
    assert found.default_pay_currency == "usdttrc20"
    assert found.open_orders_max == 0
    assert found.trusted_proxies == ("10.0.0.0/8", "::1")
    assert found.idempotency_mismatch == "reject"


def test_a_secret_comes_from_a_file_or_a_variable_and_never_shows(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://u:hunter2@h/d\n")
    found = settings.read({"CRYPTO_ORDERS_DATABASE_URL_FILE": str(file)})
    assert found.database_url is not None
    assert found.database_url.reveal() == "postgresql://u:hunter2@h/d"
    assert "hunter2" not in repr(found)
    assert "hunter2" not in str(found.database_url)


def test_several_notification_secrets_stand_on_lines_of_their_own() -> None:
    found = settings.read({"CRYPTO_ORDERS_NOWPAYMENTS_IPN_SECRET": " new, one \n\nold;one\r\n"})
    assert [secret.reveal() for secret in found.nowpayments_ipn_secret] == ["new, one", "old;one"]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("PORT", "70000", "CRYPTO_ORDERS_PORT has to be a whole number from 1 to 65535"),
        ("PORT", "80 ", "CRYPTO_ORDERS_PORT has to be a whole number from 1 to 65535"),
        ("ENV", "prod", "CRYPTO_ORDERS_ENV has to be one of production, development, demo"),
        (
            "PUBLIC_URL",
            "orders.example.com",
            "CRYPTO_ORDERS_PUBLIC_URL has to be an absolute http or https URL without a query",
        ),
        ("PUBLIC_URL", "https://u:p@x.example", "CRYPTO_ORDERS_PUBLIC_URL must not hold credentials"),
        (
            "DATABASE_URL",
            "hunter2@host",
            "CRYPTO_ORDERS_DATABASE_URL has to be an address such as postgresql://user:password@host/name",
        ),
        ("SANDBOX", "maybe", "CRYPTO_ORDERS_SANDBOX has to be true or false"),
        (
            "PAY_TOLERANCE_PERCENT",
            "-1",
            "CRYPTO_ORDERS_PAY_TOLERANCE_PERCENT has to be a number of percent from 0 to 50",
        ),
        (
            "PAY_TOLERANCE_PERCENT",
            "one",
            "CRYPTO_ORDERS_PAY_TOLERANCE_PERCENT has to be a number of percent from 0 to 50",
        ),
        (
            "DEFAULT_PAY_CURRENCY",
            "b-c",
            "CRYPTO_ORDERS_DEFAULT_PAY_CURRENCY has to be a coin's code such as btc, or empty",
        ),
        (
            "TRUSTED_PROXIES",
            "10.0.0.1/8",
            "CRYPTO_ORDERS_TRUSTED_PROXIES has to be a list of addresses or networks such as 10.0.0.0/8",
        ),
        (
            "IDEMPOTENCY_MISMATCH",
            "ignore",
            "CRYPTO_ORDERS_IDEMPOTENCY_MISMATCH has to be one of replay, reject",
        ),
        (
            "SEALING_KEY",
            "c2hvcnQ=",
            (
                "CRYPTO_ORDERS_SEALING_KEY is not usable: a sealing key must be 32 bytes, not 5; "
                "make one with: openssl rand -base64 32"
            ),
        ),
        (
            "SEALING_KEY_FILE",
            "/nonexistent",
            "CRYPTO_ORDERS_SEALING_KEY_FILE names a file that cannot be read: No such file or directory",
        ),
    ],
)
def test_what_cannot_be_used_is_named_in_one_sentence(name: str, text: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.read({f"CRYPTO_ORDERS_{name}": text})
    assert str(caught.value) == sentence


def test_a_secret_given_twice_is_refused() -> None:
    twice = {"CRYPTO_ORDERS_DATABASE_URL": "postgresql://h/d", "CRYPTO_ORDERS_DATABASE_URL_FILE": "b"}
    with pytest.raises(SettingsError, match="CRYPTO_ORDERS_DATABASE_URL and CRYPTO_ORDERS_DATABASE_URL_FILE"):
        settings.read(twice)


def test_every_problem_is_collected_for_the_doctor() -> None:
    reader = SettingsReader({"CRYPTO_ORDERS_PORT": "x", "CRYPTO_ORDERS_ENV": "y", "CRYPTO_ORDERS_PROT": "1"})
    assert len(reader.problems) == 2
    assert reader.unknown == ("CRYPTO_ORDERS_PROT",)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"CRYPTO_ORDERS_SANDBOX": "true"},
            "CRYPTO_ORDERS_SANDBOX is on: in production anyone could mark orders paid.",
        ),
        (
            {"CRYPTO_ORDERS_NOWPAYMENTS_IPN_SECRET": " \n "},
            "CRYPTO_ORDERS_NOWPAYMENTS_IPN_SECRET is empty: no notification could be verified.",
        ),
        (
            {"CRYPTO_ORDERS_SEALING_KEY": ""},
            "CRYPTO_ORDERS_SEALING_KEY is not set: secrets could not be sealed at rest.",
        ),
        (
            {"CRYPTO_ORDERS_PUBLIC_URL": "http://orders.example.com"},
            "CRYPTO_ORDERS_PUBLIC_URL is not https: keys and addresses would travel in the clear.",
        ),
        (
            {"CRYPTO_ORDERS_ALLOW_INSECURE_WEBHOOKS": "1"},
            "CRYPTO_ORDERS_ALLOW_INSECURE_WEBHOOKS is on: webhooks could be sent to this network.",
        ),
    ],
)
def test_production_refuses_what_is_unsafe(change: dict[str, str], sentence: str) -> None:
    assert settings.refusals(settings.read(PRODUCTION)) == ()
    assert settings.refusals(settings.read({**PRODUCTION, **change})) == (sentence,)
    elsewhere = {**PRODUCTION, **change, "CRYPTO_ORDERS_ENV": "development"}
    assert settings.refusals(settings.read(elsewhere)) == ()


def test_every_setting_has_a_meaning() -> None:
    for description in settings.DESCRIPTIONS:
        assert description.meaning.endswith("."), description.name
