"""Guessing is hard: the same work and answer for everybody, few hashes at once, codes that count once."""

import asyncio
import threading
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from pyotp.totp import TOTP

from crypto_orders.domain.errors import BadRequest, Unavailable
from crypto_orders.domain.operator import checked_email, checked_password, normal_email
from crypto_orders.kit.sealing import Sealer
from crypto_orders.store.connection import Pool
from crypto_orders.usecases import operator_accounts as accounts
from crypto_orders.usecases import second_factor
from crypto_orders.usecases.passwords import WAITING_MAX, Passwords
from tests.support.operators import PASSWORD, SIGN_IN, Desk, make_operator, signed_in
from tests.support.service import IN_A_TEST, QUICK_HASHER, SEALING_KEY, Service, eventually, running

EMAIL = "ann@example.com"


class CountingHasher(PasswordHasher):
    """A quick hasher that remembers what it was asked to verify."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verified: list[str] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002 - the library's own name
        self.verified.append(str(hash))
        return super().verify(hash, password)


class HeldHasher(CountingHasher):
    """A hasher whose work ends when the test says so, and that counts how many work at once."""

    def __init__(self) -> None:
        super().__init__()
        self.may_end = threading.Event()
        self.lock = threading.Lock()
        self.running = 0
        self.most = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.may_end.wait(30)
        try:
            return super().verify(hash, password)
        finally:
            with self.lock:
                self.running -= 1


async def attempts(service: Service) -> list[tuple[str, str | None]]:
    """The results of all sign-ins so far, with their reasons."""
    rows = await service.rows(
        "SELECT result, detail->>'why' AS why FROM audit_log WHERE action = 'operator.sign_in'"
        " ORDER BY at, audit_id"
    )
    return [(row["result"], row["why"]) for row in rows]


async def test_nobody_learns_whether_an_address_is_known(
    database_url: str, pool: Pool, tmp_path: Path
) -> None:
    hasher = CountingHasher()
    async with running(database_url, pool, tmp_path, workers=False, hasher=hasher) as service:
        desk = Desk(service.session, service.base_url)
        unknown = await desk.sign_in(EMAIL, "a wrong password")
        assert (unknown.status, desk.cookies) == (401, {})
        await make_operator(pool, EMAIL)
        wrong = await desk.sign_in(EMAIL, "a wrong password")
        await make_operator(pool, "other@example.com")
        await accounts.disable(pool, EMAIL, IN_A_TEST)
        disabled = await desk.sign_in(EMAIL)
        assert [reply.status for reply in (wrong, disabled)] == [401, 401]
        assert unknown.body == wrong.body == disabled.body
        assert "The e-mail address, the password or the code is wrong." in unknown.body.decode()
        # A hash of the same cost was computed each time; the unknown address has a decoy.
        costs = [encoded.split("$")[1:4] for encoded in hasher.verified]
        assert costs == [["argon2id", "v=19", "m=8,t=1,p=1"]] * 3
        assert await attempts(service) == [
            ("refused", "unknown address"),
            ("refused", "wrong password"),
            ("refused", "disabled"),
        ]
        assert (await desk.sign_in("no address", "a wrong password")).status == 401
        assert len(hasher.verified) == 4
        [row] = await service.rows(
            "SELECT actor, target FROM audit_log WHERE target IS NULL AND action = 'operator.sign_in'"
        )
        assert row["actor"] == "nobody"


async def test_a_hash_costs_what_the_standard_recommends() -> None:
    async with Passwords() as passwords:
        encoded = await passwords.hash(PASSWORD)
        assert encoded.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
        assert await passwords.matches(encoded, PASSWORD)
        assert passwords.is_weak(QUICK_HASHER.hash(PASSWORD))
        assert not passwords.is_weak(encoded)


async def test_a_hash_of_a_lower_cost_is_made_anew_at_the_next_sign_in(
    database_url: str, pool: Pool, tmp_path: Path
) -> None:
    async with running(
        database_url, pool, tmp_path, workers=False, hasher=PasswordHasher(2, 16, 1)
    ) as service:
        await make_operator(pool, EMAIL)
        before = await service.rows("SELECT password_hash, password_changed_at FROM operators")
        desk = Desk(service.session, service.base_url)
        assert (await desk.sign_in(EMAIL)).status == 303
        after = await service.rows("SELECT password_hash, password_changed_at FROM operators")
        assert before[0]["password_hash"].split("$")[3] == "m=8,t=1,p=1"
        assert after[0]["password_hash"].split("$")[3] == "m=16,t=2,p=1"
        assert after[0]["password_changed_at"] == before[0]["password_changed_at"]
        assert (await desk.sign_in(EMAIL)).status == 303


async def test_however_many_sign_in_four_hashes_are_made_at_once(
    database_url: str, pool: Pool, tmp_path: Path
) -> None:
    hasher = HeldHasher()
    async with running(database_url, pool, tmp_path, workers=False, hasher=hasher) as service:
        await make_operator(pool, EMAIL)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(Desk(service.session, service.base_url).sign_in(EMAIL)) for _ in range(50)
            ]

            async def four_work() -> bool:
                return hasher.running == 4

            await eventually(four_work)
            # Everybody else is answered meanwhile, and giving up frees no place of a hash still running.
            assert (await service.client().get("/readyz")).status == 200
            tasks[0].cancel()
            assert (await service.client().get("/livez")).status == 200
            hasher.may_end.set()
        assert hasher.most == 4
        assert [task.result().status for task in tasks[1:]] == [303] * 49


async def test_a_crowd_of_strangers_is_told_to_come_back() -> None:
    hasher = HeldHasher()
    async with Passwords(hasher, at_once=1) as passwords, asyncio.TaskGroup() as group:
        waiting = [group.create_task(passwords.matches(None, "a guess")) for _ in range(1 + WAITING_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await passwords.matches(None, "a guess")
        hasher.may_end.set()
        assert await asyncio.gather(*waiting) == [False] * (1 + WAITING_MAX)
        assert await passwords.matches(None, "a guess") is False


async def test_guessing_is_slowed_for_an_address_and_for_a_place(
    database_url: str, pool: Pool, tmp_path: Path
) -> None:
    hasher = CountingHasher()
    changes = {"rate_limit_failure_capacity": "60"}
    async with running(database_url, pool, tmp_path, workers=False, hasher=hasher, **changes) as service:
        await make_operator(pool, EMAIL)
        desk = Desk(service.session, service.base_url)
        statuses = [(await desk.sign_in(EMAIL, "a wrong password")).status for _ in range(5)]
        assert statuses == [401] * 5
        limited = await desk.sign_in(EMAIL)
        assert limited.status == 429
        assert 1 <= int(limited.headers["Retry-After"]) <= 12
        assert "Too many attempts" in limited.body.decode()
        assert len(hasher.verified) == 5
        # Others go on, until the place they all come from is spent.
        others = [(await desk.sign_in(f"{n}@example.com", "wrong")).status for n in range(16)]
        assert others[:14] == [401] * 14
        assert 429 in others[14:]
        # What anybody can cause without an end is written down once for the place, as something to look into.
        kept = await attempts(service)
        assert len(kept) == len(hasher.verified) + 1
        assert kept.count(("refused", "too many attempts")) == 1


async def test_a_stranger_elsewhere_locks_no_operator_out(
    database_url: str, pool: Pool, tmp_path: Path
) -> None:
    changes = {"rate_limit_failure_capacity": "60", "trusted_proxies": "127.0.0.1"}
    async with running(database_url, pool, tmp_path, workers=False, **changes) as service:
        await make_operator(pool, EMAIL)
        desk = Desk(service.session, service.base_url)
        guess = {"email": EMAIL, "password": "a wrong password"}
        tried = [(await desk.send(SIGN_IN, guess, X_Forwarded_For="203.0.113.9")).status for _ in range(40)]
        assert tried.count(401) < 10
        assert tried[-1] == 429
        right = {"email": EMAIL, "password": PASSWORD}
        assert (await desk.send(SIGN_IN, right, X_Forwarded_For="198.51.100.7")).status == 303


async def set_up(desk: Desk, *, code_of: str | None = None) -> TOTP:
    """Set up a second factor as its page asks."""
    page = (await desk.get("/admin/account/second-factor")).body.decode()
    assert "<svg" in page
    offer = page.split('name="offer" value="')[1].split('"')[0]
    secret = page.split('Key: <bdi class="mono" dir="ltr">')[1].split("<")[0].replace(" ", "")
    generator = TOTP(secret)
    code = code_of or generator.now()
    reply = await desk.act("/admin/account/second-factor", offer=offer, code=code, password=PASSWORD)
    assert reply.status == (400 if code_of else 303), reply.body
    return generator


async def test_a_second_factor_is_asked_for_once_it_is_set_up_and_each_code_counts_once(
    service: Service,
) -> None:
    desk = await signed_in(service, "support", EMAIL)
    await set_up(desk, code_of="000000x")
    [row] = await service.rows("SELECT totp_sealed FROM operators")
    assert row["totp_sealed"] is None
    generator = await set_up(desk)
    [row] = await service.rows("SELECT totp_sealed, totp_last_step FROM operators")
    assert generator.secret.encode() not in row["totp_sealed"]
    new = Desk(service.session, service.base_url)
    used = generator.generate_otp(row["totp_last_step"])
    for code in ("", "123", "abcdef", used):
        assert (await new.sign_in(EMAIL, code=code)).status == 401
    # Steps cannot be waited for: the last one used is put back instead.
    await service.rows("UPDATE operators SET totp_last_step = totp_last_step - 5")
    fresh = generator.now()
    assert (await new.sign_in(EMAIL, code=f"{fresh[:3]} {fresh[3:]}")).status == 303
    assert (await new.sign_in(EMAIL, code=fresh)).status == 401
    assert (await new.sign_in(EMAIL, "a wrong password", code=generator.now())).status == 401
    assert (await attempts(service))[1:] == [("refused", "wrong or used code")] * 4 + [
        ("signed_in", None),
        ("refused", "wrong or used code"),
        ("refused", "wrong password"),
    ]


async def test_a_second_factor_is_taken_away_by_password_and_code_together(service: Service) -> None:
    desk = await signed_in(service, "support", EMAIL)
    generator = await set_up(desk)
    remove = "/admin/account/second-factor/remove"
    [row] = await service.rows("SELECT totp_last_step FROM operators")
    used = generator.generate_otp(row["totp_last_step"])
    assert (await desk.act(remove, password=PASSWORD)).status == 400
    assert (await desk.act(remove, password=PASSWORD, code=used)).status == 400
    await service.rows("UPDATE operators SET totp_last_step = totp_last_step - 5")
    assert (await desk.act(remove, password="wrong", code=generator.now())).status == 400
    new = Desk(service.session, service.base_url)
    assert (await new.sign_in(EMAIL)).status == 401
    assert (await desk.act(remove, password=PASSWORD, code=generator.now())).status == 303
    assert (await new.sign_in(EMAIL)).status == 303
    results = await service.rows(
        "SELECT result FROM audit_log WHERE action = 'operator.remove_second_factor' ORDER BY at, audit_id"
    )
    assert [row["result"] for row in results] == ["refused"] * 3 + ["second_factor_removed"]


async def test_a_secret_in_another_operators_row_lets_nobody_in_and_resealing_keeps_the_right_ones(
    service: Service,
) -> None:
    generator = await set_up(await signed_in(service, "support", EMAIL))
    await signed_in(service, "support", "bob@example.com")
    await service.rows(
        "UPDATE operators SET totp_sealed = (SELECT totp_sealed FROM operators WHERE email = $1)"
        " WHERE email = 'bob@example.com'",
        EMAIL,
    )
    await service.rows("UPDATE operators SET totp_last_step = 1")
    desk = Desk(service.session, service.base_url)
    assert (await desk.sign_in("bob@example.com", code=generator.now())).status == 401
    newer = Sealer("f" * 64 + "," + SEALING_KEY)
    done = await accounts.reseal(service.pool, newer)
    [bob] = await service.rows("SELECT operator_id FROM operators WHERE email = 'bob@example.com'")
    assert (done.operators, done.unreadable) == (1, (bob["operator_id"],))
    [ann] = await service.rows("SELECT operator_id, totp_sealed FROM operators WHERE email = $1", EMAIL)
    assert second_factor.open_sealed(newer, ann["operator_id"], ann["totp_sealed"]) == generator.secret


async def test_a_browser_left_open_changes_no_password_without_knowing_it(service: Service) -> None:
    desk = await signed_in(service, "viewer", EMAIL)
    change = "/admin/account/password"
    new = "another four words"
    refused = await desk.act(change, present="wrong", wanted=new, repeated=new)
    assert (refused.status, "The present password is wrong." in refused.body.decode()) == (400, True)
    refused = await desk.act(change, present=PASSWORD, wanted=new, repeated=new + "x")
    assert (refused.status, "the same way twice" in refused.body.decode()) == (400, True)
    refused = await desk.act(change, present=PASSWORD, wanted="short", repeated="short")
    assert (refused.status, "12 to 200 characters" in refused.body.decode()) == (400, True)
    assert (await Desk(service.session, service.base_url).sign_in(EMAIL)).status == 303


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (" Ann@Example.com ", "ann@example.com"),
        ("ann", None),
        ("ann@", None),
        ("a@b@c", None),
        ("a b@c", None),
        ("a\x07b@c", None),
        ("a" * 200 + "@b", None),
        ("", None),
    ],
)
def test_an_address_is_kept_in_one_form(typed: str, kept: str | None) -> None:
    assert normal_email(typed) == kept
    if kept is None:
        with pytest.raises(BadRequest):
            checked_email(typed)


@pytest.mark.parametrize("password", ["", "eleven char", "x" * 201, "ababababababab", "Ann@Example.com"])
def test_a_password_that_is_easy_to_guess_is_refused(password: str) -> None:
    with pytest.raises(BadRequest):
        checked_password(password, "ann@example.com")


def test_a_password_counts_however_a_keyboard_writes_its_letters() -> None:
    assert checked_password("Zu\u0308rich ist scho\u0308n", EMAIL) == "Z\u00fcrich ist sch\u00f6n"
