"""OpenTelemetry spans of generative AI, as OTLP JSON: each `execute_tool` span is a call.

Names follow OpenTelemetry's semantic conventions for generative AI (docs/gen-ai, of status "development" in 2026); the
JSON is that of OTLP 1.x, in which 64-bit numbers are texts. Spans may stand in any order and be sent twice. They are
one trace where they share `gen_ai.conversation.id`, else where they share `traceId`. What a run is about and what it is
to reach no convention names: attributes `somabrain.role.NAME` and `somabrain.goal.NAME` say it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from somabrain.errors import Location, SomabrainError, TraceOrderError
from somabrain.traces.episode import episode_id
from somabrain.traces.model import Call, Json, Trace
from somabrain.traces.results import content_worked, parsed
from somabrain.traces.shapes import goal_at, label_at, list_at, name_at, object_at, refused, roles_at, text_at

TOOL, AGENT = "execute_tool", "invoke_agent"
MODEL = ("chat", "generate_content", "text_completion")
"""Operations in which a model writes a message."""

OK, ERROR = (1, "STATUS_CODE_OK"), (2, "STATUS_CODE_ERROR")
"""Status codes; one that is not set is neither."""

USED = frozenset(
    {
        "error.type",
        "gen_ai.agent.name",
        "gen_ai.conversation.id",
        "gen_ai.operation.name",
        "gen_ai.tool.call.arguments",
        "gen_ai.tool.call.id",
        "gen_ai.tool.call.result",
        "gen_ai.tool.name",
        "service.name",
    }
)
"""The attributes that are read, beside those of ROLE and GOAL."""
ROLE, GOAL = "somabrain.role.", "somabrain.goal."
"""What the names of attributes begin with that say what the run is about, and what it is to reach; of any span."""
LEFT_OUT = frozenset({"events", "links", "name"})
"""Fields of a span that are not."""

NANOSECONDS_DIGITS = 20
"""Most digits of a time: those of 2^64."""
ATTRIBUTE_DEPTH_MAX = 16
_WHOLE = re.compile(r"-?[0-9]{1,19}")
"""A 64-bit number as a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span: times in nanoseconds since 1970, `end` 0 where it has none; `code` as in `OK` and `ERROR`, or neither."""

    trace: str
    id: str
    parent: str
    start: int
    end: int
    attributes: Mapping[str, Json]
    service: str | None
    code: Json
    document: int = field(compare=False)
    loc: Location = field(compare=False)

    @property
    def operation(self) -> Json:
        """What the span is: `execute_tool`, `chat` and so on."""
        return self.attributes.get("gen_ai.operation.name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """An entry of `resourceSpans`: number `place` of document number `document`."""

    document: int
    place: int
    item: Json


Found = tuple[int, Location, Trace | SomabrainError]
"""A trace or why it is refused, with the document and the place of its first span."""


def traces_of(resources: Iterable[Resource]) -> Iterator[Found]:
    """Each trace, or why it is refused.

    A span that can't be read is a refusal of its own, and of the trace that it names. Traces without an operation of
    generative AI are none of these.
    """
    spans: list[Span] = []
    spoilt: set[str] = set()
    for resource in resources:
        place: Location = ("resourceSpans", resource.place)
        try:
            entries = list(_entries(resource.item, place))
        except SomabrainError as error:
            yield resource.document, place, error
            continue
        for loc, entry, service in entries:
            try:
                spans.append(_span(entry, service, resource.document, loc))
            except SomabrainError as error:
                trace = entry.get("traceId") if isinstance(entry, dict) else None
                spoilt.update([trace] if isinstance(trace, str) else [])
                yield resource.document, loc, error
    for key, members in _grouped(spans).items():
        if spoilt.isdisjoint(span.trace for span in members) and any(span.operation is not None for span in members):
            first = members[0]
            try:
                yield first.document, first.loc, _trace(key, members)
            except SomabrainError as error:
                yield first.document, first.loc, error


def without_contents(document: Json) -> Json:
    """The document with what is read, so that many fit in memory: prompts and answers are most of it.

    Its traces are the same, but that nothing is refused for what is left out. What is read and is not as it should be
    stays, to be refused.
    """
    if not isinstance(document, dict) or not isinstance(document.get("resourceSpans"), list):
        return document
    return {"resourceSpans": [_lighter(resource) for resource in document["resourceSpans"]]}


def _lighter(item: Json) -> Json:
    """A resource, a scope or a span, with what is read of it and of those inside."""
    if not isinstance(item, dict):
        return item
    kept = {name: value for name, value in item.items() if name not in LEFT_OUT}
    for name in ("scopeSpans", "spans"):
        if isinstance(kept.get(name), list):
            kept[name] = [_lighter(one) for one in kept[name]]
    if isinstance(kept.get("attributes"), list):
        kept["attributes"] = [entry for entry in kept["attributes"] if not _unread(entry)]
    return kept


def _unread(entry: Json) -> bool:
    key = entry.get("key") if isinstance(entry, dict) else None
    return isinstance(key, str) and key not in USED and not key.startswith((ROLE, GOAL))


def _entries(item: Json, loc: Location) -> Iterator[tuple[Location, Json, str | None]]:
    """The spans of a resource, each with its place and the service's name."""
    resource = object_at(item, *loc)
    described = object_at(resource.get("resource", {}), *loc, "resource")
    service = _attributes(described.get("attributes", []), *loc, "resource").get("service.name")
    for s, scope in enumerate(list_at(resource.get("scopeSpans", []), *loc, "scopeSpans")):
        where = (*loc, "scopeSpans", s)
        for p, span in enumerate(list_at(object_at(scope, *where).get("spans", []), *where, "spans")):
            yield (*where, "spans", p), span, service if isinstance(service, str) else None


