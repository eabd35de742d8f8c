"""The odds of runs of unseen tasks, told before each turn, beside what became of them; and how long an answer takes.

    python -m benchmarks.odds [--seeds 3] [--in-process] [--data ../shared/data/alfworld] [--check]

Each seed splits the 95 tasks of the ALFWorld logs (README beside them) 80/20. The training part is posted as episodes,
each step with its turn, the target and the destination as roles; the turn is no fact of a state. Then `/oak/predict`
is asked before each turn of the held-out logs, with the agent and the turns taken, and nothing is learned from them.
Beside it stand the base rate of the training part, and its share of successes by kind of goal and turn. ECE has ten
bins of equal width. Stopping a run at its first odds below a threshold saves the turns that it had left, and loses it
where it would have succeeded. A pair of a held-out state and the action taken there, with all its arguments, is known
where the exported model has a row of it; without roles, where it would have one.

Times are those of the standard library's client, whose own work is least, over one kept connection, with what the last
split taught; beside them `/healthz` of the same run. Of a server process only, not with `--in-process`.
"""

from __future__ import annotations

import gzip
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from statistics import fmean

import httpx
import orjson

from benchmarks.environments.alfworld import DATA, TRAINING
from benchmarks.environments.harness import Json, Row, World, parser, service, show
from benchmarks.figures import percentile, timed
from somabrain.oak.roles import NO_ROLES, Roles, roles

BINS = 10
THRESHOLD = 0.1
SHRINKAGE = 2.0
BRIER_MAX, ECE_MAX, P99_MS_MAX = 0.14, 0.05, 3.0
PAIRS_MIN = 0.88
REQUESTS = 2_000
WARMUP = 50
REST_S = 120.0

Pair = tuple[bytes, ...]
"""A state's facts and an action as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Of a held-out run: odds before each turn, from the service and of the kind of goal and the turn alone."""

    odds: Sequence[float]
    plain: Sequence[float]
    success: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What was told of held-out runs, the share of successes among the others, and of pairs known from those."""

    told: Sequence[Told]
    base: float
    pairs: float
    pairs_without: float


def main(arguments: Sequence[str]) -> int:
    """Prints the tables; the exit status is 1 where `--check` finds a bar missed."""
    options = parser(__doc__, seeds=3)
    options.add_argument("--data", type=Path, default=DATA, help="the folder with episodes.jsonl.gz")
    given = options.parse_args(arguments)
    with gzip.open(given.data / "episodes.jsonl.gz") as lines:
        logs = [log for log in map(orjson.loads, lines) if log["steps"]]
    began = time.perf_counter()
    with service(in_process=given.in_process) as http:
        splits = [_measured(http, logs, seed) for seed in range(given.seeds)]
        seconds = time.perf_counter() - began
        times = [] if given.in_process else _times(http, f"split-{given.seeds - 1}", logs)
    return show("ALFWorld, unseen tasks: odds before each turn", [*_rows(splits, seconds), *times], check=given.check)


def _measured(http: httpx.Client, logs: Sequence[Json], seed: int) -> Split:
    tasks = sorted({log["group"] for log in logs})
    Random(seed).shuffle(tasks)
    held = set(tasks[round(TRAINING * len(tasks)) :])
    training = [log for log in logs if log["group"] not in held]
    world = World(http, f"split-{seed}")
    world.post_episodes(_episode(log) for log in training)
    runs, successes = Counter[tuple[str, int]](), Counter[tuple[str, int]]()
    for log in training:
        for turn in {step["turn"] for step in log["steps"]}:
            runs[log["goal_type"], turn] += 1
            successes[log["goal_type"], turn] += log["success"]
    base = fmean(log["success"] for log in training)
    told = []
    for log in logs:
        if log["group"] in held:
            turns = list(_turns(log))
            keys = [(log["goal_type"], turn) for turn, _ in turns]
            told.append(
                Told(
                    odds=[_odds(world, log, turn, facts)["success_probability"] for turn, facts in turns],
                    plain=[(successes[key] + SHRINKAGE * base) / (runs[key] + SHRINKAGE) for key in keys],
                    success=log["success"],
                )
            )
    testing = [log for log in logs if log["group"] in held]
    return Split(
        told=told,
        base=base,
        pairs=_known(testing, _pairs_of(world.get("/oak/model")), _roles),
        pairs_without=_known(testing, _pairs(training, _no_roles), _no_roles),
    )


def _episode(log: Json) -> Json:
    return {
        "episode_id": log["episode_id"],
        "agent": log["agent"],
        "group": log["group"],
        "success": log["success"],
        "roles": _role_values(log),
        "steps": [
            {"state": _state(step["state"]), "action": step["action"], "turn": step["turn"]} for step in log["steps"]
        ],
        "final": _state(log["final_state"]),
    }


def _role_values(log: Json) -> dict[str, str]:
    """The target, and the destination where it is another."""
    known = {"target": log["target"], "destination": log["dest"]}
    return {name: value for name, value in known.items() if value and (name == "target" or value != log["target"])}


def _roles(log: Json) -> Roles:
    return roles(_role_values(log))


def _no_roles(_log: Json) -> Roles:
    return NO_ROLES


def _pairs(logs: Sequence[Json], roles_of: Callable[[Json], Roles]) -> Counter[Pair]:
    """States and the actions taken there, as they are stored."""
    return Counter(
        tuple(
            orjson.dumps(roles_of(log).bind(part), option=orjson.OPT_SORT_KEYS)
            for part in (_state(step["state"])["features"], step["action"])
        )
        for log in logs
        for step in log["steps"]
    )


def _pairs_of(model: Json) -> Collection[Pair]:
    """Those of an exported model's rows."""
    states = [orjson.dumps(one["features"], option=orjson.OPT_SORT_KEYS) for one in model["prototypes"]]
    policies = {one["option_id"]: one["policy"] for one in model["options"]}
    actions = [
        orjson.dumps(policies[name]["action"], option=orjson.OPT_SORT_KEYS) for name in model["primitives"]["actions"]
    ]
    return {(states[row["start"]], actions[row["action"]]) for row in model["primitives"]["rows"]}


