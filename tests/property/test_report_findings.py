"""What a report finds in small made worlds, against definitions that go through the runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from somabrain.oak.learning import Stopping, Tallies, calibration
from somabrain.oak.model import Prediction
from somabrain.oak.planner import Question, odds
from somabrain.oak.planner.routes import wilson_lower
from somabrain.report import Run, findings
from somabrain.report.chart import NODES_MAX, chart
from somabrain.report.deaths import EVIDENCE_MIN, LOST_MIN, falls, forks, last_turns, recoverable, repeats
from somabrain.report.findings import odds_in
from somabrain.report.held_out import GROUPS_MIN, LOST_MAX, PERCENTS, foretold, held_out, recommended
from somabrain.report.shares import Z
from tests.reference.planner_worlds import seeded
from tests.report_worlds import known, made_run


def worlds(count: int, most: int = 60) -> list[list[Run]]:
    found = []
    for seed in range(count):
        random = seeded(seed)
        found.append([made_run(random) for _ in range(random.randint(1, most))])
    return found


def did(run: Run, state: int, action: int) -> bool:
    return any((one.state, one.action) == (state, action) for one in run.decisions)


def bounds(runs: Sequence[Run]) -> tuple[float, float]:
    rate = sum(bool(run.success) for run in runs) / len(runs)
    return wilson_lower(rate, len(runs), Z), 1 - wilson_lower(1 - rate, len(runs), Z)


def tallied(runs: Sequence[Run]) -> Tallies:
    tallies = Tallies()
    for run in runs:
        tallies.add(run.lived)
    return tallies


def test_a_decision_is_the_first_step_of_a_turn() -> None:
    run = Run(
        states=[4, 5, 6, 7], actions=[1, 2, 3], turns=[0, 0, 3], agent=None, group=None, success=None, ended=False
    )
    assert run.decisions == [(0, 4, 1), (3, 6, 3)]
    assert (run.places, replace(run, ended=True).places, run.length) == ([4, 6], [4, 6, 7], 4)


def test_forks_are_where_another_action_did_better_beyond_chance() -> None:
    seen = 0
    for runs in worlds(40, most=200):
        found = {one.state: one for one in forks(runs)}
        for state in range(6):
            branches = {a: [run for run in runs if did(run, state, a)] for a in range(3)}
            tried = {a: own for a, own in branches.items() if own}
            enough = {a: own for a, own in tried.items() if len(own) >= EVIDENCE_MIN}
            best = max((bounds(own)[0] for own in enough.values()), default=0.0)
            losses = {a: sum(not run.success for run in own) * (best - bounds(own)[1]) for a, own in tried.items()}
            lost = max(losses.values(), default=0.0) if enough else 0.0
            assert (state in found) == (lost >= LOST_MIN)
            if state in found:
                seen += 1
                fork = found[state]
                assert fork.lost == pytest.approx(lost)
                assert losses[fork.taken.action] == pytest.approx(lost)
                assert bounds(branches[fork.instead.action])[0] == pytest.approx(best)
                assert fork.taken.share.runs == len(branches[fork.taken.action])
                assert fork.taken.share.successes == sum(bool(run.success) for run in branches[fork.taken.action])
                assert fork.instead.share.lower > fork.taken.share.upper
        order = [one.lost for one in forks(runs)]
        assert order == sorted(order, reverse=True)
    assert seen > 5


def test_the_bad_action_of_the_world_is_found_first() -> None:
    random = seeded(1)
    runs = [made_run(random) for _ in range(600)]
    first = forks(runs)[0]
    assert (first.state, first.taken.action) == (0, 0)
    assert first.instead.action != 0


def test_one_lucky_run_is_no_example() -> None:
    def run(action: int, *, success: bool) -> Run:
        return Run(states=[0, 1], actions=[action], turns=[0], agent=None, group=None, success=success, ended=True)

    failing = [run(0, success=False) for _ in range(200)]
    assert forks([*failing, run(1, success=True)]) == []
    assert forks([*failing, *(run(1, success=True) for _ in range(EVIDENCE_MIN))])[0].instead.action == 1


def test_no_run_is_recovered_twice() -> None:
    for runs in worlds(60):
        gaps = {}
        for state in range(6):
            branches = {a: [run for run in runs if did(run, state, a)] for a in range(3)}
            best = max((bounds(own)[0] for own in branches.values() if len(own) >= EVIDENCE_MIN), default=0.0)
            gaps |= {(state, a): best - bounds(own)[1] for a, own in branches.items() if own}
        worst = [max(0.0, *(gaps[one.state, one.action] for one in run.decisions)) for run in runs if not run.success]
        assert recoverable(runs) == pytest.approx(sum(worst))
        assert all(one.lost <= recoverable(runs) + 1e-9 for one in forks(runs))


def test_falls_are_counted_once_a_run() -> None:
    seen = 0
    for runs in worlds(20, most=300):
        tallies = tallied(runs)
        there = {state: odds_in(state, tallies) for state in range(6)}
        for fall in falls(runs, there):
            seen += 1
            made = [
                run
                for run in runs
                if any(
                    (one.state, one.action, after) == (fall.state, fall.action, fall.outcome)
                    for one, (_, after) in zip(run.decisions, pairwise(run.places), strict=False)
                )
            ]
            assert (fall.runs, fall.failures) == (len(made), sum(not run.success for run in made))
            gap = there[fall.state].lower - there[fall.outcome].upper
            assert fall.lost == pytest.approx(fall.failures * gap)
            assert fall.lost >= LOST_MIN
    assert seen


def test_last_turns_and_repeats() -> None:
    for runs in worlds(30):
        failed = [run for run in runs if not run.success]
        ends = [(run.decisions[-1].state, run.decisions[-1].action) for run in failed]
        found = last_turns(failed)
        assert {(one.state, one.action): one.failures for one in found} == {end: ends.count(end) for end in ends}
        assert sum(one.cut_off for one in found) == sum(not run.ended for run in failed)
        done = [[(one.state, one.action) for one in run.decisions] for run in runs]
        again = sum(pair in one[:place] for one in done for place, pair in enumerate(one))
        assert repeats(runs) == pytest.approx(again / sum(map(len, done)))
    assert repeats([]) is None


def test_odds_told_of_a_run_are_those_of_the_others_alone() -> None:
    for runs in worlds(25, most=25):
        by_group = len({run.group for run in runs} - {None}) >= GROUPS_MIN
        told = {id(one.run): one for one in foretold(runs, tallied(runs))}
        assert len(told) == len(runs)
        for run in runs:
            same = (lambda other, run=run: other.group == run.group) if by_group and run.group is not None else None
            others = [other for other in runs if other is not run and not (same and same(other))]
            known_of = tallied(others).summed()
            wanted = []
            for one in run.decisions:
                asked = Question(state=one.state, agent=run.agent, steps_taken=one.turn, steps_left=None)
                own = [tally for tally in known_of if tally.agent in {"", run.agent}]
                wanted.append(odds(asked, own, Z).success_probability)
            assert [one.probability for one in told[id(run)].told] == pytest.approx(wanted)
            base = sum(bool(other.success) for other in others) / len(others) if others else 0.5
            assert told[id(run)].base == pytest.approx(base)


def test_what_became_of_a_run_does_not_move_its_own_odds() -> None:
    for seed in range(30):
        random = seeded(seed)
        runs = [made_run(random) for _ in range(20)]
        place = random.randrange(len(runs))
        other = [*runs]
        other[place] = replace(runs[place], success=not runs[place].success, ended=runs[place].ended)

        def of(all_runs: Sequence[Run], place: int = place) -> Sequence[Prediction]:
            return next(one.told for one in foretold(all_runs, tallied(all_runs)) if one.run is all_runs[place])

        assert [one.probability for one in of(runs)] == pytest.approx([one.probability for one in of(other)])


def test_thresholds_save_and_lose_what_going_through_the_runs_says() -> None:
    for runs in worlds(25):
        whole = tallied(runs)
        found = held_out(runs, whole, lambda _: None)
        told = list(foretold(runs, whole))
        turns = sum(run.length for run in runs)
        wins = sum(bool(run.success) for run in runs)
        assert [one.threshold for one in found.whole.stopping] == pytest.approx([p / 100 for p in PERCENTS])
        for stopping in found.whole.stopping:
            stopped = saved = lost = 0
            for one in told:
                below = [p for p in one.told if p.probability * 100 < round(stopping.threshold * 100)]
                if below:
                    stopped += 1
                    saved += one.run.length - (below[0].steps or 0)
                    lost += bool(one.run.success)
            assert (stopping.stopped, stopping.steps_saved) == (stopped, pytest.approx(saved / turns))
            assert stopping.successes_lost == pytest.approx(lost / wins if wins else 0.0)
        squares = [(p.probability - bool(one.run.success)) ** 2 for one in told for p in one.told]
        base = [(one.base - bool(one.run.success)) ** 2 for one in told for _ in one.told]
        assert found.whole.brier == pytest.approx(sum(squares) / len(squares))
        assert found.brier_base == pytest.approx(sum(base) / len(base))
        if found.best is not None:
            best = found.whole.stopping[found.best]
            assert best.successes_lost <= LOST_MAX
            assert best.steps_saved >= 2 * best.successes_lost


def test_the_map_counts_what_runs_did() -> None:
    for seed in range(40):
        random = seeded(seed)
        runs = [made_run(random, states=40, unknown=True) for _ in range(random.randint(1, 60))]
        tallies = tallied([run for run in runs if run.success is not None])
        there = {state: odds_in(state, tallies) for run in runs for state in run.places}
        found = chart(runs, there, 0.5, 40)
        shown = {one.state for one in found.nodes}
        assert len(shown) == len(found.nodes) == min(NODES_MAX, len({d.state for run in runs for d in run.decisions}))
        paths = [[state for state in run.places if state in shown] for run in runs]
        moves = [pair for path in paths for pair in pairwise(path) if pair[0] != pair[1]]
        assert found.moves == len(set(moves))
        assert found.moves_shown == len(found.edges)
        for edge in found.edges:
            assert edge.times == moves.count((edge.start, edge.end))
            assert 0 <= edge.direct <= edge.times
        for node in found.nodes:
            through = [run for run in runs if node.state in run.places]
            ended = [run for run, path in zip(runs, paths, strict=True) if path and path[-1] == node.state]
            assert node.runs == len(through)
            assert node.begun == sum(run.places[0] == node.state for run in runs)
            assert node.known.runs == sum(run.success is not None for run in through)
            assert node.known.successes == sum(run.success is True for run in through)
            assert node.succeeded == sum(run.success is True for run in ended)
            assert node.failed == sum(run.success is False for run in ended)
            assert node.left == sum(start == node.state for start, _ in moves) + len(ended)
        entered = {edge.end for edge in found.edges}
        assert {end for _, end in moves} <= entered, "of each state the most frequent way to it is drawn"


def test_findings_of_few_runs_say_so_and_fail_nowhere() -> None:
    random = seeded(3)
    runs = [made_run(random) for _ in range(3)]
    for some in ([], runs[:1], [replace(run, success=None) for run in runs], [replace(r, success=True) for r in runs]):
        found = findings(known(some))
        assert found.runs == len(some)
        assert found.deaths.forks == ()
        assert found.held_out.best is None
    assert findings(known(runs, prototypes=9)).chart.states == 9


def test_the_same_runs_give_the_same_findings() -> None:
    random = seeded(5)
    runs = [made_run(random, unknown=True) for _ in range(80)]
    assert findings(known(runs)) == findings(known(list(runs)))


def test_a_threshold_is_recommended_only_where_it_is_worth_it() -> None:
    def found(*stops: tuple[int, float, float], successes: int = 1_000) -> int | None:
        stopping = [
            Stopping(threshold=percent / 100, stopped=1, steps_saved=saved, successes_lost=lost)
            for percent, saved, lost in stops
        ]
        none = calibration("", [])
        return recommended(replace(none, episodes=2_000, successes=successes, stopping=tuple(stopping)))

    assert found((5, 0.1, 0.01), (10, 0.2, 0.04), (20, 0.4, 0.08)) == 1
    assert found((5, 0.2, 0.01), (10, 0.2, 0.04)) == 0, "at the same gain the lower one"
    assert found((5, 0.005, 0.0), (10, 0.04, 0.03)) is None, "hardly any gain, or less than twice the loss"
    assert found((5, 0.3, 0.0), successes=20) is None, "none of 20 lost may be 16 % in truth"
    assert found((5, 0.3, 0.0), successes=100) == 0
    assert found((5, 0.3, 0.0), successes=0) is None
