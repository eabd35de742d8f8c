"""What the API's description needs beyond FastAPI's: shared shapes, this server's dimension, headers, credentials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from somabrain.api.answers import Problem
from somabrain.api.memory_schemas import BatchMemory, RememberBody
from somabrain.api.packed import packed_pattern
from somabrain.oak.learning import ENCODER_ID
from somabrain.oak.model_document import ModelDocument

REQUEST_ID = {
    "description": "The caller's own, or one that was made.",
    "required": True,
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
}
BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key (AUTH_MODE=keys) or the identity provider's token (AUTH_MODE=oidc).",
}

_UNUSED = ("HTTPValidationError", "ValidationError")
_REFERENCE = "#/components/schemas/{model}"


def complete(document: dict[str, Any], *, dimension: int, guarded: frozenset[str]) -> None:
    """Adds what is missing to FastAPI's `document`; `guarded` are the ids of operations that ask the policy."""
    schemas = document["components"]["schemas"]
    for unused in _UNUSED:
        schemas.pop(unused, None)
    for shape in (Problem, ModelDocument):
        _add(schemas, shape)
    _state_dimension(schemas, dimension)
    document["components"]["securitySchemes"] = {"bearer": BEARER}
    for operation in _operations(document):
        if operation["operationId"] in guarded:
            operation["security"] = [{}, {"bearer": []}]
        for parameter in operation.get("parameters", ()):
            parameter["schema"] = _sent(parameter["schema"])
        for response in operation["responses"].values():
            response.setdefault("headers", {})["X-Request-Id"] = REQUEST_ID


def _add(schemas: dict[str, Any], shape: type[BaseModel]) -> None:
    described = shape.model_json_schema(ref_template=_REFERENCE)
    schemas.update(described.pop("$defs", {}))
    schemas[shape.__name__] = described


def _operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from path.values()


def _sent(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema where it is sent: what FastAPI calls null is that it is not."""
    kinds = schema.get("anyOf", ())
    if {"type": "null"} not in kinds:
        return schema
    (kind,) = (kind for kind in kinds if kind != {"type": "null"})
    return {**{key: value for key, value in schema.items() if key != "anyOf"}, **kind}


def _state_dimension(schemas: Mapping[str, Any], dimension: int) -> None:
    for shape in schemas["StateBody"]["oneOf"]:
        if "vector" in shape["properties"]:
            shape["properties"]["vector"] = {
                **shape["properties"]["vector"],
                "minItems": dimension,
                "maxItems": dimension,
            }
        if "vector_b64" in shape["properties"]:
            shape["properties"]["vector_b64"]["pattern"] = packed_pattern(dimension)
    for name in (RememberBody.__name__, BatchMemory.__name__):
        kinds = schemas[name]["properties"]["vector"]["anyOf"]
        kinds[0] = {**kinds[0], "minItems": dimension, "maxItems": dimension}
    schemas[ModelDocument.__name__]["properties"]["memory_dim"]["const"] = dimension
    schemas[ModelDocument.__name__]["properties"]["encoder"]["const"] = ENCODER_ID
