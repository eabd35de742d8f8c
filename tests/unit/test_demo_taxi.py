"""The demo's environment: its facts, its options and what is reported of them, and the exact returns."""

from __future__ import annotations

from collections import deque
from random import Random
from statistics import fmean, stdev

import httpx
import pytest

from somabrain.demo.agent import Agent, Solved
from somabrain.demo.exact import expected, optimum
from somabrain.demo.taxi import DELIVERED, IN_TAXI, MOVES, PLACES, ROAD, Ride, Taxi, TaxiOption

OPTIMUM = 7.93
OPTIMUM_RAINY = 3.955
"""Measured elsewhere by value iteration on the same table."""


@pytest.fixture(scope="module")
def taxi() -> Taxi:
    return Taxi(rainy=False)


@pytest.fixture(scope="module")
def rainy() -> Taxi:
    return Taxi(rainy=True)


def option(taxi: Taxi, option_id: str) -> TaxiOption:
    return next(option for option in taxi.options if option.option_id == option_id)


def at(taxi: Taxi, **facts: str) -> int:
    """A raw state of these facts."""
    return next(
        state for state, known in enumerate(taxi.facts) if all(known[name] == value for name, value in facts.items())
    )


def ran(taxi: Taxi, option_id: str, start: int) -> Ride:
    taxi.begin(start, 0)
    return taxi.run(option(taxi, option_id), start)


def by_hand(taxi: Taxi) -> list[int | None]:
    """By raw state, what whoever knows the game does."""
    ids = [option.option_id for option in taxi.options]
    chosen: list[int | None] = []
    for known in taxi.facts:
        aboard = known["passenger"] == IN_TAXI
        place = known["destination"] if aboard else known["passenger"]
        if place == DELIVERED:
            chosen.append(None)
        elif known["at"] == place:
            chosen.append(ids.index("put-down" if aboard else "pick-up"))
        else:
            chosen.append(ids.index(f"go-to-{place}"))
    return chosen


def drives(taxi: Taxi, chosen: list[int | None], seed: int = 0) -> list[Solved]:
    """A drive from every start; it asks no server."""
    random = Random(seed)
    with httpx.Client() as http:
        agent = Agent(http, taxi, random)
        return [agent.solve(start, chosen.__getitem__, random) for start in taxi.starts]


def test_the_optimum_is_what_is_known_of_it(taxi: Taxi, rainy: Taxi) -> None:
    assert len(taxi.starts) == 300
    assert optimum(taxi) == pytest.approx(OPTIMUM, abs=0.005)
    assert optimum(rainy) == pytest.approx(OPTIMUM_RAINY, abs=0.005)


def test_the_facts_are_coarse_and_say_when_it_is_over(taxi: Taxi) -> None:
    assert len({tuple(known.items()) for known in taxi.facts}) == len((*PLACES, ROAD)) * 5 * 4
    starts = [taxi.facts[start] for start in taxi.starts]
    assert {known["passenger"] for known in starts} == set(PLACES)
    assert sum(known["at"] == ROAD for known in starts) == 21 * 12
    assert all(known["passenger"] != known["destination"] for known in taxi.facts)


@pytest.mark.parametrize("place", PLACES)
def test_a_way_to_a_place_is_the_shortest(taxi: Taxi, place: str) -> None:
    for start in taxi.starts:
        if taxi.facts[start]["at"] != place:
            ride = ran(taxi, f"go-to-{place}", start)
            assert taxi.facts[ride.states[-1]]["at"] == place
            assert not ride.cut
            assert len(ride.rewards) == shortest(taxi, start, place)


def shortest(taxi: Taxi, start: int, place: str) -> int:
    """The least number of moves, by breadth-first search over the environment's table."""
    reached, queue = {start: 0}, deque([start])
    while queue:
        state = queue.popleft()
        if taxi.facts[state]["at"] == place:
            return reached[state]
        for following in taxi.table.following[state, :MOVES, 0].tolist():
            if following not in reached:
                reached[following] = reached[state] + 1
                queue.append(following)
    raise AssertionError(place)


@pytest.mark.parametrize("place", PLACES)
def test_a_way_to_a_place_gets_there_in_the_rain(rainy: Taxi, place: str) -> None:
    for start in rainy.starts[::7]:
        if rainy.facts[start]["at"] != place:
            ride = ran(rainy, f"go-to-{place}", start)
            assert rainy.facts[ride.states[-1]]["at"] == place


def test_the_options_are_good_enough_for_the_optimum(taxi: Taxi, rainy: Taxi) -> None:
    assert expected(taxi, by_hand(taxi)).mean_return == pytest.approx(optimum(taxi), abs=1e-9)
    assert expected(taxi, by_hand(taxi)).solved == pytest.approx(1.0, abs=1e-12)
    in_rain = expected(rainy, by_hand(rainy))
    assert optimum(rainy) - 0.1 < in_rain.mean_return < optimum(rainy)
    assert in_rain.solved == pytest.approx(1.0, abs=1e-9)


