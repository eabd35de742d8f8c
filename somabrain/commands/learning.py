"""`somabrain learn`: traces from files as episodes, in batches; a bad one is told and the others are learned."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, NoReturn

import httpx
import orjson
import typer
from rich.progress import Progress

from somabrain.commands.output import EXIT_CONFIGURATION, err, fail, out, print_json, progress_bar
from somabrain.commands.remote import Server, problem_of
from somabrain.commands.trace_files import FILE_BYTES_MAX, pieces
from somabrain.errors import SomabrainError, TraceTooLargeError
from somabrain.traces import Converted, Format, converted, converted_spans, has_spans, parts_of, without_contents

BATCH_EPISODES = 100
"""Most episodes of a request (DESIGN §7)."""
BATCH_BYTES = 8 << 20
"""Bytes in one request, unless a single episode has more: far below what the server takes."""
ATTEMPTS_MAX = 8
"""Attempts of a request that the service can't take now."""
WAIT_MAX_S = 30.0
"""Longest pause between two of them."""

_KIB = 1 << 10
_LATER = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
_AT_FAULT = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}
"""Statuses that some episode of the batch is the reason of."""


def format_argument(name: str) -> Format:
    """The format of this name."""
    try:
        return Format(name)
    except ValueError:
        raise typer.BadParameter(f"want one of {', '.join(Format)}, got {name!r}") from None


