"""What a build chooses, copies, works out and stores."""

from __future__ import annotations

import zlib
from collections import Counter, deque
from dataclasses import fields
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from somabrain.oak.consolidation import (
    Published,
    Work,
    affected,
    betweenness,
    consolidate,
    distinct,
    of_bytes,
    targets,
    to_bytes,
)
from somabrain.oak.learning.states import cosine
from somabrain.oak.model import Mark, OptionModel, PrimitiveTable
from somabrain.oak.subtasks import Dynamics, dynamics, solve
from tests.reference.processes import (
    GAMMA,
    LOSS_PRICE,
    TIME_PRICE,
    Counts,
    ball,
    neighbours,
    random_counts,
    random_table,
    table,
)

SOURCES = 64


def process(known: PrimitiveTable) -> Dynamics:
    return dynamics(known, time_price=TIME_PRICE, loss_price=LOSS_PRICE)


def chain(states: int) -> PrimitiveTable:
    """0 ⇄ 1 ⇄ 2 …: the highest in the middle."""
    back = {(state, 0): {state - 1: 1} for state in range(1, states)}
    return table(back | {(state, 1): {state + 1: 1} for state in range(states - 1)}, states=states)


def unmarked(states: int, **marks: Mark) -> NDArray[np.uint8]:
    marked = np.zeros(states, dtype=np.uint8)
    for name, mark in marks.items():
        marked[int(name.removeprefix("s"))] = mark
    return marked


def brandes(ahead: list[set[int]], sources: list[int]) -> list[float]:
    """Brandes 2001, algorithm 1, with numbers of paths that can't overflow."""
    score = [0.0] * len(ahead)
    for source in sources:
        before: dict[int, list[int]] = {source: []}
        paths, depth = {source: 1}, {source: 0}
        stack, waiting = [], deque([source])
        while waiting:
            state = waiting.popleft()
            stack.append(state)
            for other in ahead[state]:
                if other not in depth:
                    depth[other], paths[other], before[other] = depth[state] + 1, 0, []
                    waiting.append(other)
                if depth[other] == depth[state] + 1:
                    paths[other] += paths[state]
                    before[other].append(state)
        depends = dict.fromkeys(stack, 0.0)
        for state in reversed(stack):
            for other in before[state]:
                depends[other] += paths[other] / paths[state] * (1 + depends[state])
            if state != source:
                score[state] += depends[state]
    return score


