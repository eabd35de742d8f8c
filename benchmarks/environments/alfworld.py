"""Household tasks from logs of language-model agents: plans for tasks that were never seen, checked by their own logs.

    python -m benchmarks.environments.alfworld [--sound] [--seeds 3] [--data ../shared/data/alfworld] [--plot FILE.png]

Each seed splits the 95 tasks of the data (README beside them) 80/20. The logs of the training tasks are posted in
fragments of at most 4 steps, an episode each, terminated only where a log ends in success. Actions that were no action
(`unknown`, `error`) are left out. What a log infers without having seen it (`inferred`) is learned: without it no log
reaches its goal. It makes what succeeds look surer than it is, and some of it is false: 24 inferred steps clean, cool
or heat the target away from the place for it, which failed all 30 times that it was seen. Plans take such short cuts.
`--sound` leaves out the training logs that have such a step; that rule comes from looking at all logs, held-out ones
too, and was made after the plans had been measured.

Facts name no object, but its part in the task: the kind of goal, what is held (target, other) and in which condition,
where the agent is (destination, other), whether that is the place that cleans, heats or cools, how many targets are
placed, in which condition the last of them was (from the steps before), whether the target was seen, the lamp. Actions
likewise: `put target destination`. A question is a held-out task with a state before one of its turns, each once.

Truth is what the held-out tasks' logs show: how often which state followed an action in a state; where they don't show
an action, it fails. In it, following `/oak/act` for at most 100 steps is solved exactly. A plan is valid where it can
reach the goal at all. `/oak/plan` without a way is "unknown". Beside it: the rest of the successful training log whose
state shares the most facts, the shortest among equals, followed blindly. ECE has ten bins of equal width of
`success_probability`, and of its lower bound, against the odds in truth. Intervals are 95 %, by bootstrap over tasks.
"""

from __future__ import annotations

import gzip
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from statistics import fmean

import httpx
import orjson

from benchmarks.environments.exact import Branch, Choice, Table, chain, within
from benchmarks.environments.harness import Follower, Json, Row, State, World, parser, service, show

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "alfworld"
TRAINING = 0.8
FRAGMENT = 4
LIMIT = 100
BINS = 10
RESAMPLES = 1000
STATIONS = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}
GOALS: Mapping[str, Json] = {
    "put": {"placed": 1},
    "puttwo": {"placed": 2},
    "clean": {"placed": 1, "delivered": "clean"},
    "heat": {"placed": 1, "delivered": "hot"},
    "cool": {"placed": 1, "delivered": "cool"},
    "examine": {"holding": "tgt", "lamp": True},
}
NOT_ACTIONS = frozenset({"unknown", "error"})

