"""States, similarity and prototypes against plain definitions."""

from __future__ import annotations

import math
from hashlib import blake2b
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somabrain.errors import FactsCancelError, InvalidRequestError, NumberOutOfRangeError
from somabrain.oak.learning import Draft, StateIndex, facts, facts_vector, similarity, unit_vector
from somabrain.oak.model import Facts, Prototype, State, Vector

DIMENSION = 8
scalars = st.one_of(
    st.text(max_size=3),
    st.booleans(),
    st.integers(-5, 5),
    st.floats(-9e15, 9e15),
)
facts_states = st.dictionaries(st.text(min_size=1, max_size=2), scalars, min_size=1, max_size=5).map(facts)
small_facts = st.dictionaries(st.sampled_from("abc"), st.sampled_from([0, 1, "x", True]), min_size=1).map(facts)
components = st.lists(st.floats(-1e15, 1e15), min_size=DIMENSION, max_size=DIMENSION).filter(any)
vectors = components.map(lambda values: unit_vector(values, DIMENSION))


def exact_cosine(a: Vector, b: Vector) -> float:
    x, y = a.array().astype(float).tolist(), b.array().astype(float).tolist()
    return max(-1.0, min(1.0, round(math.fsum(p * q for p, q in zip(x, y, strict=True)), 6)))


def test_equal_by_rfc_8785() -> None:
    assert facts({"a": 1}) == facts({"a": 1.0})
    assert len({facts({"a": value}).canonical for value in (1, True, "1", 1.5)}) == 4
    assert facts({"b": 1, "a": -0.0}).canonical == '{"a":0,"b":1}'


@pytest.mark.parametrize("number", [math.nan, math.inf, 2**53, -(2**53), 1e300, float(2**53)])
def test_numbers_that_json_cannot_keep_are_refused(number: float) -> None:
    with pytest.raises(NumberOutOfRangeError):
        facts({"a": number})


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(InvalidRequestError):
        facts({"a": "\ud800"})


@given(facts_states)
def test_hashed_features_equal_their_definition(state: Facts) -> None:
    entries = sorted(state.entries)
    texts = entries + [f"[{a},{b}]" for i, a in enumerate(entries) for b in entries[i + 1 :]]
    expected = np.zeros(64)
    for text in texts:
        bits = int.from_bytes(blake2b(text.encode(), digest_size=8, key=b"somabrain-facts-1").digest(), "big")
        expected[(bits % 2**63) % 64] += -1 if bits >= 2**63 else 1
    if not expected.any():
        with pytest.raises(FactsCancelError):
            facts_vector(state, 64)
    else:
        assert facts_vector(state, 64) == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)


def test_facts_that_cancel_are_refused() -> None:
    """In two dimensions many do; the first one found is enough."""
    outcomes = []
    for number in range(200):
        try:
            facts_vector(facts({"a": number, "b": number, "c": number}), 2)
            outcomes.append(True)
        except FactsCancelError:
            outcomes.append(False)
    assert True in outcomes
    assert False in outcomes


@given(facts_states, facts_states)
def test_similarity_of_facts_is_the_share_of_the_target_that_holds(state: Facts, target: Facts) -> None:
    def holds(name: str) -> bool:
        return name in state.values and facts({name: state.values[name]}) == facts({name: target.values[name]})

    assert similarity(state, target) == sum(map(holds, target.values)) / len(target.values)


@given(components, st.floats(1e-200, 1e200))
def test_a_vector_is_its_direction(values: list[float], scale: float) -> None:
    scaled = [value * scale for value in values]
    if max(map(abs, scaled)) > 1e15 or max(map(abs, scaled)) < 1e-290:
        return
    a, b = unit_vector(values, DIMENSION), unit_vector(scaled, DIMENSION)
    assert np.linalg.norm(a.array().astype(float)) == pytest.approx(1.0, abs=1e-6)
    assert exact_cosine(a, b) == 1.0


@pytest.mark.parametrize(
    "values", [[0.0] * 8, [1.0] * 7, [math.nan] * 8, [math.inf] + [0.0] * 7, [1e308] * 8, [1.1e15] * 8, []]
)
def test_what_is_no_direction_is_refused(values: list[float]) -> None:
    with pytest.raises(InvalidRequestError):
        unit_vector(values, DIMENSION)


def test_facts_and_vectors_never_mix() -> None:
    assert similarity(facts({"a": 1}), unit_vector([1.0] * 8, DIMENSION)) is None
    assert similarity(unit_vector([1.0] * 8, DIMENSION), facts({"a": 1})) is None


