"""Generated requests to every documented operation: no failures of ours, nothing that is not documented."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from crypto_orders.kit import log
from crypto_orders.store.connection import Pool
from tests.support.service import Client, Service, running

EXAMPLES_PER_OPERATION = 10
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture
async def service(database_url: str, pool: Pool, tmp_path: Any) -> AsyncGenerator[Service]:
    log.configure(level="critical")
    async with running(database_url, pool, tmp_path, workers=False) as service:
        yield service


def failures(service: Service, mode: GenerationMode, customer: Client, admin: Client) -> dict[str, str]:
    """What went wrong, by operation; each is tried with generated requests of the mode."""
    schema = schemathesis.openapi.from_url(f"{service.base_url}/openapi.json")
    found: dict[str, str] = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        client = admin if operation.path.startswith("/v1/admin") else customer
        try:
            _try_operation(operation, mode, client)
        except hypothesis.errors.Unsatisfiable:
            # Nothing can be sent wrongly to an operation that takes nothing.
            continue
        except (AssertionError, schemathesis.errors.SchemathesisError, BaseExceptionGroup) as error:
            found[f"{operation.method} {operation.path}"] = str(error)
    return found


def _try_operation(operation: Any, mode: GenerationMode, client: Client) -> None:
    @hypothesis.settings(
        max_examples=EXAMPLES_PER_OPERATION,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def try_case(case: Any) -> None:
        answer = case.call(base_url=client.origin, headers=client.headers)
        case.validate_response(answer, checks=CHECKS)

    try_case()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
async def test_no_generated_request_breaks_anything(service: Service, mode: GenerationMode) -> None:
    customer = await service.customer("account_owner")
    admin = await service.admin("admin:read", "admin:write", "admin:override")
    found = await asyncio.to_thread(failures, service, mode, customer, admin)
    assert found == {}
