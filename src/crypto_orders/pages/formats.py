"""How pages write money, coins and times. Amounts are exact: nothing is rounded away."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

CENTS: Final = 100
MINUTE: Final = 60
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

# From this age on a date says more than a number of days.
_DATE_FROM_DAYS: Final = 60


def fiat(cents: int, currency: str) -> str:
    """Integer cents as people read them: `1,199.00 USD`."""
    sign = "-" if cents < 0 else ""
    whole, rest = divmod(abs(cents), CENTS)
    return f"{sign}{whole:,}.{rest:02d} {currency}"


def crypto(amount: Decimal | None, coin: str | None = None) -> str:
    """An exact amount of a coin, without exponent or rounding: `0.00012345 BTC`; None is a dash."""
    if amount is None:
        return "—"
    text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return f"{text} {coin.upper()}" if coin else text


def full_time(at: datetime) -> str:
    """A moment with its zone, to the second: `2026-05-22 10:00:00 UTC`."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock_time(at: datetime) -> str:
    """The time of day in UTC, to the second."""
    return at.astimezone(UTC).strftime("%H:%M:%S")


def span(length: timedelta) -> str:
    """A length of time in its largest unit, cut off: `45 s`, `7 min`, `3 h`, `12 d`."""
    seconds = max(int(length.total_seconds()), 0)
    if seconds < MINUTE:
        return f"{seconds} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE} min"
    if seconds < DAY:
        return f"{seconds // HOUR} h"
    return f"{seconds // DAY} d"


def ago(at: datetime, now: datetime) -> str:
    """How long ago a moment is, or how far ahead: `7 min ago`, `in 3 h`; its date when it is long ago."""
    if abs((now - at).days) > _DATE_FROM_DAYS:
        return at.astimezone(UTC).strftime("%Y-%m-%d")
    if at > now:
        return f"in {span(at - now)}"
    return "just now" if now - at < timedelta(seconds=1) else f"{span(now - at)} ago"
