"""Describe typed endpoints as an OpenAPI 3.1 document, from what they declare and nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, cast

import msgspec

from crypto_orders.kit.encoding import JSON_MEDIA_TYPE
from crypto_orders.kit.http import (
    ANY_KEY,
    PUBLIC,
    Endpoint,
    HeaderParameter,
    PathParameter,
    RouteGroup,
    path_parameters,
    route_name,
)
from crypto_orders.kit.problem import KINDS, PROBLEM_MEDIA_TYPE

Json = dict[str, Any]

_COMPONENT: Final = "#/components/schemas/{name}"
_UUID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_ORDER_ID: Final = "ord_[0-7][0-9a-hjkmnp-tv-z]{25}"

_PROBLEM: Final[Json] = {
    "title": "Problem",
    "description": "Every error, by RFC 9457. Members beyond the first five depend on the type.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "description": "The address of the error's description."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "The request id, as in the header x-request-id."},
        "issues": {
            "type": "object",
            "description": "With validation-failed: what is wrong with the input and with each field.",
            "properties": {
                "formErrors": {"type": "array", "items": {"type": "string"}},
                "fieldErrors": {
                    "type": "object",
                    "additionalProperties": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
        "scope": {"type": "string", "description": "With forbidden: the scope that is missing."},
        "resource": {"type": "string", "description": "With conflict: what stands in the way."},
        "field": {"type": "string", "description": "With conflict: the field of it that decides."},
        "limit": {"type": "integer", "description": "With conflict: the bound that was reached."},
        "retry_after_seconds": {"type": "integer", "description": "With rate-limited."},
    },
}

_HEADERS: Final[Json] = {
    "x-request-id": {
        "description": "The id of the request; one of sane form that the client sent is kept.",
        "schema": {"type": "string"},
    },
    "ratelimit-limit": {"description": "The size of the key's bucket.", "schema": {"type": "integer"}},
    "ratelimit-remaining": {"description": "Requests left in it.", "schema": {"type": "integer"}},
    "ratelimit-reset": {
        "description": "Seconds until the bucket is full again.",
        "schema": {"type": "integer"},
    },
    "retry-after": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
}
_RATE_HEADERS: Final = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")
_RETRY_STATUSES: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


def document(
    groups: Sequence[RouteGroup[Any, Any]],
    *,
    title: str,
    version: str,
    server_url: str,
    description: str = "",
    common_headers: Sequence[HeaderParameter] = (),
) -> Json:
    """The document of all endpoints that are to be documented.

    ``common_headers`` are request headers that every endpoint with a scope takes.
    """
    endpoints = [endpoint for group in groups for endpoint in group.endpoints if endpoint.documented]
    schemas, components = _schemas_of(endpoints)
    paths: Json = {}
    for endpoint, operation_id in zip(endpoints, _operation_ids(endpoints), strict=True):
        operation = _operation(endpoint, operation_id, schemas, components, common_headers)
        paths.setdefault(route_name(endpoint.path), {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description},
        "servers": [{"url": server_url}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": _PROBLEM},
            "headers": _HEADERS,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _schemas_of(endpoints: Sequence[Endpoint[Any, Any, Any, Any]]) -> tuple[dict[Any, Json], Json]:
    """The schema of every type that endpoints name, and the components these refer to."""
    kinds: list[Any] = []
    for endpoint in endpoints:
        for kind in (endpoint.body, endpoint.query, endpoint.response):
            if kind not in {None, bytes} and kind not in kinds:
                kinds.append(kind)
    made, components = msgspec.json.schema_components(kinds, ref_template=_COMPONENT)
    return (
        {kind: _with_numbers(schema) for kind, schema in zip(kinds, made, strict=True)},
        _with_numbers(components),
    )


def _with_numbers(schema: Any) -> Any:  # noqa: ANN401 - any part of a JSON document
    """The same schema with decimals as the numbers that we write them as."""
    if isinstance(schema, dict):
        members = cast("Json", schema)
        if members.get("format") == "decimal":
            kept = {name: value for name, value in members.items() if name not in {"type", "format"}}
            return {**kept, "type": "number"}
        return {name: _with_numbers(value) for name, value in members.items()}
    if isinstance(schema, (list, tuple)):
        return [_with_numbers(value) for value in cast("Sequence[Any]", schema)]
    return schema


def _operation_ids(endpoints: Sequence[Endpoint[Any, Any, Any, Any]]) -> Iterator[str]:
    """The handlers' names, told apart by a number where two share one."""
    used: dict[str, int] = {}
    for endpoint in endpoints:
        name: str = getattr(endpoint.handler, "__name__", "operation")
        used[name] = used.get(name, 0) + 1
        yield name if used[name] == 1 else f"{name}_{used[name]}"


