"""`benchmarks.environments.exact` on chains that are solved by hand."""

from __future__ import annotations

import math

import pytest

from benchmarks.environments.exact import Choice, Table, chain, optimum, unlimited, within

COIN: Table = {0: {0: [(0.5, 1, 1.0, True), (0.5, 0, 0.0, False)]}}
"""Heads end the world with reward 1, tails change nothing."""

TRAP: Table = {0: {0: [(0.75, 2, 1.0, True), (0.25, 1, 0.0, False)]}, 1: {0: [(1.0, 1, -1.0, False)]}}
"""One time in four the agent gets where it stays for ever."""

DOOR: Table = {0: {0: [(1.0, 0, -1.0, False)], 1: [(1.0, 1, 5.0, True)]}}
"""One action waits, the other leaves."""

FORK: Table = {
    0: {0: [(1.0, 2, 1.0, True)], 1: [(1.0, 1, 0.0, False)]},
    1: {0: [(1.0, 2, 3.0, True)], 1: [(1.0, 2, 2.0, True)]},
}
"""1 at once, or 3 a step later."""


def first(_state: int, _running: str | None) -> Choice[str]:
    return Choice(action=0, running=None)


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 10])
def test_within_a_limit_the_coin_is_worth_the_odds_of_heads_by_then(limit: int) -> None:
    found = within(chain(COIN, {0: 1.0}, first), limit)

    assert found.mean_return == pytest.approx(1 - 0.5**limit)
    assert found.ended == pytest.approx(1 - 0.5**limit)


def test_without_a_limit_heads_come_for_sure() -> None:
    found = unlimited(chain(COIN, {0: 1.0}, first))

    assert found.mean_return == pytest.approx(1.0)
    assert found.ended == 1.0


def test_within_a_limit_a_trap_costs_the_steps_spent_in_it() -> None:
    found = within(chain(TRAP, {0: 1.0}, first), 5)

    assert found.mean_return == pytest.approx(0.75 - 0.25 * 4)
    assert found.ended == pytest.approx(0.75)


def test_without_a_limit_a_trap_is_worth_minus_infinity() -> None:
    found = unlimited(chain(TRAP, {0: 1.0}, first))

    assert found.mean_return == -math.inf
    assert math.isnan(found.ended)


def test_first_states_count_by_their_probabilities() -> None:
    made = chain(FORK, {0: 0.25, 1: 0.75}, first)

    assert within(made, 1).mean_return == pytest.approx(0.25 * 1 + 0.75 * 3)
    assert unlimited(made).mean_return == pytest.approx(0.25 * 1 + 0.75 * 3)


def test_one_state_with_different_options_running_is_different_places() -> None:
    def patient(_state: int, running: str | None) -> Choice[str]:
        if running is None:
            return Choice(action=0, running="once")
        return Choice(action=0, running="twice") if running == "once" else Choice(action=1, running=running)

    made = chain(DOOR, {0: 1.0}, patient)

    assert made.reward.tolist() == [-1.0, -1.0, 5.0]
    assert unlimited(made).mean_return == pytest.approx(-1 - 1 + 5)
    assert within(made, 2).mean_return == pytest.approx(-2)
    assert within(made, 2).ended == 0.0


def test_an_unknown_action_is_any_with_equal_chances() -> None:
    def ignorant(_state: int, _running: str | None) -> Choice[str]:
        return Choice(action=None, running=None)

    made = chain(DOOR, {0: 1.0}, ignorant)

    assert within(made, 1).mean_return == pytest.approx((-1 + 5) / 2)
    assert within(made, 1).ended == pytest.approx(0.5)
    assert unlimited(made).mean_return == pytest.approx(4.0)  # v = (-1 + v)/2 + 5/2


@pytest.mark.parametrize(("limit", "best"), [(0, 0.0), (1, 1.0), (2, 3.0), (5, 3.0)])
def test_the_optimum_looks_as_far_as_the_limit(limit: int, best: float) -> None:
    assert optimum(FORK, {0: 1.0}, limit) == pytest.approx(best)
