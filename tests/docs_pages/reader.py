"""A reader of the published pages with a shell: the variables the pages speak of, and words to set a scene.

Blocks fenced as `sh` are the page's requests and are followed by their answers; blocks fenced as `sh test`
are not published and set the scene with the functions below.
"""

import re
from typing import NamedTuple

FENCE = re.compile(r"^```([a-z]+)(?: (test))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANSWERS = frozenset({"json", "text", "http"})

SCENES = r"""
field() { "$PYTHON" -c '
import json, sys
value = json.load(sys.stdin)
for part in sys.argv[1].split("."):
    value = value[int(part)] if part.isdigit() else value[part]
print(value)' "$1"; }
customer() { curl -sS -H "Authorization: Bearer $KEY" "$@"; }
support() { curl -sS -H "Authorization: Bearer $ADMIN" "$@"; }
sandbox() { curl -sS "$SANDBOX/sandbox/$1" --json "$2" > answer.json; }

# start PRODUCT COIN [KEY]: an order of the customer's with an address to pay to.
start() {
  ORDER=$(customer "$BASE/v1/billing/crypto-checkout" -H "Idempotency-Key: $3" \
    --json "{\"product\": \"$1\", \"pay_currency\": \"$2\"}" | field order_id)
  PAYMENT=$(customer "$BASE/v1/billing/crypto-orders/$ORDER" | field payment_id)
}
# pay [AMOUNT]: the payer sends what is due, or so much.
pay() {
  if [ -n "$1" ]; then sandbox "payments/$PAYMENT/pay" "{\"amount\": $1}"
  else sandbox "payments/$PAYMENT/pay" '{}'; fi
}
pay_again() { sandbox "payments/$PAYMENT/redeposit" "{\"amount\": $1}"; }
provider_says() { sandbox "payments/$PAYMENT/status" "{\"payment_status\": \"$1\"}"; }
notifications_get_lost() { sandbox faults "{\"drop_ipns\": $1}"; }
becomes() {
  until customer "$BASE/v1/billing/crypto-orders/$ORDER" | grep -q "\"status\":\"$1\""; do sleep 0.05; done
}
provider_has() {
  until curl -sS "$SANDBOX/sandbox/payments?payment_id=$PAYMENT" | grep -q "\"$1\""; do sleep 0.05; done
}
cancel() { customer -X POST "$BASE/v1/billing/crypto-orders/$ORDER/cancel" > answer.json; }
flagged() {
  until support "$BASE/v1/admin/flags?state=open&kind=$1" | grep -q "$ORDER"; do sleep 0.05; done
  FLAG=$(support "$BASE/v1/admin/flags?state=open&kind=$1" | field data.0.id)
}
older() { "$PYTHON" -m tests.docs_pages.scene older "$ORDER" "$1"; }
until_dead() { "$PYTHON" -m tests.docs_pages.scene until_dead "$WEBHOOK"; }
# got N: the Nth webhook that came, once it came.
got() { until curl -sf "$HOOK/received/$1"; do sleep 0.05; done; }
endpoint_answers() { curl -sS -X POST "$HOOK/answers/$1" > answer.json; }
# From here on `curl` asks until it is told that it asked too often.
until_limited() {
  curl -s -o answer.json "$BASE/v1/whoami?n=[1-70]"
  curl() {
    until command curl "$@" > answer.json && grep -q rate-limited answer.json; do :; done
    cat answer.json
  }
}
another_customer() {
  ACCOUNT=$(support "$BASE/v1/admin/accounts" --json "{\"name\": \"$1\"}" | field account_id)
  KEY=$(support "$BASE/v1/admin/accounts/$ACCOUNT/keys" --json '{}' | field key)
}
"""


class Step(NamedTuple):
    """A shell block of a page, whether it is published, and the kind and text of the answer after it."""

    commands: str
    published: bool
    kind: str | None = None
    shown: str = ""


def steps_of(page: str) -> list[Step]:
    """The shell blocks of a page in their order; an answer belongs to the block before it."""
    found: list[Step] = []
    for match in FENCE.finditer(page):
        language, is_scene, text = match[1], bool(match[2]), match[3]
        if language == "sh":
            found.append(Step(text, not is_scene))
        elif language in ANSWERS and found and found[-1].kind is None:
            found[-1] = found[-1]._replace(kind=language, shown=text)
    return found
