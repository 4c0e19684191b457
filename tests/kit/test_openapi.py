"""The API document: complete, resolvable, and true to what the application does."""

import json
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
import pytest
from schemathesis import openapi as schemathesis_openapi

from crypto_orders.kit.encoding import Instant
from crypto_orders.kit.http import PUBLIC, Call, Endpoint, HeaderParameter, RouteGroup
from crypto_orders.kit.openapi import document


class Created(msgspec.Struct):
    """What a checkout answers."""

    order_id: str
    amount: Decimal | None
    at: Instant


class Checkout(msgspec.Struct):
    product: str
    pay_currency: str | None = None


class Filters(msgspec.Struct):
    days: int
    limit: Annotated[int, msgspec.Meta(ge=1, le=100, description="Rows of a page.")] = 50
    status: Literal["pending", "paid"] | None = None
    cursor: Annotated[str, msgspec.Meta(max_length=512)] | None = None
    since: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


async def checkout(call: Call[None, str, Any, Any]) -> None:
    del call


async def authenticate(call: Call[None, str, Any, Any], scope: str) -> str:
    del call
    return scope


def endpoint(method: str, path: str, **declared: Any) -> Endpoint[None, str, Any, Any]:
    return Endpoint(method=method, path=path, handler=checkout, **declared)


GROUP = RouteGroup(
    deps=None,
    authenticate=authenticate,
    scopes=frozenset({"admin:billing"}),
    endpoints=[
        endpoint(
            "POST",
            "/v1/checkout",
            scope="admin:billing",
            body=Checkout,
            response=Created,
            status=201,
            body_error="validation-failed",
            problems=("conflict",),
            headers=(HeaderParameter("Idempotency-Key", "Makes repeats safe."),),
            response_headers={"idempotent-replayed": "1 on a replay."},
        ),
        endpoint("GET", "/v1/orders/{order_id:order_id}/x/{hook:whk}", scope="admin:billing", query=Filters,
                 response=list[Created]),
        endpoint("GET", "/v1/orders.csv", scope=PUBLIC, media_types=("text/csv",)),
        endpoint("DELETE", "/v1/x", scope=PUBLIC, status=204),
        endpoint("GET", "/internal", scope=PUBLIC, documented=False),
    ],
)  # fmt: skip


@pytest.fixture
def described() -> dict[str, Any]:
    made = document(
        [GROUP],
        title="Orders",
        version="1",
        server_url="http://127.0.0.1",
        common_headers=(HeaderParameter("X-Account", "The account meant."),),
    )
    return json.loads(json.dumps(made))


def test_every_documented_route_is_there_and_no_other(described: dict[str, Any]) -> None:
    assert {(path, method) for path, methods in described["paths"].items() for method in methods} == {
        ("/v1/checkout", "post"),
        ("/v1/orders/{order_id}/x/{hook}", "get"),
        ("/v1/orders.csv", "get"),
        ("/v1/x", "delete"),
    }


def test_operation_ids_are_unique(described: dict[str, Any]) -> None:
    found = [
        operation["operationId"] for methods in described["paths"].values() for operation in methods.values()
    ]
    assert sorted(found) == ["checkout", "checkout_2", "checkout_3", "checkout_4"]


def test_every_error_status_is_documented_as_a_problem(described: dict[str, Any]) -> None:
    responses = described["paths"]["/v1/checkout"]["post"]["responses"]
    assert set(responses) == {"201", "400", "401", "403", "409", "413", "429", "500", "503"}
    for status, response in responses.items():
        if status != "201":
            assert response["content"] == {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            }
    assert "validation-failed" in responses["400"]["description"]
    assert "retry-after" in responses["503"]["headers"]


def test_public_routes_document_no_key(described: dict[str, Any]) -> None:
    operation = described["paths"]["/v1/x"]["delete"]
    assert operation["security"] == []
    assert set(operation["responses"]) == {"204", "400", "500", "503"}
    assert "content" not in operation["responses"]["204"]


def test_parameters_say_what_is_taken(described: dict[str, Any]) -> None:
    parameters = described["paths"]["/v1/orders/{order_id}/x/{hook}"]["get"]["parameters"]
    schemas = {(each["in"], each["name"]): (each["required"], each["schema"]) for each in parameters}
    assert schemas["path", "order_id"] == (
        True,
        {"type": "string", "pattern": "^ord_[0-7][0-9a-hjkmnp-tv-z]{25}$"},
    )
    assert schemas["query", "days"] == (True, {"type": "integer"})
    assert schemas["query", "limit"][1]["maximum"] == 100
    assert schemas["query", "limit"][1]["default"] == 50
    assert schemas["query", "status"] == (False, {"enum": ["paid", "pending"]})
    assert schemas["query", "cursor"] == (False, {"type": "string", "maxLength": 512, "minLength": 1})
    assert schemas["query", "since"][1]["format"] == "date-time"
    assert schemas["header", "X-Account"][0] is False


def test_amounts_are_numbers_and_instants_are_date_times(described: dict[str, Any]) -> None:
    properties = described["components"]["schemas"]["Created"]["properties"]
    assert properties["amount"] == {"anyOf": [{"type": "number"}, {"type": "null"}]}
    assert properties["at"] == {"type": "string", "format": "date-time"}


def test_every_reference_resolves(described: dict[str, Any]) -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [each for value in node.values() for each in references(value)]
        if isinstance(node, list):
            return [each for value in node for each in references(value)]
        return []

    found = references(described)
    assert found
    for reference in found:
        node: Any = described
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_schemathesis_can_work_from_it(described: dict[str, Any]) -> None:
    schema = schemathesis_openapi.from_dict(described)
    assert len([operation.ok() for operation in schema.get_all_operations()]) == 4