def _span(entry: Json, service: str | None, document: int, loc: Location) -> Span:
    span = object_at(entry, *loc)
    status = object_at(span.get("status", {}), *loc, "status")
    start = _time(span.get("startTimeUnixNano"), *loc, "startTimeUnixNano")
    if start == 0:
        raise refused("a span has a time at which it started", *loc, "startTimeUnixNano")
    trace = text_at(span.get("traceId"), *loc, "traceId")
    if not trace:
        raise refused("a span names its trace", *loc, "traceId")
    return Span(
        trace=trace,
        id=text_at(span.get("spanId"), *loc, "spanId"),
        parent=text_at(span.get("parentSpanId", ""), *loc, "parentSpanId"),
        start=start,
        end=_time(span.get("endTimeUnixNano", 0), *loc, "endTimeUnixNano"),
        attributes=_attributes(span.get("attributes", []), *loc),
        service=service,
        code=status.get("code", 0),
        document=document,
        loc=loc,
    )


def _time(value: Json, *loc: str | int) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= NANOSECONDS_DIGITS:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise refused("want nanoseconds since 1970", *loc)


def _attributes(listed: Json, *loc: str | int) -> dict[str, Json]:
    found = {}
    for place, item in enumerate(list_at(listed, *loc, "attributes")):
        entry = object_at(item, *loc, "attributes", place)
        found[text_at(entry.get("key"), *loc, "attributes", place, "key")] = _value(entry.get("value"))
    return found


def _value(value: Json, depth: int = 0) -> Json:
    """The value of an AnyValue; `None` where it has none that is known."""
    if not isinstance(value, dict) or depth > ATTRIBUTE_DEPTH_MAX:
        return None
    for name in ("stringValue", "boolValue", "doubleValue", "bytesValue"):
        if name in value:
            return value[name]
    if "intValue" in value:
        number = value["intValue"]
        return int(number) if isinstance(number, str) and _WHOLE.fullmatch(number) else number
    values = next((value[name] for name in ("arrayValue", "kvlistValue") if name in value), None)
    items = values.get("values", []) if isinstance(values, dict) else []
    entries = [one for one in items if isinstance(one, dict)] if isinstance(items, list) else []
    if "kvlistValue" in value:
        return {str(one.get("key")): _value(one.get("value"), depth + 1) for one in entries}
    return [_value(one, depth + 1) for one in entries] if "arrayValue" in value else None


