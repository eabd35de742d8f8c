"""The tools' schemas are those of `openapi.yaml`, refusals can be acted on, and HTTP is served where it is safe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from somabrain.client import (
    BrainError,
    BusyError,
    ConflictError,
    DeniedError,
    GarbledError,
    InvalidError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from somabrain.mcp import arguments
from somabrain.mcp.arguments import schema_of
from somabrain.mcp.serving import NotSafeError, security_of
from somabrain.mcp.telling import invalid, no_json, refused
from somabrain.mcp.tools import TOOLS

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS: dict[str, Any] = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))["components"]["schemas"]
BODIES = {
    "remember": "RememberBody",
    "recall": "RecallBody",
    "predict": "PredictBody",
    "plan": "PlanBody",
    "act": "ActBody",
    "report_episode": "EpisodeBody",
}
NOT_OFFERED = {"namespace", "vector"}
"""Fixed for the server; and what no model can tell."""

STATES = {name: shape for one in SCHEMAS["StateBody"]["oneOf"] for name, shape in one["properties"].items()}
REPLACED: dict[str, Any] = {"StateBody": {"anyOf": [STATES["features"], STATES["text"]]}, "Json": True}
"""A state is told as its facts or its text; whatever JSON is, is not told."""

SAID = {"title", "description", "examples"}
KEY = "k" * 16


def bounds(schema: Any) -> Any:
    """The schema without its words; a state as the tools have it, and what may be null as what it else is."""
    if isinstance(schema, list):
        return [bounds(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return bounds(REPLACED.get(schema["$ref"].rsplit("/", 1)[1]) or SCHEMAS[schema["$ref"].rsplit("/", 1)[1]])
    found = {name: bounds(part) for name, part in schema.items() if name not in SAID or isinstance(part, dict)}
    if found.get("additionalProperties") is True:
        del found["additionalProperties"]
    if {"type": "null"} in found.get("anyOf", ()):
        (kind,) = [part for part in found.pop("anyOf") if part != {"type": "null"}]
        return {**kind, **found}
    return found


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_arguments_are_those_of_the_service(tool: Any) -> None:
    told, body = bounds(schema_of(tool.takes)), bounds(SCHEMAS[BODIES[tool.name]])
    body["properties"] = {name: part for name, part in body["properties"].items() if name not in NOT_OFFERED}
    assert told == body


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_model_can_choose_by_what_is_told(tool: Any) -> None:
    for word in ("Use it", "Don't use it", "Returns"):
        assert word in tool.description
    assert all(part.get("description") for part in schema_of(tool.takes)["properties"].values())


def test_objects_may_come_as_json_in_a_text() -> None:
    found = arguments.Predict.model_validate({"state": '{"at": "hall"}', "roles": '{"user": 7}'}).given()
    assert found == {"state": {"at": "hall"}, "roles": {"user": 7}}
    assert arguments.Predict.model_validate({"state": "{in the hall}"}).given() == {"state": "{in the hall}"}
    steps = '[{"state": "hall", "action": "{go}"}]'
    (step,) = arguments.ReportEpisode.model_validate({"steps": steps, "final": "x"}).given()["steps"]
    assert (step.state, step.action) == ("hall", "{go}")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"query": "x", "top_k": "5"}, "top_k: "),
        ({"query": "x", "top_k": True}, "top_k: "),
        ({"query": "x", "top_k": 1.5}, "top_k: "),
        ({"query": "x", "top_k": 101}, "top_k: "),
        ({"query": "x", "filter": [1]}, "filter: want an object"),
        ({"query": 7}, "query: want an object"),
        ({"query": None}, "query: a state has"),
        ({"query": {"a": None}}, "query: want an object"),
        ({"query": "x", "namespace": "others"}, "namespace: it is fixed"),
        ({"query": "x", "top": 5}, "top: there is no such argument"),
        ({str(number): 1 for number in range(9)}, "and 5 more"),
    ],
)
def test_what_is_wrong_is_told_without_its_value(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as error:
        arguments.Recall.model_validate(given)
    text = invalid(error.value)
    assert text.startswith("invalid_request: ")
    assert told in text
    assert "pydantic" not in text


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"a": found}
    return found


@pytest.mark.parametrize(
    "given", [{"a": [float("nan")]}, {"a": float("-inf")}, {"a": "\ud800"}, {"a": 10**5000}, nested(100_000)]
)
def test_what_is_no_json_is_refused(given: Mapping[str, Any]) -> None:
    assert (no_json(given) or "").startswith("invalid_request: ")
    assert no_json({"a": [1, "ä", None, {"b": 1e300}]}) is None


@pytest.mark.parametrize("kind", [InvalidError, DeniedError, NotFoundError, ConflictError, BusyError, RefusedError])
def test_a_refusal_is_told_with_its_code(kind: type[RefusedError]) -> None:
    told = refused(kind(status=418, code="some_code", detail="the reason"), "To be sure, …")
    assert told.startswith("some_code: the reason. ")
    assert len(told) > len("some_code: the reason. ")
    assert "To be sure" not in told


@pytest.mark.parametrize(("error", "code"), [(UnavailableError("gone"), "unavailable"), (GarbledError("x"), "garbled")])
def test_no_answer_is_told_and_how_to_repeat_a_write(error: BrainError, code: str) -> None:
    assert refused(error, None).startswith(f"{code}: ")
    assert ("To be sure" in refused(error, "To be sure, repeat.")) == (code == "unavailable")


@pytest.mark.parametrize(
    ("bound", "key", "hosts", "name"),
    [
        ("0.0.0.0", None, ["brain.local"], "SOMABRAIN_MCP_KEY"),
        ("192.0.2.7", None, [], "SOMABRAIN_MCP_KEY"),
        ("::", None, [], "SOMABRAIN_MCP_KEY"),
        ("0.0.0.0", KEY, [], "--allow-host"),
        ("::", KEY, [], "--allow-host"),
        ("127.0.0.1", "short", [], "SOMABRAIN_MCP_KEY"),
        ("0.0.0.0", "", ["brain.local"], "SOMABRAIN_MCP_KEY"),
    ],
)
def test_what_is_not_safe_is_not_served(bound: str, key: str | None, hosts: list[str], name: str) -> None:
    with pytest.raises(NotSafeError, match=name):
        security_of(bound, key=key, hosts=hosts)


@pytest.mark.parametrize(
    ("bound", "key", "hosts", "allowed"),
    [
        ("127.0.0.1", None, [], "127.0.0.1:*"),
        ("::1", None, [], "[::1]:*"),
        ("192.0.2.7", KEY, [], "192.0.2.7:*"),
        ("2001:db8::7", KEY, [], "[2001:db8::7]:*"),
        ("0.0.0.0", KEY, ["brain.local"], "brain.local"),
    ],
)
def test_host_and_origin_are_checked_everywhere(bound: str, key: str | None, hosts: list[str], allowed: str) -> None:
    found = security_of(bound, key=key, hosts=hosts)
    assert found.enable_dns_rebinding_protection
    assert allowed in found.allowed_hosts
    assert f"http://{allowed}" in found.allowed_origins
    assert not {"*", "*:*"} & {*found.allowed_hosts, *found.allowed_origins}
