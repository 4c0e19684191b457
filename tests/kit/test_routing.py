"""Routes: literal before parameter, every method of a path, nothing beside what is declared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_orders.kit.routing import Router

ROUTES = [
    ("GET", "/v1/orders"),
    ("POST", "/v1/orders"),
    ("GET", "/v1/orders/stats"),
    ("GET", "/v1/orders/{id:order_id}"),
    ("PATCH", "/v1/orders/{id:order_id}"),
    ("GET", "/v1/orders/{id:order_id}/receipt.txt"),
    ("GET", "/v1/orders.csv"),
    ("PUT", "/v1/products/{product}"),
]


@pytest.fixture
def router() -> Router[str]:
    router: Router[str] = Router()
    for method, path in ROUTES:
        router.add(method, path, f"{method} {path}")
    return router


@pytest.mark.parametrize(
    ("method", "path", "target", "captured"),
    [
        ("GET", b"/v1/orders", "GET /v1/orders", ()),
        ("HEAD", b"/v1/orders", "GET /v1/orders", ()),
        ("GET", b"/v1/orders/stats", "GET /v1/orders/stats", ()),
        ("GET", b"/v1/orders/x", "GET /v1/orders/{id:order_id}", ("x",)),
        ("PATCH", b"/v1/orders/stats", "PATCH /v1/orders/{id:order_id}", ("stats",)),
        ("GET", b"/v1/orders/x/receipt.txt", "GET /v1/orders/{id:order_id}/receipt.txt", ("x",)),
        ("GET", b"/v1/orders.csv", "GET /v1/orders.csv", ()),
        ("PUT", b"/v1/products/a%2Fb%20c", "PUT /v1/products/{product}", ("a/b c",)),
        ("GET", b"/v1/%6frders", "GET /v1/orders", ()),
    ],
)
def test_a_path_leads_to_its_target(
    router: Router[str], method: str, path: bytes, target: str, captured: tuple[str, ...]
) -> None:
    match = router.find(method, path)
    assert match is not None
    assert match.target == target
    assert match.captured == captured


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", b"/v1/orders", ("GET", "HEAD", "POST")),
        ("POST", b"/v1/orders/stats", ("GET", "HEAD", "PATCH")),
        ("GET", b"/v1/products/x", ("PUT",)),
        ("TRACE", b"/v1/orders.csv", ("GET", "HEAD")),
        ("OPTIONS", b"/v1/orders", ("GET", "HEAD", "POST")),
        ("get", b"/v1/orders.csv", ("GET", "HEAD")),
    ],
)
def test_another_method_is_told_all_that_are_allowed(
    router: Router[str], method: str, path: bytes, allowed: tuple[str, ...]
) -> None:
    match = router.find(method, path)
    assert match is not None
    assert match.target is None
    assert match.allowed == allowed


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"",
        b"/v1",
        b"/v1/orders/",
        b"/v1//orders",
        b"//v1/orders",
        b"/v1/orders/x/",
        b"/v1/orders//receipt.txt",
        b"/V1/orders",
        b"/v1/orders%2Fstats",
        b"/v1/products/",
        b"/v1/products/%FF",
        b"/v1/./orders",
        b"*",
        b"/v1/orders/x/receipt.txt/more",
    ],
)
def test_anything_beside_leads_nowhere(router: Router[str], path: bytes) -> None:
    assert router.find("GET", path) is None


def test_a_place_is_taken_once() -> None:
    router: Router[int] = Router()
    router.add("GET", "/v1/{a}/x", 1)
    router.add("POST", "/v1/{b}/x", 2)
    with pytest.raises(TypeError, match="declared twice"):
        router.add("GET", "/v1/{c}/x", 3)


@pytest.mark.parametrize("path", ["v1", "/v1/{", "/v1/{a b}", "/v1/x{a}", "/v1/{A}"])
def test_an_odd_declaration_fails_at_start_up(path: str) -> None:
    router: Router[int] = Router()
    with pytest.raises(TypeError):
        router.add("GET", path, 1)


@given(st.binary(max_size=60))
def test_no_path_makes_the_router_fail(path: bytes) -> None:
    router: Router[int] = Router()
    router.add("GET", "/v1/{a}/x", 1)
    router.find("GET", b"/" + path)
