"""Which format a document has, and its conversion: the way into this package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from somabrain.errors import Location, SomabrainError, TraceFormatUnknownError, TraceWithoutStepsError
from somabrain.traces import chat, episode, episodes, spans, tau
from somabrain.traces.model import Body, Json, Trace
from somabrain.traces.shapes import check_document, object_at


class Format(StrEnum):
    """The formats of traces, as `--format` names them."""

    OPENAI = "openai"
    TAU_BENCH = "tau-bench"
    OTLP = "otlp"
    SOMABRAIN = "somabrain"
    ALFWORLD = "alfworld"


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """One trace of a document: its body, or why it is refused. `loc` is its place, empty where it is the document."""

    loc: Location
    body: Body | None
    refusal: SomabrainError | None


def detected(document: Json) -> Format:
    """The format. Raises `TraceFormatUnknownError`."""
    if isinstance(document, list):
        if document and isinstance(document[0], dict) and "role" in document[0]:
            return Format.OPENAI
        raise TraceFormatUnknownError("a list, but not of chat messages")
    if not isinstance(document, dict):
        raise TraceFormatUnknownError("neither an object nor a list")
    for name, form in (
        ("resourceSpans", Format.OTLP),
        ("traj", Format.TAU_BENCH),
        ("messages", Format.OPENAI),
        ("final_state", Format.ALFWORLD),
        ("steps", Format.SOMABRAIN),
    ):
        if name in document:
            return form
    raise TraceFormatUnknownError("an object without messages, traj, resourceSpans or steps")


def converted(document: Json, form: Format | None = None, *, arguments: bool = False) -> list[Converted]:
    """The traces of a document, each converted or refused; nothing is raised, whatever the document.

    `form`: `None` finds out. `arguments`: whether an action is the tool's name with its arguments, or the name alone.
    A document of OTLP JSON may hold any number of traces, every other exactly one.
    """
    try:
        check_document(document)
        form = detected(document) if form is None else form
        if form is not Format.OTLP:
            return [Converted(loc=(), body=_body(document, form, arguments=arguments), refusal=None)]
        found = list(spans.traces_of(object_at(document)))
    except SomabrainError as error:
        return [Converted(loc=(), body=None, refusal=error)]
    if not found:
        return [Converted(loc=(), body=None, refusal=TraceWithoutStepsError("no span of generative AI"))]
    return [_spanned(loc, one, arguments=arguments) for loc, one in found]


def _spanned(loc: Location, found: Trace | SomabrainError, *, arguments: bool) -> Converted:
    if isinstance(found, SomabrainError):
        return Converted(loc=loc, body=None, refusal=found)
    try:
        return Converted(loc=loc, body=episode.body_of(found, arguments=arguments), refusal=None)
    except SomabrainError as error:
        return Converted(loc=loc, body=None, refusal=error)


def _body(document: Json, form: Format, *, arguments: bool) -> Body:
    if form is Format.OPENAI:
        trace = chat.trace_of(document if isinstance(document, list) else object_at(document))
        return episode.body_of(trace, arguments=arguments)
    if form is Format.TAU_BENCH:
        return episode.body_of(tau.trace_of(object_at(document)), arguments=arguments)
    if form is Format.ALFWORLD:
        return episodes.alfworld_body_of(object_at(document), arguments=arguments)
    return episodes.body_of(object_at(document))


def parts_of(document: Json) -> Sequence[Json]:
    """The documents in one that may be a list of them: chat messages in a list are one trace, not many."""
    if not isinstance(document, list):
        return [document]
    first = document[0] if document else None
    return [document] if first is None or (isinstance(first, dict) and "role" in first) else document


def merged_spans(documents: Iterable[Mapping[str, Json]]) -> dict[str, Json]:
    """One OTLP document of many: a trace's spans may have been sent in several. Those that are none count as empty."""
    lists = (document.get("resourceSpans") for document in documents)
    return {"resourceSpans": [one for listed in lists if isinstance(listed, list) for one in listed]}
