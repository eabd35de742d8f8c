"""The client's types are those of `openapi.yaml`, and it imports nothing of the service."""

from __future__ import annotations

import ast
import inspect
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytest
import yaml

from somabrain.client import AsyncBrain, AsyncEpisode, Brain, Episode, Step
from somabrain.client import answers as client_answers
from somabrain.client.answers import Answer

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
ANSWERS = {
    name: kind
    for name, kind in vars(client_answers).items()
    if isinstance(kind, type) and issubclass(kind, Answer) and kind is not Answer
}
METHODS: dict[str, tuple[Callable[..., Any], str]] = {
    "memory_remember": (Brain.remember, "MemoryAnswer"),
    "memory_recall": (Brain.recall, "RecallAnswer"),
    "memory_get": (Brain.memory, "MemoryAnswer"),
    "memory_forget": (Brain.forget, "None"),
    "option_create": (Brain.create_option, "OptionAnswer"),
    "option_list": (Brain.options, "OptionList"),
    "plan": (Brain.plan, "PlanAnswer"),
    "act": (Brain.act, "ActAnswer"),
    "predict": (Brain.predict, "PredictAnswer"),
    "calibration_get": (Brain.calibration, "CalibrationAnswer"),
    "episode_record": (Brain.record_episode, "EpisodeAnswer"),
    "trace_record_batch": (Brain.learn, "TraceAnswers"),
    "consolidate": (Brain.consolidate, "ConsolidationAnswer"),
    "episode_get": (Brain.reported_episode, "EpisodeReported"),
    "episode_outcome": (Brain.outcome, "None"),
}
JSON_TYPES = {"string": str, "integer": int, "number": float, "boolean": bool, "null": type(None)}


def alternatives(annotation: Any) -> Iterator[Any]:
    """The members of a union, with literals one by one."""
    if get_origin(annotation) in {Union, types.UnionType}:
        for member in get_args(annotation):
            yield from alternatives(member)
    elif get_origin(annotation) is Literal:
        yield from (("literal", value) for value in get_args(annotation))
    else:
        yield annotation


def fits(schema: Mapping[str, Any], annotation: Any) -> bool:
    """Whether every value of the schema is one of the annotation."""
    if "anyOf" in schema:
        return all(fits(member, annotation) for member in schema["anyOf"])
    members = list(alternatives(annotation))
    if "$ref" in schema:
        return ANSWERS.get(schema["$ref"].rsplit("/", 1)[1]) in members
    if "enum" in schema or "const" in schema:
        return {("literal", value) for value in schema.get("enum", [schema.get("const")])} <= set(members)
    if schema["type"] == "array":
        return any(get_origin(m) is tuple and fits(schema["items"], get_args(m)[0]) for m in members)
    if schema["type"] == "object":
        values = schema.get("additionalProperties", True)
        maps = [get_args(member)[1] for member in members if get_origin(member) is Mapping]
        return any(kind is Any or (values is not True and fits(values, kind)) for kind in maps)
    wanted = datetime if schema.get("format") == "date-time" else JSON_TYPES[schema["type"]]
    return wanted in members or (wanted is int and float in members)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_has_every_field_with_its_type(name: str) -> None:
    kind, schema = ANSWERS[name], SCHEMAS[name]
    fields = {field.alias or own: field for own, field in kind.model_fields.items()}
    assert set(fields) == set(schema["properties"])
    for field, told in schema["properties"].items():
        assert fits(told, fields[field].annotation), (field, told, fields[field].annotation)
        assert fields[field].is_required() == (field in schema.get("required", ())), field


def test_a_wrong_type_does_not_fit() -> None:
    assert not fits({"type": "string"}, int)
    assert not fits({"anyOf": [{"type": "integer"}, {"type": "null"}]}, int)
    assert not fits({"type": "array", "items": {"type": "string"}}, tuple[int, ...])
    assert not fits({"enum": ["a", "b"], "type": "string"}, Literal["a"])
    assert not fits({"type": "object", "additionalProperties": {"type": "string"}}, Mapping[str, int])
    assert not fits({"$ref": "#/components/schemas/PlanAnswer"}, ANSWERS["ActAnswer"])


def operations() -> dict[str, dict[str, Any]]:
    return {operation["operationId"]: operation for path in DOCUMENT["paths"].values() for operation in path.values()}


def request_fields(operation: Mapping[str, Any]) -> set[str]:
    """Names of what an operation takes: parameters and the members of its body."""
    named = {parameter["name"].lower().replace("-", "_") for parameter in operation.get("parameters", ())}
    if "requestBody" in operation:
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        named |= set(SCHEMAS[reference.rsplit("/", 1)[1]]["properties"])
    return named - {"namespace"}


@pytest.mark.parametrize("operation_id", METHODS)
def test_a_method_takes_every_field_of_its_request_and_answers_its_type(operation_id: str) -> None:
    method, answer = METHODS[operation_id]
    signature = inspect.signature(method)
    taken = set(signature.parameters) - {"self"}
    missing = request_fields(operations()[operation_id]) - taken
    assert missing == ({"idempotency_key"} if method is Brain.outcome else set())
    assert str(signature.return_annotation).removeprefix("a.") == answer


@pytest.mark.parametrize(("plain", "awaited"), [(Brain, AsyncBrain), (Episode, AsyncEpisode)])
def test_what_is_awaited_has_every_method(plain: type, awaited: type) -> None:
    public = {name for name in vars(plain) if not name.startswith("_")}
    assert public - set(vars(awaited)) == ({"after"} if plain is Episode else set())


def test_a_step_takes_every_field() -> None:
    assert set(inspect.signature(Step).parameters) == set(SCHEMAS["StepBody"]["properties"])


def test_the_client_imports_httpx_pydantic_and_the_standard_library_alone() -> None:
    imported = set()
    for path in (ROOT / "somabrain" / "client").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0
                imported.add(str(node.module))
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
    own = {name for name in imported if name == "somabrain.client" or name.startswith("somabrain.client.")}
    own.add("somabrain.observations")
    others = {name.split(".", maxsplit=1)[0] for name in imported - own}
    assert own
    assert others - sys.stdlib_module_names == {"httpx", "pydantic"}
