"""Decision processes of a few states, as counts in dictionaries and as tables, and what is true of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from random import Random

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.model import PrimitiveTable

TIME_PRICE, LOSS_PRICE, GAMMA = 0.001, 0.01, 0.99

Counts = dict[tuple[int, int], Counter[int]]
"""How often each (state, action) led where."""


def table(
    counts: Mapping[tuple[int, int], Mapping[int, int]],
    *,
    states: int,
    terminal: Iterable[int] = (),
    rewards: Mapping[tuple[int, int], float] | None = None,
) -> PrimitiveTable:
    """The table of these counts; `rewards` are means of a try, 0 where there is none."""
    pairs = sorted(counts)
    rows = [sorted(counts[pair].items()) for pair in pairs]
    tries = np.array([sum(seen for _, seen in row) for row in rows], dtype=np.int64)
    mean = np.array([(rewards or {}).get(pair, 0.0) for pair in pairs], dtype=np.float64)
    flags = np.zeros(states, dtype=np.bool_)
    flags[list(terminal)] = True
    return PrimitiveTable(
        action_ids=tuple(f"act:{number}" for number in range(max((action for _, action in pairs), default=-1) + 1)),
        states=states,
        start=np.array([start for start, _ in pairs], dtype=np.int32),
        action=np.array([action for _, action in pairs], dtype=np.int32),
        count=tries,
        reward=mean * tries,
        loss=np.maximum(0, -mean) * tries,
        fresh=np.zeros(len(pairs), dtype=np.bool_),
        offset=np.array([0, *np.cumsum([len(row) for row in rows], dtype=np.int64)], dtype=np.int64),
        outcome=np.array([outcome for row in rows for outcome, _ in row], dtype=np.int32),
        outcome_count=np.array([seen for row in rows for _, seen in row], dtype=np.int64),
        terminal=flags,
    )


def random_counts(random: Random, *, states: int, actions: int) -> Counts:
    """Each action tried in most states; it leads to up to four states, more often to near numbers."""
    counts: Counts = {}
    for state in range(states):
        for action in range(actions):
            if random.random() < 0.85:
                near = [min(states - 1, max(0, state + random.randint(-3, 3))) for _ in range(3)]
                ways = random.sample([*near, random.randrange(states)], random.randint(1, 4))
                counts[state, action] = Counter({way: random.choice((1, 1, 2, 3, 20)) for way in ways})
    return counts


def random_table(random: Random, *, states: int, actions: int) -> PrimitiveTable:
    """A table of such counts, with losses in some pairs and some terminal states."""
    counts = random_counts(random, states=states, actions=actions)
    return table(
        counts,
        states=states,
        terminal=[state for state in range(states) if random.random() < 0.15],
        rewards={pair: random.choice((0.0, 1.0, -1.0, -0.5, -10.0)) for pair in counts},
    )


def neighbours(known: PrimitiveTable) -> list[set[int]]:
    """(S,) where each state can lead: without itself, and from terminal states nowhere."""
    ahead: list[set[int]] = [set() for _ in range(known.states)]
    for pair, start in enumerate(known.start.tolist()):
        if not known.terminal[start]:
            ahead[start] |= set(known.outcome[known.offset[pair] : known.offset[pair + 1]].tolist()) - {start}
    return ahead


def ball(known: PrimitiveTable, goals: Iterable[int], *, radius: int, states_max: int) -> list[int]:
    """The states within `radius` steps before the goals, by (steps, number), the first `states_max`."""
    ahead = neighbours(known)
    inside: list[int] = []
    reached = set(goals)
    edge = set(reached)
    for _ in range(radius):
        edge = {state for state in range(known.states) if ahead[state] & edge} - reached
        reached |= edge
        inside += sorted(edge)
    return inside[:states_max]


def branching(known: PrimitiveTable, *, discounted: bool) -> dict[tuple[int, int], NDArray[np.float64]]:
    """Of each (state, action) not of a terminal state the (S,) odds of each outcome, times D where `discounted`."""
    odds = {}
    for pair, (start, action) in enumerate(zip(known.start.tolist(), known.action.tolist(), strict=True)):
        if not known.terminal[start]:
            row = np.zeros(known.states)
            span = slice(known.offset[pair], known.offset[pair + 1])
            row[known.outcome[span]] = known.outcome_count[span] / (known.count[pair] + TIME_PRICE)
            loss = known.loss[pair] / known.count[pair]
            odds[start, action] = row * (np.exp(-TIME_PRICE - LOSS_PRICE * loss) if discounted else 1)
    return odds


def of_policy(
    odds: Mapping[tuple[int, int], NDArray[np.float64]], policy: Mapping[int, int], goals: set[int]
) -> dict[int, float]:
    """The sum of odds of the ways of a policy into the goals, solved exactly."""
    states = sorted(policy)
    if not states:
        return {}
    rows = np.array([odds[state, policy[state]] for state in states])
    won = rows[:, sorted(goals)].sum(axis=1)
    return dict(zip(states, np.linalg.solve(np.eye(len(states)) - rows[:, states], won).tolist(), strict=True))


def best(odds: Mapping[tuple[int, int], NDArray[np.float64]], inside: list[int], goals: set[int]) -> dict[int, float]:
    """The most that any policy inside makes of `of_policy`: policy iteration (Howard 1960)."""
    states = [state for state in inside if any(start == state for start, _ in odds)]
    actions = {state: [action for start, action in sorted(odds) if start == state] for state in states}
    policy = {state: actions[state][0] for state in states}
    for _ in range(1000):
        value = of_policy(odds, policy, goals)

        def worth(state: int, action: int, value: dict[int, float] = value) -> float:
            row = odds[state, action]
            return sum(row[goal] for goal in goals) + sum(row[other] * value[other] for other in value)

        better = {}
        for state in states:
            first = max(actions[state], key=lambda action, state=state: worth(state, action))  # type: ignore[misc]
            if worth(state, first) > worth(state, policy[state]) + 1e-13:
                better[state] = first
        if not better:
            return value
        policy |= better
    raise AssertionError("policy iteration ends after finitely many improvements")


def simulated(
    known: PrimitiveTable, policy: Mapping[int, int], goals: set[int], start: int, *, runs: int, seed: int
) -> tuple[int, float]:
    """How many of `runs` from `start` end in a goal, and how long runs are; what fails or leaves the policy ends."""
    generator = np.random.default_rng(seed)
    odds = branching(known, discounted=False)
    bounds = {state: np.cumsum(odds[state, action]) for state, action in policy.items()}
    at = np.full(runs, start)
    going = np.arange(runs)
    steps = 0
    while going.size:
        steps += going.size
        drawn = generator.random(going.size)
        here = at[going]
        for state in np.unique(here).tolist():
            chosen = here == state
            at[going[chosen]] = np.searchsorted(bounds[state], drawn[chosen], side="right")
        going = going[np.isin(at[going], list(policy))]
    return int(np.isin(at, list(goals)).sum()), steps / runs