@given(st.integers(0, 2**32), st.integers(1, 90), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_betweenness_is_that_of_brandes(seed: int, states: int, actions: int) -> None:
    known = random_table(Random(seed), states=states, actions=actions)
    sources = list(range(states)) if states <= SOURCES else [n * states // SOURCES for n in range(SOURCES)]
    np.testing.assert_allclose(betweenness(process(known)), brandes(neighbours(known), sources), rtol=1e-9, atol=1e-9)


def test_more_paths_than_a_float_holds_do_not_matter() -> None:
    """4^560 shortest paths, about 1e337, through layers of four states, a side way of one path beside them."""
    layers, width = 560, 4
    counts = {
        (layer * width + place, way): {(layer + 1) * width + way: 1}
        for layer in range(layers)
        for place in range(width)
        for way in range(width)
    }
    known = table(counts, states=(layers + 1) * width)
    score = betweenness(process(known))
    assert np.isfinite(score).all()
    np.testing.assert_allclose(
        score, brandes(neighbours(known), [n * known.states // SOURCES for n in range(SOURCES)]), rtol=1e-9
    )


def test_targets_come_by_class_and_then_by_id() -> None:
    known = chain(12)
    marks = unmarked(
        12, s11=Mark.NOVELTY, s9=Mark.MARKED, s0=Mark.SUCCESS, s2=Mark.REWARD | Mark.NOVELTY, s7=Mark.MARKED
    )
    score = betweenness(process(known))
    chosen = targets(process(known), marks, published=(), limit=100)
    assert chosen[:4] == [0, 2, 7, 9]
    assert chosen[-1] == 11
    between = chosen[4:-1]
    assert between == sorted(between, key=lambda state: (-score[state], state))
    assert between == [5]  # 6 and 4 are beside it, 8, 10, 3 and 1 beside what was marked
    for limit in range(7):
        assert targets(process(known), marks, published=(), limit=limit) == chosen[:limit]


def test_bottlenecks_are_local_maxima_first_and_never_side_by_side() -> None:
    for seed in range(40):
        known = random_table(Random(seed), states=60, actions=2)
        dyn = process(known)
        score = betweenness(dyn)
        ahead = neighbours(known)
        beside = [ahead[state] | {other for other in range(60) if state in ahead[other]} for state in range(60)]
        chosen = targets(dyn, unmarked(60), published=(), limit=60)
        peaks = [all((-score[state], state) < (-score[other], other) for other in beside[state]) for state in chosen]
        assert peaks == sorted(peaks, reverse=True)
        assert chosen[: sum(peaks)] == sorted(chosen[: sum(peaks)], key=lambda state: (-score[state], state))
        assert chosen[sum(peaks) :] == sorted(chosen[sum(peaks) :], key=lambda state: (-score[state], state))
        assert not any(set(chosen) & beside[state] for state in chosen)
        assert all(score[state] > 0 and not known.terminal[state] for state in chosen)
        left = set(range(60)) - set(chosen)
        assert all(score[state] == 0 or set(chosen) & beside[state] for state in left)


def test_of_equally_high_neighbours_the_lower_id_is_the_bottleneck() -> None:
    dyn = process(chain(12))
    score = betweenness(dyn)
    assert score[5] == score[6] == score.max()
    assert targets(dyn, unmarked(12), published=(), limit=1) == [5]


def test_what_is_beside_a_published_bottleneck_is_none() -> None:
    dyn = process(chain(12))
    assert targets(dyn, unmarked(12), published=(4,), limit=9)[:2] == [4, 6]
    assert targets(dyn, unmarked(12), published=(0, 4), limit=9)[:2] == [4, 6]
    assert targets(dyn, unmarked(12), published=(8, 4, 5), limit=9) == [5, 4, 8, 2, 10]


def test_what_cannot_be_reached_is_no_target() -> None:
    counts = {(0, 0): {1: 1}, (1, 0): {2: 1}, (3, 0): {3: 4}}
    known = table(counts, states=4, terminal=[2])
    marks = np.full(4, Mark.REWARD | Mark.MARKED | Mark.NOVELTY, dtype=np.uint8)
    assert targets(process(known), marks, published=(0, 3), limit=9) == [1, 2]
    assert targets(process(table({}, states=0)), unmarked(0), published=(5,), limit=9) == []


@given(st.integers(0, 2**32), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_published_targets_keep_their_place_in_their_class(seed: int, limit: int) -> None:
    """While the cap allows; a new reward still comes before everything that is not one."""
    random = Random(seed)
    counts = random_counts(random, states=50, actions=2)
    before = process(table({pair: seen for pair, seen in counts.items() if pair[0] < 40}, states=50))
    marks = np.array([random.choice((0, 0, 0, 0, 1, 2, 4, 8)) for _ in range(50)], dtype=np.uint8)
    after = process(table(counts, states=50))
    published = targets(before, marks, published=(), limit=limit)
    marks[random.randrange(50)] |= Mark.REWARD
    chosen = targets(after, marks, published=published, limit=limit)
    score, reachable = betweenness(after), np.diff(after.incoming_at) > 0

    def rank(state: int) -> int:
        if marks[state] & (Mark.REWARD | Mark.SUCCESS):
            return 0
        return 1 if marks[state] & Mark.MARKED else 2 if score[state] > 0 else 3 if marks[state] & Mark.NOVELTY else 4

    eligible = [state for state in published if rank(state) <= 3 and reachable[state]]
    assert len(set(chosen)) == len(chosen) <= limit
    if len(chosen) < limit:
        assert set(eligible) <= set(chosen)
    for state in set(eligible) - set(chosen):
        assert all(rank(other) < rank(state) or (rank(other) == rank(state) and other in published) for other in chosen)
    rewarded = {state for state in range(50) if rank(state) == 0 and reachable[state]}
    assert rewarded <= set(chosen) or set(chosen) <= rewarded


@given(st.integers(0, 2**32), st.integers(0, 600), st.integers(0, 600))
@settings(max_examples=30, deadline=None)
def test_of_vectors_that_are_alike_the_first_is_kept(seed: int, count: int, limit: int) -> None:
    """Against every pair, one by one; among them pairs whose cosine is the threshold to the last bits."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(20, 3))
    loose = centres[random.integers(0, 20, count)] + random.choice([0, 0.02, 0.3], size=(count, 1)) * random.normal(
        size=(count, 3)
    )
    vectors = (loose / np.linalg.norm(loose, axis=1, keepdims=True)).astype(np.float32)
    facts = random.random(count) < 0.1
    threshold = 0.95 if count < 2 else cosine(vectors[0], vectors[1])
    kept: list[int] = []
    for state in range(count):
        others = (other for other in kept if not facts[other] and not facts[state])
        if not any(cosine(vectors[state], vectors[other]) >= threshold for other in others):
            kept.append(state)
    assert kept[:limit] == distinct(
        range(count),
        vector=lambda state: None if facts[state] else vectors[state],
        cosine=cosine,
        threshold=threshold,
        limit=limit,
    )


def built(
    dyn: Dynamics,
    chosen: list[int],
    published: Published | None = None,
    changed: set[int] | None = None,
    *,
    radius: int,
    states_max: int = 1000,
) -> list[Work]:
    return list(
        consolidate(
            dyn,
            chosen,
            published,
            np.array(sorted(changed or ()), dtype=np.int32),
            radius=radius,
            states_max=states_max,
            gamma=GAMMA,
            option_id_of=lambda target: f"opt:{target}",
        )
    )


def published(dyn: Dynamics, works: list[Work]) -> Published:
    return Published(models={one.target: one.model for one in works}, terminal=dyn.terminal)


def assert_same(one: OptionModel, other: OptionModel) -> None:
    for field in fields(OptionModel):
        mine, others = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, np.ndarray):
            assert (mine.dtype, mine.tobytes()) == (others.dtype, others.tobytes()), field.name
        else:
            assert mine == others, field.name


class Growing:
    """A world that episodes are added to: states appear, pairs change, states begin and cease to be terminal."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.states = self.random.randint(1, 12)
        self.counts: Counts = {}
        self.terminal: set[int] = set()

    def add_episode(self) -> set[int]:
        """The states with pairs that it changed."""
        if self.random.random() < 0.5:
            self.states += self.random.randint(0, 4)
        changed = set()
        state = self.random.randrange(self.states)
        for _ in range(self.random.randint(0, 8)):
            if state in self.terminal and self.random.random() < 0.8:
                break
            action = self.random.randrange(2)
            outcome = min(self.states - 1, max(0, state + self.random.choice((-2, -1, 0, 1, 1, 2))))
            seen = self.counts.setdefault((state, action), Counter())
            seen[outcome] += 1
            changed.add(state)
            state = outcome
        for _ in range(self.random.choice((0, 0, 1, 2))):
            self.terminal ^= {self.random.randrange(self.states)}
        return changed

    def dynamics(self) -> Dynamics:
        return process(table(self.counts, states=self.states, terminal=self.terminal))


@given(st.integers(0, 2**32), st.integers(0, 5), st.sampled_from([2, 5, 1000]))
@settings(max_examples=80, deadline=None)
def test_a_warm_build_is_a_cold_one_bit_for_bit(seed: int, radius: int, states_max: int) -> None:
    world = Growing(seed)
    last: Published | None = None
    changed: set[int] = set()
    for _ in range(8):
        changed |= world.add_episode()
        if world.random.random() < 0.3:
            continue  # several episodes between two builds
        dyn = world.dynamics()
        chosen = world.random.sample(range(world.states), world.random.randint(0, world.states))
        warm = built(dyn, chosen, last, changed, radius=radius, states_max=states_max)
        cold = built(dyn, chosen, radius=radius, states_max=states_max)
        assert [one.target for one in warm] == [one.target for one in cold] == chosen
        for one, other in zip(warm, cold, strict=True):
            assert one.copied == (last is not None and one.model is last.models.get(one.target))
            assert not other.copied
            assert_same(one.model, other.model)
        last, changed = published(dyn, warm), set()


@given(st.integers(0, 2**32), st.integers(0, 5))
@settings(max_examples=80, deadline=None)
def test_every_target_with_a_change_in_its_ball_is_affected(seed: int, radius: int) -> None:
    """In the ball before or after, by breadth-first search backward from each target."""
    world = Growing(seed)
    for _ in range(6):
        world.add_episode()
    before = table(world.counts, states=world.states, terminal=world.terminal)
    changed = world.add_episode()
    after = table(world.counts, states=world.states, terminal=world.terminal)
    flags = np.zeros(after.states, dtype=np.bool_)
    flags[: before.states] = before.terminal
    differs = changed | set(np.flatnonzero(flags != after.terminal).tolist())
    found = affected(process(after), np.array(sorted(changed), dtype=np.int32), before.terminal, radius)
    for target in range(after.states):
        inside = set(ball(after, [target], radius=radius, states_max=1000))
        if target < before.states:
            inside |= set(ball(before, [target], radius=radius, states_max=1000))
        if inside & differs:
            assert found[target]


def test_what_no_change_can_reach_is_copied() -> None:
    """One more step at one end of a long chain: within the radius all is solved again, beyond nothing."""
    known = chain(60)
    dyn = process(known)
    first = built(dyn, list(range(60)), radius=5)
    counts = {(state, 0): {state - 1: 1} for state in range(1, 60)}
    counts |= {(state, 1): {state + 1: 1} for state in range(59)}
    counts[3, 1] = {4: 2}
    again = built(process(table(counts, states=60)), list(range(60)), published(dyn, first), {3}, radius=5)
    assert [one.target for one in again if not one.copied] == list(range(9))
    assert all(one.model is first[one.target].model for one in again if one.copied)


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(0, 12))
@settings(max_examples=25, deadline=None)
def test_models_are_what_was_solved_rounded(seed: int, states: int, radius: int) -> None:
    dyn = process(random_table(Random(seed), states=states, actions=2))
    for target, model, copied in built(dyn, list(range(states)), radius=radius):
        exact = solve(dyn, [target], radius=radius, states_max=1000, gamma=GAMMA)
        assert not copied
        assert (model.option_id, model.target) == (f"opt:{target}", target)
        assert model.start.tolist() == exact.start.tolist()
        assert model.action.tolist() == exact.action.tolist()
        for name in ("probability", "reach", "reward", "duration"):
            assert getattr(model, name).tobytes() == getattr(exact, name).astype(np.float32).tobytes()
        assert (model.reach <= model.probability).all()
        assert (model.probability <= 1).all()
        assert (model.reach > 0).all()


def test_a_reach_too_small_to_store_is_no_start() -> None:
    known = table({(0, 0): {1: 1}, (1, 0): {2: 1}}, states=3, rewards={(0, 0): -15_000.0})
    dyn = process(known)
    assert solve(dyn, [2], radius=5, states_max=9, gamma=GAMMA).start.tolist() == [0, 1]
    assert built(dyn, [2], radius=5)[0].model.start.tolist() == [1]


@pytest.mark.parametrize("states", [0, 1])
def test_a_world_of_nothing_has_no_options(states: int) -> None:
    dyn = process(table({}, states=states))
    assert targets(dyn, np.full(states, 15, dtype=np.uint8), published=(), limit=9) == []
    assert built(dyn, [], radius=12) == []
    assert [one.model.start.size for one in built(dyn, list(range(states)), radius=12)] == [0] * states


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.integers(0, 2**31 - 1),
    st.lists(
        st.tuples(
            st.integers(0, 2**31 - 1),
            st.sampled_from([0, 3, 255, 256, 65_535, 65_536, 2**31 - 1]),
            *[st.floats(width=32, allow_nan=False)] * 4,
        ),
        max_size=30,
    ),
)
def test_what_is_stored_comes_back(
    option_id: str, target: int, rows: list[tuple[int, int, float, float, float, float]]
) -> None:
    columns = list(zip(*rows, strict=True)) or [()] * 6
    model = OptionModel(
        option_id=option_id,
        target=target,
        start=np.array(columns[0], dtype=np.int32),
        action=np.array(columns[1], dtype=np.int32),
        probability=np.array(columns[2], dtype=np.float32),
        reach=np.array(columns[3], dtype=np.float32),
        reward=np.array(columns[4], dtype=np.float32),
        duration=np.array(columns[5], dtype=np.float32),
    )
    stored = to_bytes(model)
    assert_same(of_bytes(stored), model)
    assert to_bytes(of_bytes(stored)) == stored
    assert len(stored) <= 16 + len(option_id.encode()) + 24 * len(rows)


def test_damage_is_noticed() -> None:
    model = built(process(chain(6)), [3], radius=4)[0].model
    stored = to_bytes(model)
    damaged = [stored[:length] for length in range(len(stored))]
    damaged += [stored + b"\0", b"\0" + stored, stored + stored, b"garbage"]
    damaged += [
        stored[:at] + bytes([stored[at] ^ 1 << bit]) + stored[at + 1 :] for at in range(len(stored)) for bit in range(8)
    ]
    for data in damaged:
        with pytest.raises(ValueError, match="damaged"):
            of_bytes(data)


def test_another_format_is_refused() -> None:
    stored = bytearray(to_bytes(built(process(chain(6)), [3], radius=4)[0].model))
    stored[0] = 2
    stored[-4:] = zlib.crc32(stored[:-4]).to_bytes(4, "little")
    with pytest.raises(ValueError, match="format 2"):
        of_bytes(bytes(stored))
