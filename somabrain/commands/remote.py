"""Commands that ask a running server: options, plans, export, import, events."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import typer

from somabrain.commands.output import EXIT_CONFIGURATION, err, fail, out, print_json, print_table, progress_bar

TIMEOUT_S = 600.0
"""An import of the largest model ends within it."""

_PAGE = 200
_EVENTS_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where to ask, and as whom. `transport` carries what is asked, by default the network."""

    url: str
    key: str | None
    namespace: str
    transport: httpx.BaseTransport | None = None

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        content: bytes | None = None,
        told: str = "",
    ) -> httpx.Response:
        """The answer. A refusal, or a server that can't be reached, ends the program with one line.

        `told`: what that line begins with.
        """
        try:
            response = self.send(method, path, params=params, json=json, content=content)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            fail(f"{self.silent(error)} (is `somabrain serve` running? see --url)")
        if response.is_error:
            problem = problem_of(response)
            where = f"{told}: " if told else ""
            fail(f"{where}{response.status_code} {problem.get('code', '')}: {problem.get('detail', response.text)}")
        return response

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        content: bytes | None = None,
    ) -> httpx.Response:
        """The answer, also where it is a refusal. Raises `httpx.HTTPError`, `httpx.InvalidURL` where there is none."""
        headers = {} if self.key is None else {"Authorization": f"Bearer {self.key}"}
        if method != "GET":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        if json is not None:
            content = orjson.dumps(json)
        if content is not None:
            headers["Content-Type"] = "application/json"
        url = self.url.rstrip("/") + path
        if self.transport is not None:
            asked = httpx.Request(method, url, params=params, content=content, headers=headers)
            return self.transport.handle_request(asked)
        return httpx.request(method, url, params=params, content=content, headers=headers, timeout=TIMEOUT_S)

    def silent(self, error: Exception) -> str:
        """That there was no answer, and why."""
        return f"no answer from {self.url}: {error}"


def problem_of(response: httpx.Response) -> dict[str, Any]:
    """The problem document of a refusal; empty where the answer is none."""
    try:
        document = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def state_argument(text: str) -> dict[str, Any]:
    """A state from the command line: JSON facts, a JSON state, or `name=value` pairs parted by commas."""
    document = pairs_argument(text)
    known = {"features", "vector", "vector_b64", "text"}
    return document if len(document) == 1 and known & set(document) else {"features": document}


def pairs_argument(text: str) -> dict[str, Any]:
    """A JSON object, or `name=value` pairs parted by commas."""
    if text.lstrip().startswith("{"):
        try:
            return dict(orjson.loads(text))
        except orjson.JSONDecodeError as error:
            raise typer.BadParameter(f"not JSON: {error}") from None
    facts: dict[str, Any] = {}
    for pair in text.split(","):
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise typer.BadParameter(f"want name=value[,name=value] or JSON, got {text!r}")
        facts[name.strip()] = _scalar(value.strip())
    return facts


def _scalar(text: str) -> Any:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return value if isinstance(value, bool | int | float | str) else text


def list_options(server: Server, *, status: str | None, as_json: bool) -> None:
    """All options, by id."""
    params: dict[str, Any] = {"namespace": server.namespace, "limit": _PAGE}
    if status is not None:
        params["status"] = status
    found: list[dict[str, Any]] = []
    while True:
        page = server.ask("GET", "/oak/options", params=params).json()
        found += page["options"]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    if as_json:
        print_json(found)
        return
    print_table(
        ("option", "name", "status", "runs", "success", "steps", "utility"),
        [
            (
                option["option_id"],
                option["name"],
                option["status"],
                str(option["executions"]),
                _number(option["success_rate"]),
                _number(option["mean_duration"]),
                _number(option["utility"]),
            )
            for option in found
        ],
    )


def show_option(server: Server, option_id: str, *, as_json: bool) -> None:
    """An option and its rows."""
    params = {"namespace": server.namespace}
    option = server.ask("GET", f"/oak/option/{option_id}", params=params).json()
    model = server.ask("GET", f"/oak/option/{option_id}/model", params={**params, "limit": _PAGE}).json()
    if as_json:
        print_json({"option": option, "model": model})
        return
    print_table(("", ""), [(name, _text(value)) for name, value in option.items()])
    rows = [
        (
            _state(row["start"]),
            "\n".join(f"{o['probability']:.3f} {_state(o)}" for o in row["outcomes"]),
            _number(row["duration"]),
            _number(row["reward"]),
            str(row["executions"]),
        )
        for row in model["rows"]
    ]
    print_table(("from", "leads to", "steps", "reward", "runs"), rows)
    if model["next_cursor"] is not None:
        err.print(f"The first {_PAGE} rows; --json and the API's cursor give the rest.")


