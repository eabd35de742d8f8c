"""The odds of a run: counts against a definition that goes through the episodes, bounds, and calibration in worlds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

import pytest

from somabrain.oak.learning import Lived, Tallies
from somabrain.oak.model import EVERYONE, EVERYWHERE, Odds, Tallied, Tally, Tried, bucket
from somabrain.oak.model.odds import BUCKETS, EXACT_STEPS
from somabrain.oak.planner import Question, chances, odds
from somabrain.oak.planner.odds import SHRINKAGE
from tests.reference.planner_worlds import seeded

Z = 1.0
AGENTS = (None, "ann", "bob")


def lived(random: Random, states: int = 4) -> Lived:
    length = random.randint(1, 9)
    turns, turn = [], 0
    for _ in range(length):
        turns.append(turn)
        turn += random.choice((0, 1, 1, 3))
    success = random.random() < 0.5
    return Lived(
        states=[random.randrange(states) for _ in range(length + 1)],
        turns=turns,
        actions=[random.randrange(3) for _ in range(length)],
        agent=random.choice(AGENTS),
        success=success,
        ended=success or random.random() < 0.5,
    )


def summed(episodes: Sequence[Lived]) -> list[Tally]:
    tallies = Tallies()
    for one in episodes:
        tallies.add(one)
    return tallies.summed()


def tried_in(state: int, tallies: Sequence[Tally], executions: Mapping[int, int]) -> list[Tried]:
    """Actions of `state` by number with how often they were taken, and what the tallies count of each."""
    counts = {one.place: one for one in tallies if (one.state, one.kind) == (state, Tallied.ACTION)}
    return [
        Tried(action, times, counts[action].episodes, counts[action].successes)
        if action in counts
        else Tried(action, times, 0, 0)
        for action, times in executions.items()
    ]


def decisions(one: Lived) -> list[tuple[int, int]]:
    """State and turn of each decision, and of the end where the world ended."""
    turns = [*one.turns, one.turns[-1] + 1]
    found = [(one.states[k], turns[k]) for k in range(len(one.turns)) if k == 0 or turns[k] != turns[k - 1]]
    return [*found, (one.states[-1], turns[-1])] if one.ended else found


def counted(episodes: Sequence[Lived], *, state: int | None, steps: int | None, agent: str | None) -> tuple[int, int]:
    """Episodes with a decision in `state` after `steps`, by `agent`, and how many succeeded; `None`: any."""
    found = [
        one
        for one in episodes
        if (agent is None or one.agent == agent)
        and any((state is None or x == state) and (steps is None or bucket(t) == steps) for x, t in decisions(one))
    ]
    return len(found), sum(one.success for one in found)


def defined(episodes: Sequence[Lived], question: Question) -> float:
    """ADR 0012, from the episodes themselves."""
    steps = None if question.steps_taken is None else bucket(question.steps_taken)

    def rate(among: Sequence[Lived], toward: float) -> float:
        return (sum(one.success for one in among) + SHRINKAGE * toward) / (len(among) + SHRINKAGE)

    def at(one: Lived, *, state: bool, step: bool) -> bool:
        return any((not state or x == question.state) and (not step or bucket(t) == steps) for x, t in decisions(one))

    after = [one for one in episodes if steps is not None and at(one, state=False, step=True)]
    here = [one for one in episodes if question.state is not None and at(one, state=True, step=False)]
    then = [one for one in here if steps is not None and at(one, state=True, step=True)]
    own = [one for one in then if question.agent is not None and one.agent == question.agent]
    record = [one for one in episodes if question.agent is not None and one.agent == question.agent]

    def without(among: Sequence[Lived], part: Sequence[Lived]) -> list[Lived]:
        return [one for one in among if not any(one is other for other in part)]

    probability = rate(without(episodes, here if steps is None else after), 0.5)
    for among, part in ((after, then), (here, then), (then, own)):
        probability = rate(without(among, part), probability)
    overall = rate(episodes, 0.5)
    elsewhere = rate(without(record, own), overall)
    if elsewhere != overall:
        ratio = probability / (1 - probability) * elsewhere / (1 - elsewhere) * (1 - overall) / overall
        probability = ratio / (1 + ratio)
    return rate(own, probability)


def ask(random: Random) -> Question:
    return Question(
        state=random.choice((None, 0, 1, 2, 3)),
        agent=random.choice((*AGENTS, "new")),
        steps_taken=random.choice((None, 0, 1, 2, 5, 40)),
        steps_left=None,
    )


def told(question: Question, tallies: Sequence[Tally]) -> Odds:
    """The odds from the tallies that a transaction gives for the question."""
    agents = {EVERYONE, question.agent}
    return odds(question, [one for one in tallies if one.agent in agents], Z)


def test_odds_are_what_the_episodes_say() -> None:
    bases = set()
    for seed in range(400):
        random = seeded(seed)
        episodes = [lived(random) for _ in range(random.randint(0, 12))]
        tallies = summed(episodes)
        for _ in range(4):
            question = ask(random)
            found = told(question, tallies)
            assert found.success_probability == pytest.approx(defined(episodes, question), abs=1e-12)
            bases.add(found.basis)
            steps = None if question.steps_taken is None else bucket(question.steps_taken)
            if found.basis != "prior":
                agent = question.agent if found.basis.endswith("agent") else None
                known = counted(
                    episodes, state=question.state, steps=steps if "steps" in found.basis else None, agent=agent
                )
                assert found.episodes == known[0] > 0
    assert bases == {"state+steps+agent", "state+steps", "state", "prior"}


def test_tallies_count_each_episode_once() -> None:
    for seed in range(200):
        random = seeded(seed)
        episodes = [lived(random) for _ in range(8)]
        for one in summed(episodes):
            agent = None if one.agent == EVERYONE else one.agent
            state = None if one.state == EVERYWHERE else one.state
            if one.kind is Tallied.RUN:
                assert (one.episodes, one.successes) == counted(episodes, state=state, steps=None, agent=agent)
            if one.kind is Tallied.STEPS:
                assert (one.episodes, one.successes) == counted(episodes, state=state, steps=one.place, agent=agent)
            if one.kind is Tallied.ACTION:
                took = [
                    e
                    for e in episodes
                    if any(pair == (one.state, one.place) for pair in zip(e.states[:-1], e.actions, strict=True))
                ]
                assert (one.episodes, one.successes) == (len(took), sum(e.success for e in took))


def test_bounds_hold_the_odds_and_close_with_evidence() -> None:
    for seed in range(300):
        random = seeded(seed)
        episodes = [lived(random) for _ in range(random.randint(0, 30))]
        question = replace(ask(random), steps_left=random.choice((None, 0, 1, 4, 5000)))
        found = told(question, summed(episodes))
        more = told(question, summed(episodes * 50))
        assert 0 <= found.lower <= found.success_probability <= found.upper <= 1
        if found.basis != "prior":
            assert more.upper - more.lower < found.upper - found.lower


def test_one_more_success_raises_the_odds_and_a_failure_lowers_them() -> None:
    for seed in range(200):
        random = seeded(seed)
        episodes = [lived(random) for _ in range(random.randint(0, 10))]
        question = Question(state=1, agent="ann", steps_taken=0, steps_left=None)
        new = Lived(states=[1, 2], turns=[0], actions=[0], agent="ann", success=True, ended=True)
        before = told(question, summed(episodes)).success_probability
        assert told(question, summed([*episodes, new])).success_probability > before
        failed = replace(new, success=False)
        assert told(question, summed([*episodes, failed])).success_probability < before


def test_a_budget_leaves_the_successes_that_came_within_it() -> None:
    """Half of the successes need 2 steps more, half 6."""
    episodes = [
        Lived(states=[0] * (n + 1), turns=list(range(n)), actions=[0] * n, agent=None, success=True, ended=True)
        for n in (2, 6)
        for _ in range(500)
    ]
    tallies = summed(episodes)
    asked = Question(state=0, agent=None, steps_taken=0, steps_left=None)
    whole = told(asked, tallies).success_probability
    shares = [told(replace(asked, steps_left=left), tallies).success_probability / whole for left in (1, 2, 5, 6, 99)]
    assert shares == pytest.approx([0, 0.5, 0.5, 1, 1], abs=0.01)
    assert told(asked, tallies).expected_steps == 4.0


def test_the_action_that_does_better_is_the_better_candidate() -> None:
    random = seeded(5)
    episodes = [
        Lived(states=[0, 1], turns=[0], actions=[a], agent=None, success=random.random() < p, ended=True)
        for a, p in ((0, 0.2), (1, 0.8))
        for _ in range(400)
    ]
    tallies = summed(episodes)
    tried = tried_in(0, tallies, {0: 400, 1: 400, 2: 3})
    run = told(Question(state=0, agent=None, steps_taken=None, steps_left=None), tallies).success_probability
    found = chances(0, tallies, tried, run, 10)
    assert [(one.action, one.executions) for one in found] == [(1, 400), (2, 3), (0, 400)]
    assert [one.success_probability for one in found] == pytest.approx([0.8, 0.5, 0.2], abs=0.06)
    assert len(chances(0, tallies, tried, run, 2)) == 2
    alone = [one for one in episodes if one.actions == [0]]
    run = told(Question(state=0, agent=None, steps_taken=None, steps_left=None), summed(alone)).success_probability
    assert chances(0, summed(alone), tried_in(0, summed(alone), {0: 400}), run, 10)[0].success_probability == run


def test_buckets_ascend_and_part_long_runs_in_quarters_of_octaves() -> None:
    places = [bucket(steps) for steps in range(10_001)]
    assert places == sorted(places)
    assert places[-1] < BUCKETS
    assert places[: EXACT_STEPS + 1] == list(range(EXACT_STEPS + 1))
    widths = [places.count(place) for place in range(EXACT_STEPS, places[9_000])]
    firsts = [places.index(place) for place in range(EXACT_STEPS, places[9_000])]
    assert all(width <= math.ceil(first / 4) for width, first in zip(widths, firsts, strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_told_in_advance_the_odds_are_calibrated(seed: int) -> None:
    """Runs on a line toward its end, by a good agent and a bad one, told before each step, learned from afterwards."""
    random = seeded(seed)
    tallies, squares, blind, gap = Tallies(), 0.0, 0.0, 0.0
    number = 3_000
    for episode in range(number):
        agent, skill = random.choice((("good", 0.9), ("bad", 0.5)))
        states, place = [0], 0
        while place < 3 and len(states) < 6:
            place += random.random() < skill
            states.append(place)
        success = place == 3
        step = random.randrange(len(states) - 1)
        if episode > number // 2:
            asked = Question(state=states[step], agent=agent, steps_taken=step, steps_left=None)
            told_odds = told(asked, tallies.summed()).success_probability
            squares += (told_odds - success) ** 2
            blind += (0.75 - success) ** 2
            gap += told_odds - success
        tallies.add(
            Lived(
                states=states,
                turns=list(range(len(states) - 1)),
                actions=[0] * (len(states) - 1),
                agent=agent,
                success=success,
                ended=success,
            )
        )
    assert abs(gap) / (number // 2) < 0.04
    assert squares < 0.75 * blind
