"""Compares what a request answered with what its page shows: exact words, and shapes where values vary.

Everything shown has to be there, and nothing that is there may be missing from the page unless it says `…`.
Instants, ids, amounts of coins and the like differ from run to run: they need the same shape, and one shown
id has to stand for one real id throughout a page.
"""

import json
import re
from decimal import Decimal
from typing import Any

ANYTHING = "…"

# Each with the field's shown and real value: what differs in every run, matched by its form alone.
FORMS = tuple(
    re.compile(form)
    for form in (
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z",
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
        r"whsec_[A-Za-z0-9+/]{32}",
        r"whsec_[A-Za-z0-9+/]{6}",
        r"req_[0-9a-f]{32}",
        r"[a-z]{2}_(test|live|admin)_[a-z2-7]{32}",
        r"[a-z]{2}_(test|live|admin)_[a-z2-7]{4,8}",
    )
)
IDS = tuple(
    re.compile(form)
    for form in (
        r"ord_[0-7][0-9a-hjkmnp-tv-z]{25}",
        r"(acc_|key_|whk_|wdl_|flg_|bucket:|key:)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        r"[0-9]{8,20}",
    )
)

# Fields whose values nobody can foretell: kept to their JSON type.
VARYING = frozenset(
    {
        "actually_paid",
        "actually_paid_at_fiat",
        "avg_time_to_paid_ms",
        "elapsed_ms",
        "estimate",
        "minimum",
        "next_cursor",
        "outcome_amount",
        "pay_amount",
        "payin_hash",
        "payment_address",
        "payout_hash",
        "times_seen",
        "url",
    }
)


class Answers:
    """The answers of one page, and which real ids its shown ids stand for."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}

    def difference_of_json(self, shown: str, printed: str) -> str | None:
        """What differs between a shown and a real JSON answer, or None."""
        try:
            real = json.loads(printed, parse_float=Decimal)
        except ValueError:
            return f"no JSON was printed: {printed!r}"
        return self._differs(json.loads(shown, parse_float=Decimal), real, "")

    def difference_of_text(self, shown: str, printed: str) -> str | None:
        """What differs between shown and real lines, or None; a line of `…` stands for any number of them."""
        pattern = re.escape(shown.strip()).replace(re.escape(f"\n{ANYTHING}\n"), "\n(?:.*\n)*")
        pattern = pattern.replace(re.escape(f"\n{ANYTHING}"), "(?:\n.*)*").replace(re.escape(ANYTHING), ".*")
        got = "\n".join(line.rstrip() for line in printed.replace("\r", "").strip().splitlines())
        return None if re.fullmatch(pattern, got) else f"{got!r} is not {shown.strip()!r}"

    @staticmethod
    def difference_of_head(shown: str, printed: str) -> str | None:
        """The first shown line of a response's head that was not printed, or None; the order is free."""
        got = [line.strip() for line in printed.splitlines()]
        for line in filter(None, map(str.strip, shown.splitlines())):
            pattern = re.escape(line).replace(re.escape(ANYTHING), ".*")
            if not any(re.fullmatch(pattern, each, re.IGNORECASE) for each in got):
                return f"{line!r} is not in {got}"
        return None

    def _differs(self, shown: Any, real: Any, where: str) -> str | None:
        if shown == ANYTHING:
            return None if real is not None else f"{where}: null"
        if isinstance(shown, dict) and isinstance(real, dict):
            return self._differs_in_members(shown, real, where)
        if isinstance(shown, list) and isinstance(real, list):
            return self._differs_in_items(shown, real, where)
        if where.rpartition(".")[2] in VARYING and _same_type(shown, real):
            return None
        if where.endswith(".payment_id") and isinstance(shown, int) and isinstance(real, int):
            # The provider's own answers have its ids as numbers.
            return self._differs_in_text(str(shown), str(real), where)
        if isinstance(shown, str) and isinstance(real, str):
            return self._differs_in_text(shown, real, where)
        same = shown == real and type(shown) is type(real)
        return None if same else f"{where}: {real!r} instead of {shown!r}"

    def _differs_in_members(self, shown: dict[str, Any], real: dict[str, Any], where: str) -> str | None:
        wanted = shown.keys() - {ANYTHING}
        if missing := wanted - real.keys():
            return f"{where}: {sorted(missing)} missing from {sorted(real)}"
        if ANYTHING not in shown and (further := real.keys() - wanted):
            return f"{where}: {sorted(further)} not shown"
        return next((d for n in wanted if (d := self._differs(shown[n], real[n], f"{where}.{n}"))), None)

    def _differs_in_items(self, shown: list[Any], real: list[Any], where: str) -> str | None:
        if shown and shown[-1] == ANYTHING:
            shown = shown[:-1]
            real = real[: len(shown)]
        if len(shown) != len(real):
            return f"{where}: {len(real)} members instead of {len(shown)}"
        pairs = enumerate(zip(shown, real, strict=True))
        return next((d for i, (s, r) in pairs if (d := self._differs(s, r, f"{where}[{i}]"))), None)

    def _differs_in_text(self, shown: str, real: str, where: str) -> str | None:
        if any(form.fullmatch(shown) and form.fullmatch(real) for form in FORMS):
            return None
        pattern = re.escape(shown).replace(re.escape(ANYTHING), ".*")
        if re.fullmatch(pattern, real, re.DOTALL):
            return None
        if any(form.fullmatch(shown) and form.fullmatch(real) for form in IDS):
            stands_for = self._real.setdefault(shown, real)
            return None if stands_for == real else f"{where}: {shown} was {stands_for} before, now {real}"
        return f"{where}: {real!r} instead of {shown!r}"


def _same_type(shown: Any, real: Any) -> bool:
    numbers = (int, Decimal)
    return type(shown) is type(real) or (isinstance(shown, numbers) and isinstance(real, numbers))
