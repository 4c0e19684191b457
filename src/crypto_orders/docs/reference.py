"""Makes the API reference of the OpenAPI document: operations by tag, and the shapes that they speak in."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from crypto_orders.docs.markdown import Example

Json = Mapping[str, Any]

METHODS: Final = ("get", "post", "put", "patch", "delete")
OPENED_BY_ANY_KEY: Final = "any valid key"
OPENED_BY_NOBODY: Final = "none: no key is needed"

_PARSER: Final = MarkdownIt("commonmark", {"html": False})
_SLUG = re.compile(r"`([a-z-]+)`")
_PATH_PARAMETER = re.compile(r"\\\{[a-z_]+\\\}")
# The scope has a place of its own here.
_SCOPE_SENTENCE = re.compile(r"(?:Needs a key with the scope `[a-z:_]+`|Any valid key opens it)\.\Z")
_UUID_WORDS: Final = "[0-9a-f]{8}-"


class Field(NamedTuple):
    """A parameter or a member of a shape."""

    name: str
    where: str
    kind: Markup
    required: bool
    description: Markup


class Result(NamedTuple):
    """One status that an operation answers with: a shape, or the slugs of errors."""

    status: str
    description: str
    kind: Markup
    slugs: tuple[str, ...]


class Shown(NamedTuple):
    """Where a page shows a request of an operation."""

    url: str
    title: str
    example: Example


class Operation(NamedTuple):
    """One method on one path."""

    anchor: str
    method: str
    path: str
    summary: str
    description: Markup
    scope: str
    parameters: tuple[Field, ...]
    body: Markup | None
    body_required: bool
    results: tuple[Result, ...]
    shown: tuple[Shown, ...]


class Shape(NamedTuple):
    """A JSON object with its members."""

    anchor: str
    name: str
    description: Markup
    fields: tuple[Field, ...]


class Reference(NamedTuple):
    """The whole API: operations by tag in the document's order, and shapes by name."""

    tags: Mapping[str, tuple[Operation, ...]]
    shapes: tuple[Shape, ...]

    @property
    def operations(self) -> Iterable[Operation]:
        """All operations."""
        return (operation for operations in self.tags.values() for operation in operations)


def reference(document: Json, shown: Sequence[Shown]) -> Reference:
    """The reference of an OpenAPI document; `shown` are the requests that the pages show."""
    tags: dict[str, list[Operation]] = {}
    for path, methods in cast("Mapping[str, Json]", document["paths"]).items():
        for method in METHODS:
            if method in methods:
                operation = methods[method]
                tag = next(iter(operation["tags"]), "Further")
                tags.setdefault(tag, []).append(_operation(method, path, operation, shown))
    schemas = cast("Mapping[str, Json]", document["components"]["schemas"])
    shapes = tuple(_shape(name, schemas[name]) for name in sorted(schemas, key=str.lower))
    return Reference({tag: tuple(found) for tag, found in tags.items()}, shapes)


def path_pattern(path: str) -> re.Pattern[str]:
    """What matches the requests of a path with parameters."""
    return re.compile(_PATH_PARAMETER.sub("[^/]+", re.escape(path)))


def _operation(method: str, path: str, operation: Json, shown: Sequence[Shown]) -> Operation:
    body: Json | None = operation.get("requestBody")
    pattern = path_pattern(path)
    return Operation(
        anchor=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"] or operation["operationId"],
        description=_words(_SCOPE_SENTENCE.sub("", operation["description"])),
        scope=_scope(operation["security"]),
        parameters=tuple(_parameter(each) for each in operation["parameters"]),
        body=None if body is None else _content(body["content"]),
        body_required=body is not None and body["required"],
        results=tuple(_result(status, each) for status, each in operation["responses"].items()),
        shown=tuple(
            each
            for each in shown
            if each.example.method == method.upper() and pattern.fullmatch(each.example.path)
        ),
    )


def _scope(security: Sequence[Mapping[str, Sequence[str]]]) -> str:
    if not security:
        return OPENED_BY_NOBODY
    return next(iter(security[0]["key"]), OPENED_BY_ANY_KEY)


def _parameter(parameter: Json) -> Field:
    return Field(
        name=parameter["name"],
        where=parameter["in"],
        kind=_kind(parameter["schema"]),
        required=parameter["required"],
        description=_words(parameter.get("description", "")),
    )


def _result(status: str, response: Json) -> Result:
    slugs = tuple(_SLUG.findall(response["description"]))
    described = "" if slugs else response["description"]
    kind = Markup("") if slugs else _content(response.get("content", {}))
    return Result(status, described, kind, slugs)


def _content(content: Mapping[str, Json]) -> Markup:
    kinds = [
        _kind(each["schema"]) if media_type.endswith("json") else Markup("<code>{}</code>").format(media_type)
        for media_type, each in content.items()
        if not media_type.endswith("json") or "schema" in each
    ]
    return Markup(" or ").join(kinds)


def _shape(name: str, schema: Json) -> Shape:
    required: Sequence[str] = schema.get("required", ())
    members: Mapping[str, Json] = schema.get("properties", {})
    fields = tuple(
        Field(
            name=member,
            where="",
            kind=_kind(kind),
            required=member in required,
            description=_words(kind.get("description", "")),
        )
        for member, kind in members.items()
    )
    description = _words(schema.get("description", ""))
    if "enum" in schema:
        description += Markup(" ") + _kind(schema)
    return Shape(f"shape-{name}", name, description, fields)


def _kind(schema: Json) -> Markup:
    """What a value may be, in words, with links to shapes."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return Markup('<a href="#shape-{0}">{0}</a>').format(name)
    if "anyOf" in schema:
        return Markup(" or ").join(_kind(each) for each in cast("Sequence[Json]", schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        words = cast("Sequence[Any]", schema.get("enum") or [schema["const"]])
        return Markup(", ").join(Markup("<code>{}</code>").format(word) for word in words)
    kind = schema.get("type", "any JSON")
    match kind:
        case "array":
            text = Markup("list of {}").format(_kind(schema.get("items") or {}))
        case "object":
            inner = cast("Json | bool | None", schema.get("additionalProperties"))
            is_map = isinstance(inner, Mapping)
            text = Markup("object of {}").format(_kind(inner)) if is_map else escape("object")
        case _:
            text = escape(kind)
    notes = _notes(schema)
    return text + Markup(" ({})").format(", ".join(notes)) if notes else text


def _notes(schema: Json) -> list[str]:
    """The bounds of a value."""
    notes: list[str] = []
    if "format" in schema:
        notes.append(str(schema["format"]))
    for least, most, unit in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
    ):
        if least in schema and most in schema:
            notes.append(f"{schema[least]} to {schema[most]}{unit}")
        elif most in schema:
            notes.append(f"at most {schema[most]}{unit}")
        elif schema.get(least):
            notes.append(f"at least {schema[least]}{unit}")
    if "pattern" in schema and _UUID_WORDS in schema["pattern"]:
        notes.append(f"{str(schema['pattern']).lstrip('^').partition('_')[0]}_ and a UUID")
    if "default" in schema and schema["default"] not in (None, "", []):
        notes.append(f"default {schema['default']}")
    return notes


def _words(text: str) -> Markup:
    """A description, in which `words` are code."""
    return Markup(_PARSER.renderInline(" ".join(text.split())))  # noqa: S704 - the parser escapes what it is given