Facts = tuple[tuple[str, str | int | bool], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """An episode. One state more than actions; `turns` are the places of the first steps of turns.

    `sound`: no step is inferred to have cleaned, cooled or heated the target away from the place for it.
    """

    task: str
    kind: str
    states: Sequence[Facts]
    actions: Sequence[str]
    turns: Sequence[int]
    success: bool
    sound: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Odds:
    """In truth: of reaching the goal, and of coming to an action in a state that the logs don't show."""

    reached: float
    unshown: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A question answered. `predicted` is `None` where no way is known; `planned` is what the plan comes to then.

    `lower` is the lower bound of what is predicted, 0 where nothing is.
    """

    task: str
    predicted: float | None
    lower: float
    planned: Odds
    nearest: Odds


class Truth:
    """What held-out logs show, as one table for each kind of goal."""

    def __init__(self, logs: Sequence[Log], actions: Sequence[str]) -> None:
        """`actions` by number, in whatever log."""
        self.states = sorted({state for log in logs for state in log.states})
        self._numbers = {state: number for number, state in enumerate(self.states)}
        self._actions = {action: number for number, action in enumerate(actions)}
        seen: defaultdict[tuple[int, int], Counter[int]] = defaultdict(Counter)
        for log in logs:
            for state, action, following in zip(log.states[:-1], log.actions, log.states[1:], strict=True):
                seen[self._numbers[state], self._actions[action]][self._numbers[following]] += 1
        ends = [at_goal(state) for state in self.states]
        self._table: Table = {
            state: {action: _branches(seen.get((state, action)), state, ends) for action in range(len(actions) + 1)}
            for state in range(len(self.states))
        }
        self._nothing = len(actions)

    def facts(self, number: int) -> State:
        """A state as the API takes it."""
        return {"features": dict(self.states[number])}

    def target(self, number: int) -> State:
        """What is to be got to from a state."""
        return target(self.states[number])

    def followed(self, start: Facts, follower: Follower) -> Odds:
        """Of following a policy; where it knows no action, that is as if the logs didn't show it."""

        def policy(state: int, running: str | None) -> Choice[str]:
            choice = follower(state, running)
            return choice if choice.action is not None else Choice(action=self._nothing, running=None)

        found = within(chain(self._table, {self._numbers[start]: 1.0}, policy), LIMIT)
        return Odds(reached=found.mean_return, unshown=found.ended - found.mean_return)

    def blindly(self, start: Facts, actions: Sequence[str]) -> Odds:
        """Of a sequence of actions."""
        here, reached, unshown = {self._numbers[start]: 1.0}, 0.0, 0.0
        for action in actions:
            after: defaultdict[int, float] = defaultdict(float)
            for state, mass in here.items():
                for share, following, reward, final in self._table[state][self._actions[action]]:
                    reached += mass * share * reward
                    unshown += mass * share * (final - reward)
                    after[following] += 0.0 if final else mass * share
            here = after
        return Odds(reached=reached, unshown=unshown)


def main(arguments: Sequence[str]) -> int:
    """Prints the rows and the reliability of predictions; there is no bar."""
    options = parser(__doc__, seeds=3)
    options.add_argument("--data", type=Path, default=DATA, help="the folder that has episodes.jsonl.gz")
    options.add_argument("--sound", action="store_true", help="leave out training logs with false inferences")
    options.add_argument("--plot", type=Path, help="a PNG for the reliability diagram")
    given = options.parse_args(arguments)
    path = given.data / "episodes.jsonl.gz"
    if not path.exists():
        options.error(f"no data at {path}")
    logs = list(_logs(path))
    began = time.perf_counter()
    with service(in_process=given.in_process) as http:
        seeds = [_measure(http, logs, seed, sound=given.sound) for seed in range(given.seeds)]
    rows = _rows(seeds, time.perf_counter() - began)
    status = show("ALFWorld: plans for unseen tasks", rows, check=given.check)
    answers = [of for seed in seeds for of in seed]
    for name, known in (("predicted", _known(answers)), ("lower bound", _bounded(answers))):
        for number, predicted, odds in _reliability(known):
            print(f"{name} {predicted:.3f}: in truth {odds:.3f} ({number} questions)")
    if given.plot is not None:
        _diagram(given.plot, answers)
    return status


def at_goal(state: Facts) -> bool:
    """Whether a state is what its kind of goal asks for."""
    return all(entry in state for entry in target(state)["features"].items())


def target(state: Facts) -> State:
    """The facts that a state's kind of goal asks for."""
    kind = dict(state)["goal_type"]
    return {"features": {"goal_type": kind, **GOALS[str(kind)]}}


def _branches(seen: Counter[int] | None, state: int, ends: Sequence[bool]) -> list[Branch]:
    if seen is None:
        return [(1.0, state, 0.0, True)]
    total = seen.total()
    return [(count / total, to, float(ends[to]), ends[to]) for to, count in seen.items()]


def _logs(path: Path) -> Iterator[Log]:
    with gzip.open(path, "rb") as lines:
        for line in lines:
            episode: Json = orjson.loads(line)
            steps = [step for step in episode["steps"] if step["action"]["name"] not in NOT_ACTIONS]
            if steps:
                yield _log(episode, steps)


def _log(episode: Json, steps: Sequence[Json]) -> Log:
    kind = episode["goal_type"]
    states: list[Facts] = []
    delivered, before = "none", steps[0]["state"]
    for state in [*(step["state"] for step in steps), episode["final_state"]]:
        if state["placed"] > before["placed"]:
            delivered = before["holding_state"]
        facts = {
            "goal_type": kind,
            "holding": state["holding_role"],
            "condition": state["holding_state"],
            "place": state["at_role"],
            "station": state["at"] == STATIONS.get(kind),
            "placed": state["placed"],
            "delivered": delivered if state["placed"] else "none",
            "seen_target": state["seen_target"],
            "lamp": state["lamp"],
        }
        states.append(tuple(facts.items()))
        before = state
    turns = [step["turn"] for step in steps]
    return Log(
        task=episode["group"],
        kind=kind,
        states=states,
        actions=[_action(episode, step["action"]) for step in steps],
        turns=[place for place, turn in enumerate(turns) if place == 0 or turn != turns[place - 1]],
        success=episode["success"],
        sound=not any(
            step["inferred"] and step["action"]["name"] == kind and step["state"]["at"] != STATIONS.get(kind)
            for step in steps
            if kind in STATIONS
        ),
    )


def _action(episode: Json, action: Json) -> str:
    parts = {
        STATIONS.get(episode["goal_type"]): "station",
        episode["dest"]: "destination",
        episode["target"]: "target",
    }
    names = [str(argument).rsplit(" ", 1)[0] for argument in action["args"]]
    return " ".join([action["name"], *(parts.get(name, "other") for name in names)])


def _fragments(log: Log) -> Iterator[Json]:
    for first in range(0, len(log.actions), FRAGMENT):
        last = min(first + FRAGMENT, len(log.actions))
        steps = [
            {"state": {"features": dict(state)}, "action": action}
            for state, action in zip(log.states[first:last], log.actions[first:last], strict=True)
        ]
        ended = log.success and last == len(log.actions)
        yield {"steps": steps, "final": {"features": dict(log.states[last])}, "terminated": ended}


def _measure(http: httpx.Client, logs: Sequence[Log], seed: int, *, sound: bool) -> list[Answered]:
    tasks = sorted({log.task for log in logs})
    Random(seed).shuffle(tasks)
    held = set(tasks[round(TRAINING * len(tasks)) :])
    training = [log for log in logs if log.task not in held and (log.sound or not sound)]
    testing = [log for log in logs if log.task in held]
    world = World(http, f"split-{seed}")
    world.post_episodes(fragment for log in training for fragment in _fragments(log))
    world.consolidate()
    actions = sorted({action for log in logs for action in log.actions})
    truth = Truth(testing, actions)
    follower = Follower(world, actions, truth.facts, truth.target)
    questions = sorted({(log.task, log.states[place]) for log in testing for place in log.turns})
    known: dict[Facts, Answered] = {}
    for _, start in questions:
        if start not in known and not at_goal(start):
            plan = world.plan({"features": dict(start)}, target(start))
            predicted = plan["success_probability"] if plan["reached"] else None
            planned = Odds(reached=0.0, unshown=0.0) if predicted is None else truth.followed(start, follower)
            known[start] = Answered(
                task="",
                predicted=predicted,
                lower=plan["success_probability_lower"],
                planned=planned,
                nearest=truth.blindly(start, _nearest(training, start)),
            )
    return [replace(known[start], task=task) for task, start in questions if start in known]


def _nearest(logs: Sequence[Log], start: Facts) -> Sequence[str]:
    """The rest of the successful log of the same kind of goal that shares the most facts in some state."""
    facts = set(start)
    kind = dict(start)["goal_type"]
    _, _, rest = min(
        (-len(facts.intersection(state)), len(log.actions) - place, log.actions[place:])
        for log in logs
        if log.success and log.kind == kind
        for place, state in enumerate(log.states[:-1])
    )
    return rest


def _rows(seeds: Sequence[Sequence[Answered]], seconds: float) -> list[Row]:
    measures: Mapping[str, Callable[[Sequence[Answered]], float]] = {
        "valid plans": lambda of: fmean(one.planned.reached > 0 for one in of),
        "valid, nearest log": lambda of: fmean(one.nearest.reached > 0 for one in of),
        "odds of the goal": lambda of: fmean(one.planned.reached for one in of),
        "odds of the goal, nearest log": lambda of: fmean(one.nearest.reached for one in of),
        "odds of what the logs don't show": lambda of: fmean(one.planned.unshown for one in of),
        "odds of what they don't show, nearest log": lambda of: fmean(one.nearest.unshown for one in of),
        "unknown": lambda of: fmean(one.predicted is None for one in of),
        "odds of neither in 100 steps": lambda of: fmean(
            1 - one.planned.reached - one.planned.unshown for one in of if one.predicted is not None
        ),
        "ECE of success_probability": lambda of: _ece(_known(of)),
        "ECE of success_probability_lower": lambda of: _ece(_bounded(of)),
    }
    rows = []
    for name, measure in measures.items():
        low, high = _interval(seeds, measure)
        values, count = [measure(of) for of in seeds], sum(len(of) for of in seeds)
        notes = f"95 %: {low:.3f} to {high:.3f}; {count} questions"
        rows.append(Row(name=name, values=values, bar="", met=None, seconds=seconds, notes=notes))
    return rows


def _interval(
    seeds: Sequence[Sequence[Answered]], measure: Callable[[Sequence[Answered]], float]
) -> tuple[float, float]:
    """Of the mean of the splits, in each of which the held-out tasks are drawn again."""
    random = Random(0)
    by_task: list[dict[str, list[Answered]]] = []
    for answers in seeds:
        tasks: defaultdict[str, list[Answered]] = defaultdict(list)
        for one in answers:
            tasks[one.task].append(one)
        by_task.append(tasks)
    means = sorted(
        fmean(
            measure([one for task in random.choices(list(tasks), k=len(tasks)) for one in tasks[task]])
            for tasks in by_task
        )
        for _ in range(RESAMPLES)
    )
    return means[round(0.025 * RESAMPLES)], means[round(0.975 * RESAMPLES) - 1]


def _ece(known: Sequence[tuple[float, float]]) -> float:
    return sum(number * abs(predicted - odds) for number, predicted, odds in _reliability(known)) / max(len(known), 1)


def _known(answers: Sequence[Answered]) -> list[tuple[float, float]]:
    """What was predicted, and the odds in truth, where a way was known."""
    return [(of.predicted, of.planned.reached) for of in answers if of.predicted is not None]


def _bounded(answers: Sequence[Answered]) -> list[tuple[float, float]]:
    """As `_known`, of the lower bounds."""
    return [(of.lower, of.planned.reached) for of in answers if of.predicted is not None]


def _diagram(path: Path, answers: Sequence[Answered]) -> None:
    """Odds in truth against predictions, the area of a point as the number of its questions."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - only where a picture is wanted
    from matplotlib.figure import Figure  # noqa: PLC0415 - the same

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="as predicted")
    for name, marker, known in (
        ("success_probability", "o", _known(answers)),
        ("success_probability_lower", "s", _bounded(answers)),
    ):
        bins = _reliability(known)
        axes.scatter(
            [predicted for _, predicted, _ in bins],
            [odds for _, _, odds in bins],
            s=[20 + 400 * number / len(known) for number, _, _ in bins],
            marker=marker,
            alpha=0.7,
            label=name,
        )
    axes.set(xlim=(-0.02, 1.05), ylim=(-0.02, 1.05), xlabel="predicted", ylabel="in truth (held-out logs)")
    axes.set_title("ALFWorld, unseen tasks: reliability of plans")
    axes.legend(loc="upper left", markerscale=0.4)
    FigureCanvasAgg(figure).print_png(path)


def _reliability(known: Sequence[tuple[float, float]]) -> list[tuple[int, float, float]]:
    """By bin of predictions: how many, their mean, the mean of the odds in truth."""
    bins: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    for predicted, odds in known:
        bins[min(int(predicted * BINS), BINS - 1)].append((predicted, odds))
    return [
        (len(bins[place]), fmean(one for one, _ in bins[place]), fmean(one for _, one in bins[place]))
        for place in sorted(bins)
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