def filled(states: list[State]) -> StateIndex:
    index = StateIndex(DIMENSION)
    index.append([Prototype(number=n, state=state) for n, state in enumerate(states)])
    return index


@settings(max_examples=200)
@given(
    st.lists(st.one_of(small_facts, vectors), max_size=30),
    small_facts,
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.integers(0, 30),
)
def test_goals_of_facts_against_brute_force(states: list[State], target: Facts, threshold: float, limit: int) -> None:
    states = list(dict.fromkeys(states))
    limit = min(limit, len(states))
    likeness = {n: similarity(state, target) for n, state in enumerate(states[:limit])}
    comparable = {n: s for n, s in likeness.items() if s is not None}
    goals = filled(states).meeting(target, threshold, limit)
    assert goals.numbers == tuple(n for n, s in comparable.items() if s >= threshold)
    assert goals.best == max(comparable.values(), default=None)


@settings(max_examples=200)
@given(st.lists(st.one_of(vectors, small_facts), max_size=20), vectors, st.floats(-1, 1), st.integers(0, 20))
def test_goals_and_nearest_of_vectors_against_brute_force(
    states: list[State], target: Vector, threshold: float, limit: int
) -> None:
    states = list(dict.fromkeys(states))
    limit = min(limit, len(states))
    likeness = {n: exact_cosine(s, target) for n, s in enumerate(states[:limit]) if isinstance(s, Vector)}
    index = filled(states)
    goals = index.meeting(target, threshold, limit)
    assert goals.numbers == tuple(n for n, s in likeness.items() if s >= threshold)
    assert goals.best == max(likeness.values(), default=None)
    ranked = sorted(likeness, key=lambda n: (-likeness[n], n))
    assert [match.number for match in index.nearest(target, 5, limit)] == ranked[:5]
    closest = index.closest(target, limit)
    assert (closest.number if closest else None) == (ranked[0] if ranked else None)


@settings(max_examples=200)
@given(st.lists(st.one_of(vectors, small_facts), max_size=20), st.integers(0, 20), st.floats(0.3, 1.0))
def test_assignment_is_the_same_committed_or_not(states: list[State], split: int, threshold: float) -> None:
    """A draft over part of the states assigns as one that has seen them all, and as brute force does."""
    known: list[State] = []

    def expected(state: State) -> int:
        if isinstance(state, Facts):
            if state in known:
                return known.index(state)
        else:
            near = {n: exact_cosine(k, state) for n, k in enumerate(known) if isinstance(k, Vector)}
            best = min(near, key=lambda n: (-near[n], n), default=None)
            if best is not None and near[best] >= threshold:
                return best
        known.append(state)
        return len(known) - 1

    def assigned(draft: Draft, state: State) -> int:
        number = draft.find(state)
        return draft.add(state) if number is None else number

    numbers = [expected(state) for state in states]
    whole = Draft(StateIndex(DIMENSION), 0, DIMENSION, threshold)
    assert [assigned(whole, state) for state in states] == numbers
    first = Draft(StateIndex(DIMENSION), 0, DIMENSION, threshold)
    before = [assigned(first, state) for state in states[:split]]
    index = StateIndex(DIMENSION)
    index.append(first.new)
    second = Draft(index, len(index), DIMENSION, threshold)
    assert before + [assigned(second, state) for state in states[split:]] == numbers


@settings(max_examples=200)
@given(st.lists(small_facts, max_size=20), small_facts)
def test_nearest_of_facts_share_most(states: list[Facts], state: Facts) -> None:
    states = list(dict.fromkeys(states))
    shared = [len(known.entries & state.entries) for known in states]
    ranked = sorted(range(len(states)), key=lambda n: (-shared[n], n))
    assert [match.number for match in filled(list(states)).nearest(state, 5, len(states))] == ranked[:5]


@given(st.lists(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2), min_size=1), min_size=1, max_size=80))
def test_familiarity_is_the_greatest_cosine_of_entries_and_pairs(given_facts: list[dict[str, int]]) -> None:
    """By sets: the features of a state are its entries and all pairs of them."""

    def features(values: dict[str, int]) -> set[frozenset[tuple[str, int]]]:
        return {frozenset(pair) for size in (1, 2) for pair in combinations(values.items(), size)}

    index = StateIndex(8)
    *known, asked = given_facts
    index.append([Prototype(number=number, state=facts(values)) for number, values in enumerate(known)])
    for limit in {0, len(known) // 2, len(known)}:
        cosines = (
            len(features(one) & features(asked)) / math.sqrt(len(features(one)) * len(features(asked)))
            for one in known[:limit]
        )
        assert index.familiarity(facts(asked), limit) == pytest.approx(max(cosines, default=0.0), abs=1e-12)