def test_real_drives_come_to_what_is_expected(taxi: Taxi, rainy: Taxi) -> None:
    plain = drives(taxi, by_hand(taxi))
    assert fmean(drive.total for drive in plain) == pytest.approx(expected(taxi, by_hand(taxi)).mean_return, abs=1e-9)
    assert all(drive.solved for drive in plain)
    at_random: list[int | None] = [None] * taxi.states
    for world, chosen in ((rainy, by_hand(rainy)), (taxi, at_random)):
        results, foreseen = drives(world, chosen), expected(world, chosen)
        totals = [drive.total for drive in results]
        error = stdev(totals) / len(totals) ** 0.5
        assert abs(fmean(totals) - foreseen.mean_return) < 4 * error
        assert abs(fmean(drive.solved for drive in results) - foreseen.solved) < 4 * 0.5 / len(totals) ** 0.5


def test_an_option_begins_only_where_it_has_something_to_do(taxi: Taxi) -> None:
    ids = [taxi.options[place].option_id for place in taxi.applicable(at(taxi, at="G", passenger="R"))]
    assert ids == ["go-to-R", "go-to-Y", "go-to-B", "pick-up", "put-down"]


def test_the_rest_of_a_run_is_what_a_run_from_there_would_have_been(taxi: Taxi) -> None:
    long = 0
    for start in taxi.starts:
        for place in PLACES:
            if taxi.facts[start]["at"] == place:
                continue
            way = option(taxi, f"go-to-{place}")
            ride = ran(taxi, way.option_id, start)
            reports = taxi.reports(way, ride)
            assert reports[0]["start"]["features"] == taxi.facts[start]
            assert reports[0]["rewards"] == list(ride.rewards)
            begun = [tuple(report["start"]["features"].items()) for report in reports]
            assert len(set(begun)) == len(begun)
            for report in reports:
                step = len(ride.rewards) - len(report["rewards"])
                again = ran(taxi, way.option_id, ride.states[step])
                assert report["start"]["features"] == taxi.facts[again.states[0]]
                assert report["final"]["features"] == taxi.facts[again.states[-1]]
                assert report["rewards"] == list(again.rewards)
                assert report["terminated_by"] == "target"
            long += len(reports) > 1
    assert long > 0


@pytest.mark.parametrize(
    ("option_id", "before", "after", "reward", "ending"),
    [
        ("pick-up", {"at": "G", "passenger": "G"}, {"passenger": IN_TAXI}, -1.0, "target"),
        ("pick-up", {"at": ROAD, "passenger": "G"}, {}, -10.0, "failure"),
        ("pick-up", {"at": "G", "passenger": IN_TAXI}, {}, -10.0, "failure"),
        ("put-down", {"at": "B", "passenger": IN_TAXI, "destination": "B"}, {"passenger": DELIVERED}, 20.0, "target"),
        ("put-down", {"at": "Y", "passenger": IN_TAXI, "destination": "B"}, {"passenger": "Y"}, -1.0, "failure"),
        ("put-down", {"at": ROAD, "passenger": IN_TAXI, "destination": "B"}, {}, -10.0, "failure"),
    ],
)
def test_what_pick_up_and_put_down_did_is_reported_as_it_was(
    taxi: Taxi, option_id: str, before: dict[str, str], after: dict[str, str], reward: float, ending: str
) -> None:
    start = at(taxi, **before)
    (report,) = taxi.reports(option(taxi, option_id), ran(taxi, option_id, start))
    assert report == {
        "option_id": option_id,
        "start": {"features": taxi.facts[start]},
        "final": {"features": {**taxi.facts[start], **after}},
        "rewards": [reward],
        "terminated_by": ending,
    }


def test_a_run_that_the_limit_cut_is_reported_as_cut(taxi: Taxi) -> None:
    start = next(state for state in taxi.starts if taxi.facts[state]["at"] == ROAD and shortest(taxi, state, "B") > 2)
    taxi.begin(start, 0)
    for _ in range(taxi.steps_max - 2):
        assert not taxi.run(option(taxi, "put-down"), start).over
    ride = taxi.run(option(taxi, "go-to-B"), start)
    assert ride.over
    assert ride.cut
    assert [report["terminated_by"] for report in taxi.reports(option(taxi, "go-to-B"), ride)] == ["censored"]


def test_a_run_that_ends_with_the_limit_is_whole(taxi: Taxi) -> None:
    start = next(state for state in taxi.starts if taxi.facts[state]["at"] == ROAD and shortest(taxi, state, "B") == 2)
    taxi.begin(start, 0)
    for _ in range(taxi.steps_max - 2):
        taxi.run(option(taxi, "put-down"), start)
    ride = taxi.run(option(taxi, "go-to-B"), start)
    assert (ride.over, ride.cut) == (True, False)
    assert {report["terminated_by"] for report in taxi.reports(option(taxi, "go-to-B"), ride)} == {"target"}
