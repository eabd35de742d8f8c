"""Exact recall: the index against the definition of the score, whatever the order of what happened."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somabrain.memory.codes import relevance_bounds
from somabrain.memory.entries import entries_of
from somabrain.memory.index import MemoryIndex
from somabrain.memory.lexical import LexicalIndex, add_shares, count_living
from somabrain.memory.model import Memory, Query, Scored, Weights
from somabrain.memory.scoring import raise_bounds
from somabrain.oak.learning import unit_vector
from somabrain.oak.learning.states import cosine
from tests.kernels import running

KERNELS = (relevance_bounds, raise_bounds, add_shares, count_living)
DIMENSION = 4
NOW_MS = 1_000_000
WEIGHTS = Weights(lexical=0.4, importance=0.05, recency=0.02, half_life_ms=250_000.0)
WORDS = ["tea", "kettle", "boil", "red door", "the red kettle", "open the door", "x"]


@pytest.fixture(autouse=True, scope="module", params=["products", "codes"])
def rough(request: pytest.FixtureRequest) -> Iterator[None]:
    """How the index finds what is worth an exact look: what it then answers is the same."""
    with running(KERNELS, compiled=request.param == "codes"):
        yield


components = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), min_size=DIMENSION, max_size=DIMENSION).filter(any)
metadata = st.dictionaries(
    st.sampled_from(["a", "b"]), st.sampled_from([1, 1.0, True, "1", "x", None, [1]]), max_size=2
)


@st.composite
def memories(draw: st.DrawFn) -> Memory:
    return Memory(
        memory_id=draw(st.sampled_from("ABCDEFGH")),
        content=draw(st.sampled_from(WORDS)),
        metadata=draw(metadata),
        importance=draw(st.sampled_from([0.0, 0.5, 1.0])),
        created_at_ms=draw(st.sampled_from([0, 500_000, NOW_MS, NOW_MS + 5])),
        expires_at_ms=draw(st.sampled_from([None, NOW_MS - 1, NOW_MS, NOW_MS + 1])),
        vector=unit_vector(draw(components), DIMENSION),
        sequence=1,
        checksum="",
    )


changes = st.lists(st.one_of(memories(), st.sampled_from("ABCDEFGH")), max_size=120)
queries = st.builds(
    Query,
    vector=components.map(lambda values: unit_vector(values, DIMENSION)),
    text=st.sampled_from([None, *WORDS]),
    entries=metadata.map(entries_of),
    top_k=st.integers(1, 9),
    min_score=st.sampled_from([None, -0.5, 0.0, 0.3]),
)


def applied(steps: list[Memory | str], chunk: int) -> tuple[MemoryIndex, dict[str, Memory]]:
    index, known = MemoryIndex(DIMENSION), {}
    for first in range(0, len(steps), chunk):
        stored: dict[str, Memory] = {}
        forgotten: list[str] = []
        for step in steps[first : first + chunk]:
            if isinstance(step, Memory):
                stored[step.memory_id] = step
                known[step.memory_id] = step
            else:
                stored.pop(step, None)
                known.pop(step, None)
                forgotten.append(step)
        index.apply(forgotten, list(stored.values()), first)
    return index, known


def defined(known: dict[str, Memory], query: Query) -> list[Scored]:
    """Every memory scored one by one, as ADR 0008 says."""
    order = sorted(known)
    words = LexicalIndex()
    words.append([known[name].content for name in order])
    lexical = words.scores(query.text) if query.text is not None else np.zeros(len(order))
    found = []
    for name, share in zip(order, lexical.tolist(), strict=True):
        memory = known[name]
        if not memory.lives_at(NOW_MS) or not query.entries <= entries_of(memory.metadata):
            continue
        near = cosine(memory.vector.array(), query.vector.array())
        relevance = near if query.text is None else (1 - WEIGHTS.lexical) * near + WEIGHTS.lexical * share
        age_ms = max(0, NOW_MS - memory.created_at_ms)
        boost = WEIGHTS.importance * (2 * memory.importance - 1)
        boost += WEIGHTS.recency * (math.pow(2, -age_ms / WEIGHTS.half_life_ms) - 1)
        score = round(relevance + boost, 6)
        if query.min_score is None or score >= query.min_score:
            found.append(Scored(memory_id=name, score=score))
    return sorted(found, key=lambda hit: (-hit.score, hit.memory_id))[: query.top_k]


@settings(max_examples=400, deadline=None)
@given(steps=changes, chunk=st.integers(1, 7), query=queries)
def test_what_is_recalled_is_what_the_definition_says(steps: list[Memory | str], chunk: int, query: Query) -> None:
    index, known = applied(steps, chunk)
    assert len(index) == len(known)
    found, wanted = index.best(query, NOW_MS, WEIGHTS), defined(known, query)
    assert [hit.score for hit in found] == [hit.score for hit in wanted]
    assert [hit.memory_id for hit in found] == [hit.memory_id for hit in wanted]


@settings(max_examples=200, deadline=None)
@given(steps=changes, query=queries, seed=st.randoms(use_true_random=False))
def test_how_the_memories_came_here_does_not_show(steps: list[Memory | str], query: Query, seed: object) -> None:
    index, known = applied(steps, 3)
    fresh = MemoryIndex(DIMENSION)
    shuffled = list(known.values())
    seed.shuffle(shuffled)  # type: ignore[attr-defined]
    fresh.apply((), shuffled, 1)
    assert index.best(query, NOW_MS, WEIGHTS) == fresh.best(query, NOW_MS, WEIGHTS)


def test_a_thousand_replacements_of_one_memory_leave_one() -> None:
    index = MemoryIndex(DIMENSION)
    memory = Memory(
        memory_id="one",
        content="tea",
        metadata={"a": 1},
        importance=0.5,
        created_at_ms=NOW_MS,
        expires_at_ms=None,
        vector=unit_vector([1.0, 0.0, 0.0, 0.0], DIMENSION),
        sequence=1,
        checksum="",
    )
    for number in range(1000):
        index.apply((), [replace(memory, content=f"tea {number}")], number)
    query = Query(vector=memory.vector, text=None, entries=entries_of({"a": 1}), top_k=5, min_score=None)
    assert index.best(query, NOW_MS, WEIGHTS) == [Scored(memory_id="one", score=1.0)]
    assert len(index) == 1
    index.apply(["one"], [], 1001)
    assert index.best(query, NOW_MS, WEIGHTS) == []


@pytest.mark.parametrize("entries", [frozenset(), entries_of({"kind": 1})], ids=["all", "some"])
def test_of_thousands_the_best_are_found(entries: frozenset[str]) -> None:
    """Many so near to each other that only the exact scores tell them apart, and some that are equal."""
    rng = np.random.default_rng(7)
    centre = rng.normal(size=48)
    rows = centre + rng.normal(scale=0.02, size=(3000, 48))
    rows[1::7] = rows[::7][: len(rows[1::7])]
    known = {
        f"m{number}": Memory(
            memory_id=f"m{number}",
            content=WORDS[number % len(WORDS)],
            metadata={"kind": number % 3},
            importance=(number % 5) / 4,
            created_at_ms=NOW_MS - number,
            expires_at_ms=None,
            vector=unit_vector(row.tolist(), 48),
            sequence=number,
            checksum="",
        )
        for number, row in enumerate(rows)
    }
    index = MemoryIndex(48)
    index.apply((), list(known.values()), 1)
    for text in (None, "the red kettle"):
        query = Query(vector=unit_vector(centre.tolist(), 48), text=text, entries=entries, top_k=50, min_score=None)
        assert index.best(query, NOW_MS, WEIGHTS) == defined(known, query)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(-8, 8), st.integers(0, 4)), min_size=1, max_size=40), st.integers(1, 6), st.data()
)
def test_raised_bounds_and_the_highest_of_them(made: list[tuple[int, int]], count: int, data: st.DataObject) -> None:
    rows = np.array(data.draw(st.permutations(range(len(made)))), dtype=np.int64)
    importance = np.array([place / 4 for _, place in made])
    relevant = np.array([score / 8 for score, _ in made])
    wanted = relevant + 0.1 * (2 * importance[rows] - 1)
    for compiled in (False, True):
        low, high, best = relevant.copy(), relevant + 1, np.full(count, -np.inf)
        with running([raise_bounds], compiled=compiled):
            raise_bounds(low, high, importance, rows, 0.1, best)
        assert low.tolist() == wanted.tolist()
        assert np.allclose(high, wanted + 1)
        highest = sorted(wanted.tolist())[-count:]
        assert best.tolist() == [-math.inf] * (count - len(highest)) + highest
