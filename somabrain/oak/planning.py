"""The planning use case: from a state and a target to what the planner needs, and its answer with names put back."""

from __future__ import annotations

import json
from dataclasses import dataclass

from somabrain.errors import ModeUnavailableError
from somabrain.oak.learning import similarity
from somabrain.oak.learning.prototypes import Goals, Match
from somabrain.oak.model import Facts, Option, Plan, Reason, State
from somabrain.oak.option_manager import OptionManager
from somabrain.oak.planner import plan
from somabrain.oak.worlds import World, Worlds
from somabrain.ports import ReadTransaction
from somabrain.tenancy import Namespace

NEAREST_STATES = 5
"""How many known states an answer names for an unknown start (DESIGN §7)."""

MODES = ("safe",)
"""What `mode` may be as yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A known state near an unknown one, and the facts in which the two differ."""

    number: int
    state: State
    differs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A plan with what it takes to read it: the options it names, the states it passes."""

    plan: Plan
    start: int | None
    start_similarity: float
    matched: int
    best_similarity: float | None
    nearest: tuple[Near, ...]
    options: dict[str, Option]
    states: dict[int, State]
    model_version: int


class Planning:
    """Answers plan requests. Thread-safe."""

    def __init__(
        self, *, worlds: Worlds, manager: OptionManager, similarity_threshold: float, max_options: int
    ) -> None:
        """`similarity_threshold`: for vector targets that name none; `max_options`: for requests that name none."""
        self._worlds = worlds
        self._manager = manager
        self._similarity_threshold = similarity_threshold
        self._max_options = max_options

    def plan(
        self,
        tx: ReadTransaction,
        namespace: Namespace,
        start: State,
        target: State,
        *,
        threshold: float | None,
        max_options: int | None,
        alternatives: int,
        mode: str,
    ) -> Answer:
        """The plan from `start` to `target`. Finding none is an answer. Raises `ModeUnavailableError`."""
        if mode not in MODES:
            message = f"mode {mode!r} is not available"
            raise ModeUnavailableError(message, loc=("mode",))
        record = tx.namespace(namespace) or self._manager.unseen(namespace)
        world = self._worlds.world(tx, record)
        default = 1.0 if isinstance(target, Facts) else self._similarity_threshold
        least = default if threshold is None else threshold
        goals = world.goals(target, least, record.learning.state_similarity)
        closest = world.index.closest(start, world.limit)
        own = closest if closest is not None and closest.similarity >= record.learning.state_similarity else None
        likeness = similarity(start, target)
        found = plan(
            world.distances(goals.numbers),
            start=None if own is None else own.number,
            at_target=likeness is not None and likeness >= least,
            max_options=self._max_options if max_options is None else max_options,
            alternatives=alternatives,
        )
        return _answer(world, found, start, goals, own=own, closest=closest)


def _answer(
    world: World, found: Plan, start: State, goals: Goals, *, own: Match | None, closest: Match | None
) -> Answer:
    routes = [route for route in (found.route, *found.alternatives) if route is not None]
    steps = [step for route in routes for step in route.steps]
    numbers = {number for step in steps for number in (step.start, step.end)}
    unknown = found.reason is Reason.UNKNOWN_START
    nearest = world.index.nearest(start, NEAREST_STATES, world.limit) if unknown else ()
    best = max((match.similarity for match in (closest, *nearest) if match is not None), default=0.0)
    return Answer(
        plan=found,
        start=None if own is None else own.number,
        start_similarity=best if own is None else own.similarity,
        matched=len(goals.numbers),
        best_similarity=goals.best,
        nearest=tuple(_near(world, start, match.number) for match in nearest),
        options={step.option_id: world.options[step.option_id] for step in steps},
        states={number: world.index.state(number) for number in numbers},
        model_version=world.model_version,
    )


def _near(world: World, start: State, number: int) -> Near:
    known = world.index.state(number)
    differs: tuple[str, ...] = ()
    if isinstance(start, Facts) and isinstance(known, Facts):
        unlike = start.entries ^ known.entries
        differs = tuple(sorted({json.loads(entry)[0] for entry in unlike}))
    return Near(number=number, state=known, differs=differs)