def _operation(
    endpoint: Endpoint[Any, Any, Any, Any],
    operation_id: str,
    schemas: Mapping[Any, Json],
    components: Json,
    common_headers: Sequence[HeaderParameter],
) -> Json:
    is_public = endpoint.scope == PUBLIC
    headers = [*endpoint.headers, *(() if is_public else common_headers)]
    operation: Json = {
        "operationId": operation_id,
        "summary": endpoint.summary,
        "description": _described(endpoint),
        "tags": list(endpoint.tags),
        "parameters": [
            *map(_path_parameter, path_parameters(endpoint.path)),
            *(_query_parameters(schemas[endpoint.query], components) if endpoint.query else ()),
            *map(_header_parameter, headers),
        ],
        "responses": {
            str(endpoint.status): _success(endpoint, schemas),
            **{str(status): _error(slugs, status) for status, slugs in _errors(endpoint).items()},
        },
        "security": [] if is_public else [{"key": [] if endpoint.scope == ANY_KEY else [endpoint.scope]}],
    }
    if endpoint.body is bytes:
        operation["requestBody"] = {"content": {"application/octet-stream": {}}, "required": True}
    elif endpoint.body is not None:
        schema = schemas[endpoint.body]
        operation["requestBody"] = {
            "content": {JSON_MEDIA_TYPE: {"schema": schema}},
            "required": bool(_resolve(schema, components).get("required")),
        }
    return operation


def _described(endpoint: Endpoint[Any, Any, Any, Any]) -> str:
    if endpoint.scope == PUBLIC:
        needed = ""
    elif endpoint.scope == ANY_KEY:
        needed = "Any valid key opens it."
    else:
        needed = f"Needs a key with the scope `{endpoint.scope}`."
    return "\n\n".join(part for part in (endpoint.description, needed) if part)


def _path_parameter(parameter: PathParameter) -> Json:
    match parameter.kind:
        case "text":
            schema: Json = {"type": "string", "minLength": 1, "maxLength": 200}
        case "order_id":
            schema = {"type": "string", "pattern": f"^{_ORDER_ID}$"}
        case "uuid":
            schema = {"type": "string", "format": "uuid", "pattern": f"^{_UUID}$"}
        case prefix:
            schema = {"type": "string", "pattern": f"^{prefix}_{_UUID}$"}
    return {"name": parameter.name, "in": "path", "required": True, "schema": schema}


def _query_parameters(schema: Json, components: Json) -> list[Json]:
    resolved = _resolve(schema, components)
    required: list[str] = resolved.get("required", [])
    properties: dict[str, Json] = resolved.get("properties", {})
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": member.get("description", ""),
            "schema": _query_schema(member, components),
        }
        for name, member in properties.items()
    ]


def _query_schema(member: Json, components: Json) -> Json:
    """A parameter is left out rather than null, and empty values are refused."""
    choices: list[Json] = [each for each in member.get("anyOf", ()) if each != {"type": "null"}]
    schema: Json = dict(_resolve(choices[0], components) if choices else _resolve(member, components))
    default = member.get("default")
    schema.pop("default", None)
    if default is not None:
        schema["default"] = default
    if schema.get("type") == "string":
        schema.setdefault("minLength", 1)
    return schema


def _header_parameter(header: HeaderParameter) -> Json:
    return {
        "name": header.name,
        "in": "header",
        "required": False,
        "description": header.description,
        "schema": dict(header.schema),
    }


def _resolve(schema: Json, components: Json) -> Json:
    reference = schema.get("$ref")
    return schema if reference is None else components[str(reference).rpartition("/")[2]]


def _success(endpoint: Endpoint[Any, Any, Any, Any], schemas: Mapping[Any, Json]) -> Json:
    content: Json = {media_type: {"schema": {"type": "string"}} for media_type in endpoint.media_types}
    if endpoint.response is not None:
        content[JSON_MEDIA_TYPE] = {"schema": schemas[endpoint.response]}
    answer: Json = {"description": HTTPStatus(endpoint.status).phrase, "headers": _response_headers(endpoint)}
    if content:
        answer["content"] = content
    return answer


def _response_headers(endpoint: Endpoint[Any, Any, Any, Any]) -> Json:
    names = ("x-request-id", *(() if endpoint.scope == PUBLIC else _RATE_HEADERS))
    own = {
        name: {"description": text, "schema": {"type": "string"}}
        for name, text in endpoint.response_headers.items()
    }
    return {**{name: _header_reference(name) for name in names}, **own}


def _header_reference(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}


def _errors(endpoint: Endpoint[Any, Any, Any, Any]) -> dict[int, list[str]]:
    """The statuses an endpoint may fail with, each with its slugs."""
    # A head or a query that cannot be read is refused on every route.
    slugs = ["bad-request", *endpoint.problems]
    if endpoint.scope != PUBLIC:
        slugs += ["unauthorized", "invalid-key", "revoked-key", "expired-key", "forbidden", "rate-limited"]
    if (endpoint.body is not None and endpoint.body_error == "validation-failed") or (
        endpoint.query is not None and endpoint.query_error == "validation-failed"
    ):
        slugs.append("validation-failed")
    if endpoint.body is not None:
        slugs.append("payload-too-large")
    if path_parameters(endpoint.path):
        slugs.append("not-found")
    by_status: dict[int, list[str]] = {}
    for slug in dict.fromkeys((*slugs, "internal")):
        by_status.setdefault(KINDS[slug].status, []).append(slug)
    by_status[HTTPStatus.SERVICE_UNAVAILABLE] = ["internal"]
    return dict(sorted(by_status.items()))


def _error(slugs: Sequence[str], status: int) -> Json:
    headers = {"x-request-id": _header_reference("x-request-id")}
    if status in _RETRY_STATUSES:
        headers["retry-after"] = _header_reference("retry-after")
    return {
        "description": ", ".join(f"`{slug}`" for slug in slugs),
        "headers": headers,
        "content": {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": _COMPONENT.format(name="Problem")}}},
    }