def learn_from(server: Server, files: Sequence[Path], *, form: Format | None, arguments: bool, as_json: bool) -> None:
    """Learns from every trace of the files; ends with status 1 where one was refused, 2 where nobody answers."""
    total = sum(path.stat().st_size for path in files if path.is_file())
    with progress_bar("learning (KiB)", -(-total // _KIB)) as bar:
        batches = _Batches(server)
        behind = 0
        for path in files:
            for found in _traces(path, bar, behind, form=form, arguments=arguments):
                batches.add(found)
            behind += path.stat().st_size if path.is_file() else 0
        batches.send()
        bar.update(bar.task_ids[0], completed=-(-total // _KIB))
    counts = {"learned": batches.learned, "known": batches.known, "refused": batches.refused}
    if as_json:
        print_json(counts)
    else:
        out.print("{learned} episodes learned, {known} known already, {refused} traces refused.".format(**counts))
    if batches.refused:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A trace of a file: its episode as JSON, or why it is refused."""

    where: str
    episode: bytes
    refusal: SomabrainError | None


def _traces(path: Path, bar: Progress, behind: int, *, form: Format | None, arguments: bool) -> Iterator[_Found]:
    """The traces of a file. Spans of all its documents are put together, since a trace's may stand in several."""
    spans: list[Any] = []
    places: list[str] = []
    size = 0
    for piece in pieces(path):
        bar.update(bar.task_ids[0], completed=(behind + piece.read) // _KIB)
        if piece.refusal is not None:
            yield _Found(where=_where(path, piece.line, piece.item), episode=b"", refusal=piece.refusal)
            continue
        documents = parts_of(piece.document)
        for item, document in enumerate(documents):
            where = _where(path, piece.line, piece.item if len(documents) == 1 else item)
            if not has_spans(document) or form not in {None, Format.OTLP}:
                for one in converted(document, form, arguments=arguments):
                    yield _found(where, one)
                continue
            size += piece.size // len(documents)
            if size > FILE_BYTES_MAX:
                refusal = TraceTooLargeError(
                    f"more than {FILE_BYTES_MAX} bytes of spans in one file; split it by traces"
                )
                yield _Found(where=where, episode=b"", refusal=refusal)
            else:
                spans.append(without_contents(document))
                places.append(where)
    for number, one in converted_spans(spans, arguments=arguments):
        yield _found(places[number], one)


def _where(path: Path, line: int, item: int | None) -> str:
    """`file:line`, and the number in its list."""
    return str(path) + (f":{line}" if line else "") + ("" if item is None else f"[{item}]")


def _found(where: str, one: Converted) -> _Found:
    if one.body is None:
        return _Found(where=where, episode=b"", refusal=one.refusal)
    return _Found(where=where, episode=orjson.dumps(one.body), refusal=None)


class _Batches:
    """Episodes on their way to the service, and what became of those before them."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._waiting: list[_Found] = []
        self._size = 0
        self.learned = self.known = self.refused = 0

    def add(self, found: _Found) -> None:
        """Takes a trace; a full batch is sent."""
        if found.refusal is not None:
            self._refuse(found, found.refusal.code, found.refusal.detail)
            return
        if self._waiting and self._size + len(found.episode) > BATCH_BYTES:
            self.send()
        self._waiting.append(found)
        self._size += len(found.episode)
        if len(self._waiting) == BATCH_EPISODES:
            self.send()

    def send(self) -> None:
        """Sends what waits. The service learns from all of a batch or from none: what it refuses is left out."""
        waiting, self._waiting, self._size = self._waiting, [], 0
        batches = [waiting] if waiting else []
        while batches:
            batch = batches.pop()
            before = self._version()
            response = self._answer("POST", "/oak/episodes", self._body(batch))
            if not response.is_error:
                self._count(response.json()["results"], before)
                continue
            problem = problem_of(response)
            if response.status_code not in _AT_FAULT or _of_namespace(problem):
                self._give_up(_line(response))
            reasons = _reasons(problem, len(batch))
            if not reasons and len(batch) > 1:
                middle = len(batch) // 2
                batches += [batch[middle:], batch[:middle]]
                continue
            for place, reason in (reasons or {0: str(problem.get("detail", response.status_code))}).items():
                self._refuse(batch[place], str(problem.get("code", response.status_code)), reason)
            left = [one for place, one in enumerate(batch) if reasons and place not in reasons]
            batches += [left] if left else []

    def _body(self, batch: Sequence[_Found]) -> bytes:
        episodes = b",".join(one.episode for one in batch)
        return b'{"namespace":' + orjson.dumps(self._server.namespace) + b',"episodes":[' + episodes + b"]}"

    def _version(self) -> int:
        """The namespace's version now: an episode of a later one is new."""
        response = self._answer("GET", "/oak/namespaces", None)
        if response.is_error:
            self._give_up(_line(response))
        found = (
            one["model_version"] for one in response.json()["namespaces"] if one["namespace"] == self._server.namespace
        )
        return int(next(found, 0))

    def _answer(self, method: str, path: str, content: bytes | None) -> httpx.Response:
        """The answer; one that says to come again later is asked for again."""
        for attempt in range(ATTEMPTS_MAX):
            try:
                response = self._server.send(method, path, content=content)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                self._give_up(f"{self._server.silent(error)} (is `somabrain serve` running? see --url)")
            if response.status_code not in _LATER or attempt == ATTEMPTS_MAX - 1:
                break
            asked = response.headers.get("Retry-After", "")
            time.sleep(min(WAIT_MAX_S, max(float(asked) if asked.isdigit() else 1.0, 1.0)))
        return response

    def _count(self, results: Sequence[dict[str, Any]], before: int) -> None:
        new = {one["episode_id"] for one in results if one["model_version"] > before}
        self.learned += len(new)
        self.known += len(results) - len(new)

    def _refuse(self, found: _Found, code: str, reason: str) -> None:
        self.refused += 1
        err.print(f"{found.where}: {code}: {reason}", markup=False)

    def _give_up(self, reason: str) -> NoReturn:
        counts = f"{self.learned} episodes learned, {self.known} known already, {self.refused} traces refused"
        fail(f"{reason}; before that {counts}: run it again", EXIT_CONFIGURATION)


def _line(response: httpx.Response) -> str:
    problem = problem_of(response)
    return f"{response.status_code} {problem.get('code', '')}: {problem.get('detail', '')}"


def _of_namespace(problem: dict[str, Any]) -> bool:
    """Whether the namespace is at fault, and no episode."""
    return any(error.get("loc") == ["namespace"] for error in problem.get("errors", []))


def _reasons(problem: dict[str, Any], count: int) -> dict[int, str]:
    """What the service says against the episodes of a batch, by their place in it."""
    found: dict[int, str] = {}
    for error in problem.get("errors", []):
        loc = error.get("loc", [])
        if len(loc) > 1 and loc[0] == "episodes" and isinstance(loc[1], int) and loc[1] < count:
            where = ".".join(str(part) for part in loc[2:])
            message = str(error.get("msg", "")).removeprefix(f"episodes.{loc[1]}: ")
            found.setdefault(loc[1], f"{where}: {message}" if where else message)
    return found