def show_plan(server: Server, body: dict[str, Any], *, as_json: bool) -> None:
    """A plan; ends with status 1 where there is none."""
    answer = server.ask("POST", "/oak/plan", json={**body, "namespace": server.namespace}).json()
    if as_json:
        print_json(answer)
    elif not answer["reached"] or not answer["steps"]:
        out.print(
            f"{'Nothing to do' if answer['reached'] else 'No plan'}: {answer['reason']}. Advice: {answer['advice']}."
        )
        for near in answer["nearest"]:
            out.print(
                f"  known nearby: {_text(near.get('facts', near['prototype']))}; differs in {_text(near['differs'])}"
            )
    else:
        print_plan(answer)
    if not answer["reached"]:
        raise typer.Exit(1)


def print_plan(answer: dict[str, Any]) -> None:
    """A plan that was found, as a table and a line of odds."""
    rows = [
        (
            str(place),
            step["name"],
            _state(step["from"]),
            _state(step["to"]),
            f"{step['probability']:.3f} (≥ {step['probability_lower']:.3f})",
            _number(step["expected_duration"]),
            _number(step["expected_reward"]),
            str(step["executions"]),
        )
        for place, step in enumerate(answer["steps"], 1)
    ]
    print_table(("", "option", "from", "to", "probability", "steps", "reward", "runs"), rows)
    out.print(
        f"Succeeds with {answer['success_probability']:.3f} (at least {answer['success_probability_lower']:.3f}), "
        f"with replanning {answer['policy_probability']:.3f}; {answer['expected_duration']:.1f} steps, "
        f"reward {answer['expected_reward']:.2f}. Advice: {answer['advice']}."
    )


def export_to(server: Server, path: Path) -> None:
    """Writes the namespace's model to a file, whole or not at all."""
    response = server.ask("GET", "/oak/model", params={"namespace": server.namespace})
    part = path.with_name(path.name + ".part")
    part.write_bytes(response.content)
    part.replace(path)
    err.print(f"{len(response.content)} bytes in {path}")


def import_from(server: Server, path: Path, *, replace: bool, as_json: bool) -> None:
    """Imports a model from a file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        fail(f"{path}: {error.strerror}", EXIT_CONFIGURATION)
    params = {"namespace": server.namespace, "mode": "replace" if replace else "empty"}
    answer = server.ask("PUT", "/oak/model", params=params, content=content).json()
    if as_json:
        print_json(answer)
    else:
        err.print(f"Imported {answer['options']} options, {answer['prototypes']} states, {answer['rows']} rows.")


def follow_events(server: Server, *, after: int, most: int | None, as_json: bool) -> None:
    """The journal as lines: JSON, or a short form of each event."""
    shown = 0
    with progress_bar("reading events", most) as bar:
        while most is None or shown < most:
            limit = _EVENTS_PAGE if most is None else min(_EVENTS_PAGE, most - shown)
            page = server.ask("GET", "/events", params={"after": after, "limit": limit}).json()
            for event in page["events"]:
                typer.echo(orjson.dumps(event).decode() if as_json else _event_line(event))
            shown += len(page["events"])
            bar.advance(bar.task_ids[0], len(page["events"]))
            after = page["next"]
            if not page["more"]:
                break


def _event_line(event: dict[str, Any]) -> str:
    of = f" {event['option_id']}" if event["option_id"] else ""
    return f"{event['sequence']:>8} {event['timestamp']} {event['namespace']} {event['type']}{of}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _state(answer: dict[str, Any]) -> str:
    """A state as an answer tells it: its facts, its text, or its number."""
    for name in ("facts", "text", "prototype", "outcome"):
        if name in answer:
            return _text(answer[name])
    return "-"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={_text(item)}" for name, item in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value) or "-"
    return "-" if value is None else str(value)