def _known(logs: Sequence[Json], known: Collection[Pair], roles_of: Callable[[Json], Roles]) -> float:
    """The share of the logs' pairs that are known."""
    asked = _pairs(logs, roles_of)
    return sum(times for pair, times in asked.items() if pair in known) / asked.total()


def _state(facts: Mapping[str, str | int | bool]) -> Json:
    return {"features": {name: value for name, value in facts.items() if name != "turn"}}


def _turns(log: Json) -> Iterator[tuple[int, Json]]:
    """Each turn with the state before it."""
    last = None
    for step in log["steps"]:
        if step["turn"] != last:
            yield step["turn"], _state(step["state"])
        last = step["turn"]


def _odds(world: World, log: Json, turn: int, state: Json) -> Json:
    return world.post(
        "/oak/predict", {"state": state, "agent": log["agent"], "steps_taken": turn, "roles": _role_values(log)}
    )


def _rows(splits: Sequence[Split], seconds: float) -> list[Row]:
    briers = [brier([(p, one.success) for one in of.told for p in one.odds]) for of in splits]
    plain = [brier([(p, one.success) for one in of.told for p in one.plain]) for of in splits]
    base = [brier([(of.base, one.success) for one in of.told for _ in one.odds]) for of in splits]
    eces = [ece([(p, one.success) for one in of.told for p in one.odds]) for of in splits]
    stopped = [_stopped(of.told) for of in splits]
    count = sum(len(one.odds) for of in splits for one in of.told)
    better = fmean(briers) < fmean(plain)
    return [
        _row("Brier, base rate", base),
        _row("Brier, kind of goal and turn", plain),
        Row(
            name="Brier, /oak/predict",
            values=briers,
            bar=f"mean <= {BRIER_MAX}, below kind and turn",
            met=fmean(briers) <= BRIER_MAX and better,
            seconds=seconds,
            notes=f"worst {max(briers):.4f}; {count} questions",
        ),
        Row(
            name="ECE, /oak/predict",
            values=eces,
            bar=f"mean <= {ECE_MAX}",
            met=fmean(eces) <= ECE_MAX,
            seconds=0.0,
            notes=f"worst {max(eces):.4f}",
        ),
        _row(f"turns saved by stopping below {THRESHOLD}", [saved for saved, _ in stopped]),
        _row("successes lost by it", [lost for _, lost in stopped]),
        _row("pairs of state and action known, without roles", [of.pairs_without for of in splits]),
        Row(
            name="pairs of state and action known, with roles",
            values=[of.pairs for of in splits],
            bar=f"mean >= {PAIRS_MIN}",
            met=fmean(of.pairs for of in splits) >= PAIRS_MIN,
            seconds=0.0,
        ),
    ]