def _grouped(spans: Sequence[Span]) -> dict[str, list[Span]]:
    """The spans of each trace by the id of its conversation, else its own, in the order in which they started."""
    ordered = sorted(spans, key=lambda span: (span.start, span.end, span.id))
    conversations: dict[str, str] = {}
    for span in ordered:
        told = span.attributes.get("gen_ai.conversation.id")
        if isinstance(told, str) and told:
            conversations.setdefault(span.trace, told)
    found: dict[str, list[Span]] = {}
    for span in ordered:
        told = span.attributes.get("gen_ai.conversation.id")
        key = told if isinstance(told, str) and told else conversations.get(span.trace, span.trace)
        found.setdefault(key, []).append(span)
    return found


def _trace(key: str, members: Sequence[Span]) -> Trace:
    known: dict[tuple[str, str], Span] = {}
    for span in members:
        if known.setdefault((span.trace, span.id), span) != span:
            where = ".".join(str(part) for part in span.loc)
            raise TraceOrderError(f"{where}: another span has this id", loc=span.loc)
    spans = list(known.values())
    agents = [span for span in spans if span.operation == AGENT]
    done = bool(agents) and agents[0].code in OK
    return Trace(
        episode_id=episode_id(key, key),
        calls=tuple(_calls(spans, known)),
        goal=goal_at({"goal": _told(spans, GOAL)})[0],
        roles=roles_at({"roles": _told(spans, ROLE)}),
        success=True if done else None,
        cut_off=not done,
        agent=_agent(spans),
    )


def _told(spans: Sequence[Span], prefix: str) -> dict[str, Json]:
    """The attributes whose names begin so, by what follows. Raises `TraceInvalidError` where spans contradict."""
    found: dict[str, Json] = {}
    for span in spans:
        for key, value in span.attributes.items():
            if key.startswith(prefix) and found.setdefault(key.removeprefix(prefix), value) != value:
                raise refused("another span of the trace has another value", *span.loc, "attributes", key)
    return found


def _agent(spans: Sequence[Span]) -> str | None:
    for span in spans:
        if span.attributes.get("gen_ai.agent.name") is not None:
            return label_at(span.attributes, "gen_ai.agent.name")
    return next((label_at({"service.name": span.service}, "service.name") for span in spans if span.service), None)


def _calls(spans: Sequence[Span], known: Mapping[tuple[str, str], Span]) -> Iterator[Call]:
    """The calls in the order in which they began; a tool's span inside that of the same call is that call."""
    turn = -1
    for span in spans:
        turn += span.operation in MODEL
        if span.operation != TOOL:
            continue
        around = known.get((span.trace, span.parent))
        same = span.attributes.get("gen_ai.tool.call.id")
        if around is None or around.operation != TOOL or around.attributes.get("gen_ai.tool.call.id") != same:
            arguments = span.attributes.get("gen_ai.tool.call.arguments")
            yield Call(
                name=name_at(span.attributes.get("gen_ai.tool.name"), *span.loc, "gen_ai.tool.name"),
                arguments=parsed(arguments) if isinstance(arguments, str) else arguments,
                ok=_worked(span),
                turn=max(turn, 0),
            )


def _worked(span: Span) -> bool | None:
    """Whether the tool worked: an error says no; a span that has not ended does not say."""
    if span.code in OK:
        return True
    if span.code in ERROR or "error.type" in span.attributes:
        return False
    result = span.attributes.get("gen_ai.tool.call.result")
    return None if span.end == 0 else content_worked(result)
