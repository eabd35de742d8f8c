"""Traces that are broken in every way that comes to mind, on the way that `somabrain learn` takes up to its server.

    python -m benchmarks.hostile_traces [--count 100000] [--seed 0]

Whole traces of every format, most of them spoilt: values taken away, put elsewhere, doubled, made another kind, nested
deep, made long; results missing, before their calls, twice; parents in circles; lines cut, with bytes changed. One in
`WHOLE_EVERY` is left whole and has to be converted. Status 1 where one is not, or where a line comes to nothing at all,
neither an episode nor a refusal. `by the service` counts episodes that `POST /oak/episode` would refuse by their shape.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from pydantic import ValidationError

from somabrain.api.experience_schemas import EpisodePart
from somabrain.commands.trace_files import pieces
from somabrain.traces import converted, parts_of

WHOLE_EVERY = 10
LONG_EVERY = 2000
LONG_BYTES = 10_000_000
SPOILINGS_MAX = 4
DEEP = 30
DEEPEST = 600
"""Deeper than what is taken, and less deep than what Python's own writer of JSON takes."""
JUNK: Sequence[Any] = (
    None, True, False, 0, -1, 1e308, 2**63, 10**400, "", "x", "\x00", "🦊", "\ud800", [], {}, [[]], {"": None},
    [None] * 3, "tool", "assistant", "9" * 5000, {"role": "tool"}, {"function": {"name": None}}, 'Error: "', '{"a":',
    "NaN",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a file of traces; `whole` is the episode's id where it has to be learned."""

    text: bytes
    whole: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What became of the lines."""

    converted: int
    refused: Counter[str]
    by_service: int
    nothing: Sequence[int]
    lost: Sequence[int]
    slowest_s: float


def lines(count: int, seed: int) -> Iterator[Line]:
    """The lines, the same for the same seed."""
    random = Random(seed)
    for number in range(count):
        make = random.choice(MAKERS)
        document = make(random, number)
        if number % WHOLE_EVERY == 0:
            yield Line(text=json.dumps(document).encode(), whole=f"whole-{number}")
            continue
        for _ in range(random.randint(1, SPOILINGS_MAX)):
            document = spoilt(document, random)
        text = json.dumps(document).encode()
        if number % LONG_EVERY == 1:
            text = text.replace(b"Oslo", b"x" * LONG_BYTES, 1)
        if random.random() < 1 / WHOLE_EVERY**2:
            text = text.replace(b'\\"Oslo\\"', b"[" * DEEPEST + b"]" * DEEPEST)
        yield Line(text=_cut(text, random) if random.random() < 1 / WHOLE_EVERY else text, whole=None)


def messages(random: Random, number: int) -> Any:
    """Chat messages with calls, some at once."""
    talk: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Book it."}]
    for turn in range(random.randint(1, 6)):
        ids = [f"call_{turn}_{place}" for place in range(random.randint(1, 3))]
        calls = [
            {
                "id": own,
                "type": "function",
                "function": {"name": random.choice(("look", "book", "pay")), "arguments": '{"city": "Oslo"}'},
            }
            for own in ids
        ]
        talk.append({"role": "assistant", "content": None, "tool_calls": calls})
        talk += [
            {"role": "tool", "tool_call_id": own, "content": random.choice(("[]", "Error: no"))}
            for own in ids
            if random.random() < 1 - 1 / WHOLE_EVERY
        ]
    return {"id": f"whole-{number}", "messages": talk, "success": random.choice((True, False, None))}


def tau(random: Random, number: int) -> Any:
    """A tau-bench run."""
    talk = messages(random, number)
    return {"id": talk["id"], "task_id": 7, "reward": random.choice((0.0, 1.0)), "traj": talk["messages"], "trial": 0}


def spans(random: Random, number: int) -> Any:
    """OTLP spans, each the parent of the next."""
    own = f"whole-{number}"
    listed: list[Any] = []
    for place in range(random.randint(1, 6)):
        name = random.choice(("look", "book", "pay"))
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.call.id": f"c{place}",
            "gen_ai.conversation.id": own,
            "gen_ai.tool.call.arguments": '{"city": "Oslo"}',
        }
        listed.append(
            {
                "traceId": f"{number:032x}",
                "spanId": f"{place:016x}",
                "parentSpanId": f"{place - 1:016x}" if place else "",
                "name": f"execute_tool {name}",
                "startTimeUnixNano": str(10**18 + place),
                "endTimeUnixNano": str(10**18 + place + 1),
                "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()],
                "status": random.choice(({}, {"code": 1}, {"code": 2})),
            }
        )
    random.shuffle(listed)
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"spans": listed}]}]}


def steps(random: Random, number: int) -> Any:
    """An episode."""
    found = [
        {"state": {"features": {"city": place}}, "action": random.choice(("go", {"stay": "city"})), "ok": True}
        for place in range(random.randint(1, 6))
    ]
    return {"episode_id": f"whole-{number}", "steps": found, "final": {"features": {"city": -1}}, "success": True}


def walks(random: Random, number: int) -> Any:
    """An episode of an environment."""
    count = random.randint(1, 6)
    return {
        "id": f"whole-{number}",
        "observations": [{"at": [place, 0], "city": "Oslo"} for place in range(count + 1)],
        "actions": [random.choice((0, [0.5, 1.0])) for _ in range(count)],
        "rewards": [0.0] * count,
        "terminations": [False] * (count - 1) + [True],
        "truncations": [False] * count,
    }


MAKERS: Sequence[Callable[[Random, int], Any]] = (messages, tau, spans, steps, walks)


def spoilt(document: Any, random: Random) -> Any:
    """The document with one thing wrong."""
    root = [document]
    places = list(_places(root))
    holder, key = random.choice(places)
    way = random.randrange(6)
    if way == 0:
        holder[key] = _copied(random.choice(JUNK))
    elif way == 1 and holder is not root:
        del holder[key]
    elif way == 2 and isinstance(holder[key], list):
        random.shuffle(holder[key])
    elif way == 3 and isinstance(holder[key], list) and holder[key]:
        holder[key] += [_copied(random.choice(holder[key]))] * random.randint(1, 3)
    elif way == 4:
        other, name = random.choice(places)
        holder[key] = _copied(other[name]) if random.random() < 0.5 else [holder[key]]
    else:
        for _ in range(random.choice((1, DEEP))):
            holder[key] = [holder[key]] if random.random() < 0.5 else {"value": holder[key]}
    return root[0]


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every value inside, as what holds it and where."""
    todo = [value]
    while todo:
        holder = todo.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            yield holder, key
            if isinstance(holder[key], dict | list):
                todo.append(holder[key])


def _cut(text: bytes, random: Random) -> bytes:
    """The line with its end or a byte changed."""
    place = random.randrange(len(text))
    junk = random.choice((b"", b"\xff", b"\\", b'"', b"}", b"[[[[", b"NaN", b"\x00", b"\xed\xa0\x80", b"[" * 10**5))
    return text[:place] + junk + (text[place + 1 :] if random.random() < 0.5 else b"")


def counted(given: Sequence[Line], folder: Path) -> Counted:
    """Reads the lines from a file, as `somabrain learn` does, and converts each."""
    path = folder / "hostile.jsonl"
    path.write_bytes(b"\n".join(line.text for line in given))
    episodes, by_service, slowest = 0, 0, 0.0
    refused: Counter[str] = Counter()
    told: Counter[int] = Counter()
    learned: set[str] = set()
    for piece in pieces(path):
        began = time.perf_counter()
        found = [] if piece.refusal else [one for part in parts_of(piece.document) for one in converted(part)]
        slowest = max(slowest, time.perf_counter() - began)
        told[piece.line - 1] += len(found) + (piece.refusal is not None)
        refusals = [one.refusal for one in found if one.refusal] + ([piece.refusal] if piece.refusal else [])
        refused.update(refusal.code for refusal in refusals)
        for one in found:
            if one.body is not None:
                episodes += 1
                learned.add(one.body["episode_id"])
                by_service += not _taken(one.body)
    return Counted(
        converted=episodes,
        refused=refused,
        by_service=by_service,
        nothing=[number for number, line in enumerate(given) if line.text.strip() and not told[number]],
        lost=[number for number, line in enumerate(given) if line.whole is not None and line.whole not in learned],
        slowest_s=slowest,
    )


def _taken(body: Any) -> bool:
    try:
        EpisodePart.model_validate_json(json.dumps(body))
    except ValidationError:
        return False
    return True


def main(arguments: Sequence[str]) -> int:
    """Prints what became of the lines; status 1 where a whole one was lost or one came to nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = counted(list(lines(options.count, options.seed)), Path(folder))
    print(f"{options.count} lines in {time.perf_counter() - began:.0f} s, the slowest {found.slowest_s * 1000:.0f} ms")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB, all lines held")
    print(f"episodes: {found.converted}, of which refused by the service: {found.by_service}")
    for code, number in found.refused.most_common():
        print(f"{code}: {number}")
    print(f"lines that came to nothing: {len(found.nothing)}; whole traces lost: {len(found.lost)}")
    return 1 if found.nothing or found.lost else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