def _row(name: str, values: Sequence[float]) -> Row:
    return Row(name=name, values=values, bar="", met=None, seconds=0.0)


def brier(told: Sequence[tuple[float, bool]]) -> float:
    """The mean squared error of odds, each with what became of it (Brier 1950)."""
    return fmean((p - success) ** 2 for p, success in told)


def ece(told: Sequence[tuple[float, bool]]) -> float:
    """The expected calibration error over `BINS` bins."""
    surplus = [0.0] * BINS
    for p, success in told:
        surplus[min(int(p * BINS), BINS - 1)] += p - success
    return sum(map(abs, surplus)) / len(told)


def _stopped(told: Sequence[Told]) -> tuple[float, float]:
    """Shares of turns saved, and of successes lost."""
    saved = lost = 0
    for one in told:
        stop = next((turn for turn, p in enumerate(one.odds) if p < THRESHOLD), None)
        if stop is not None:
            saved += len(one.odds) - stop
            lost += one.success
    return saved / sum(len(one.odds) for one in told), lost / sum(one.success for one in told)


def _times(http: httpx.Client, namespace: str, logs: Sequence[Json]) -> list[Row]:
    """Answers that are told, and that are kept to be scored as well; told first while options are worked out."""
    random = Random(0)
    asked = [(log, *random.choice(list(_turns(log)))) for log in random.choices(logs, k=REQUESTS)]
    told = [
        {
            "namespace": namespace,
            "state": state,
            "agent": log["agent"],
            "steps_taken": turn,
            "steps_left": 5 - min(turn, 5),
            "roles": _role_values(log),
        }
        for log, turn, state in asked
    ]
    kept = [{**body, "episode_id": f"run-{number}"} for number, body in enumerate(told)]
    connection = HTTPConnection(http.base_url.host, http.base_url.port)
    with closing(connection):
        beside = timed(_asker(connection, told), REQUESTS - WARMUP, WARMUP)
        http.post(
            "/oak/consolidate", json={"namespace": namespace, "wait": True, "timeout_s": REST_S}, timeout=REST_S
        ).raise_for_status()
        health = timed(lambda: _answered(connection, "GET", "/healthz"), REQUESTS)
        rows = [_time("answer after many episodes at once, ms", beside, None), _time("/healthz, ms", health, None)]
        for name, bodies in (("answer, ms", told), ("answer that is kept, ms", kept)):
            ask = _asker(connection, bodies)
            rows.append(_time(name, timed(ask, REQUESTS - WARMUP, WARMUP), P99_MS_MAX))
    return rows


def _asker(connection: HTTPConnection, bodies: Sequence[Json]) -> Callable[[], None]:
    """What sends the next of the bodies at each call."""
    contents = iter([orjson.dumps(body) for body in bodies])
    return lambda: _answered(connection, "POST", "/oak/predict", next(contents))


def _answered(connection: HTTPConnection, method: str, path: str, content: bytes | None = None) -> None:
    connection.request(method, path, content, {"content-type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != HTTPStatus.OK:
        message = f"{method} {path}: {answer.status} {text[:200]!r}"
        raise RuntimeError(message)


def _time(name: str, spent: Sequence[float], most: float | None) -> Row:
    p99 = percentile(spent, 0.99)
    return Row(
        name=name,
        values=[percentile(spent, 0.5)],
        bar="" if most is None else f"p99 <= {most:g}",
        met=None if most is None else p99 <= most,
        seconds=sum(spent) / 1000,
        notes=f"p95 {percentile(spent, 0.95):.2f}, p99 {p99:.2f}",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
