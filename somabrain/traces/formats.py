"""Which format a document has, and its conversion: the way into this package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from somabrain.errors import Location, SomabrainError, TraceFormatUnknownError, TraceWithoutStepsError
from somabrain.traces import arrays, chat, episode, episodes, spans, tau
from somabrain.traces.model import Body, Json, Trace
from somabrain.traces.shapes import check_document, list_at, object_at


class Format(StrEnum):
    """The formats of traces, as `--format` names them."""

    OPENAI = "openai"
    TAU_BENCH = "tau-bench"
    OTLP = "otlp"
    SOMABRAIN = "somabrain"
    ALFWORLD = "alfworld"
    MINARI = "minari"


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
        ("observations", Format.MINARI),
    ):
        if name in document:
            return form
    raise TraceFormatUnknownError("an object without messages, traj, resourceSpans, steps or observations")


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
    except SomabrainError as error:
        return [Converted(loc=(), body=None, refusal=error)]
    return [one for _, one in converted_spans([document], arguments=arguments)]


def converted_spans(documents: Sequence[Json], *, arguments: bool = False) -> list[tuple[int, Converted]]:
    """The traces of OTLP documents put together, since a trace may stand in several; with the number of the document.

    It is that which has the trace's first span. Documents without any trace are one refusal.
    """
    found: list[tuple[int, Converted]] = []
    resources: list[spans.Resource] = []
    for number, document in enumerate(documents):
        try:
            check_document(document)
            listed = list_at(object_at(document).get("resourceSpans"), "resourceSpans")
        except SomabrainError as error:
            found.append((number, Converted(loc=(), body=None, refusal=error)))
        else:
            resources += [spans.Resource(document=number, place=place, item=item) for place, item in enumerate(listed)]
    for number, loc, trace in spans.traces_of(resources):
        found.append((number, _spanned(loc, trace, arguments=arguments)))
    if documents and not found:
        found.append((0, Converted(loc=(), body=None, refusal=TraceWithoutStepsError("no span of generative AI"))))
    return found


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
    if form is Format.MINARI:
        return arrays.body_of(object_at(document))
    return episodes.body_of(object_at(document))


def parts_of(document: Json) -> Sequence[Json]:
    """The documents in one that may be a list of them: chat messages in a list are one trace, not many."""
    if not isinstance(document, list):
        return [document]
    first = document[0] if document else None
    return [document] if first is None or (isinstance(first, dict) and "role" in first) else document


def has_spans(document: Json) -> bool:
    """Whether a document is OTLP JSON, so that its traces may go on in others."""
    return isinstance(document, dict) and "resourceSpans" in document
