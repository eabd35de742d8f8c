"""The planning use cases: from states to what the planner needs, and its answers with names put back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from somabrain.oak.learning import similarity
from somabrain.oak.learning.prototypes import Goals, Match
from somabrain.oak.model import Facts, Json, Option, Plan, Reason, Source, State
from somabrain.oak.option_manager import OptionManager
from somabrain.oak.planner import Candidate, Decision, Distances, act, candidates, plan, untried
from somabrain.oak.world import World
from somabrain.oak.worlds import Worlds
from somabrain.ports import NamespaceRecord, NotAtHandError, ReadTransaction
from somabrain.tenancy import Namespace

NEAREST_STATES = 5
"""How many known states an answer names for an unknown start, or to explore (DESIGN §7)."""

EXPLORE = "explore"
"""The mode that goes where something is untried, whatever the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A known state near an unknown one, and the facts in which the two differ."""

    number: int
    state: State
    differs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unexplored:
    """A known state, and the actions that are untried there, the most promising first."""

    number: int
    state: State
    actions: tuple[Json, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """An option where it is to be taken: `action` is the primitive one to take, `None` where it was declared.

    `target` is `None` for the local goal option.
    """

    option_id: str
    name: str
    source: str
    policy: Mapping[str, Json]
    action: Json
    target: State | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A plan with what it takes to read it: the options it names, the states it passes."""

    plan: Plan
    start: int | None
    start_similarity: float
    matched: int
    best_similarity: float | None
    nearest: tuple[Near, ...]
    frontier: tuple[Unexplored, ...]
    options: dict[str, Named]
    states: dict[int, State]
    model_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """What to do now; `option` is `None` where nothing is."""

    decision: Decision
    option: Named | None
    candidates: tuple[tuple[Candidate, Named], ...]
    model_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Query:
    """Where an agent is and what it is after, in a world."""

    record: NamespaceRecord
    world: World
    own: Match | None
    closest: Match | None
    at_target: bool
    goals: Goals
    distances: Distances


class Planning:
    """Answers plan and act requests. Thread-safe."""

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
        at_once: bool = False,
    ) -> Answer:
        """The plan from `start` to `target`, or to what is untried. Finding none is an answer.

        Raises `NotAtHandError` where it is wanted at once and takes more than a look at what is kept.
        """
        if at_once and alternatives:
            raise NotAtHandError
        exploring = mode == EXPLORE
        query = self._query(tx, namespace, start, target, threshold=threshold, exploring=exploring, at_once=at_once)
        number = None if query.own is None else query.own.number
        most = self._max_options if max_options is None else max_options
        if number is not None and (query.distances.hops(number) or 0) > most:
            query.world.about_to_search()
        found = plan(
            query.distances, start=number, at_target=query.at_target, max_options=most, alternatives=alternatives
        )
        return _answer(query, found, start, exploring=exploring)

    def act(
        self,
        tx: ReadTransaction,
        namespace: Namespace,
        state: State,
        target: State,
        *,
        running: str | None,
        threshold: float | None,
        top_k: int,
        mode: str,
        at_once: bool = False,
    ) -> Doing:
        """What to do in `state` on the way to `target`, with `running` the option that was begun, if any (DESIGN §6.9).

        Exploring, it goes to the nearest state in which something is untried, and tries that (§6.8). Raises as `plan`.
        """
        query = self._query(
            tx, namespace, state, target, threshold=threshold, exploring=mode == EXPLORE, at_once=at_once
        )
        world, at = query.world, None if query.own is None else query.own.number
        if mode == EXPLORE and not query.at_target and (at is None or at in query.distances.goals):
            return _tried(world, at)
        known = None if running is None else world.options.get(running)
        declared = known is not None and known.source is Source.DECLARED
        decision = act(
            query.distances,
            at=at,
            at_target=query.at_target,
            running=running,
            targets=self._targets(query, known) if known is not None and declared else None,
        )
        options = () if at is None or not top_k else candidates(query.distances, at, top_k)
        named = None if at is None or decision.option_id is None else _named(query, decision.option_id, at)
        return Doing(
            decision=decision,
            option=named,
            candidates=tuple((one, _named(query, one.option_id, at or 0)) for one in options),
            model_version=world.model_version,
        )

    def world(self, tx: ReadTransaction, namespace: Namespace) -> World:
        """The namespace as planning sees it."""
        return self._worlds.world(tx, tx.namespace(namespace) or self._manager.unseen(namespace))

    def _query(
        self,
        tx: ReadTransaction,
        namespace: Namespace,
        state: State,
        target: State,
        *,
        threshold: float | None,
        exploring: bool,
        at_once: bool,
    ) -> _Query:
        record = tx.namespace(namespace) or self._manager.unseen(namespace)
        world = self._worlds.world(tx, record, at_once=at_once)
        least = self._least(target) if threshold is None else threshold
        known = record.learning.state_similarity
        closest = world.closest(state)
        likeness = similarity(state, target)
        meets = likeness is not None and likeness >= least
        if exploring:
            distances = world.frontier()
            goals = Goals(numbers=tuple(sorted(distances.goals)), best=None)
        else:
            goals = world.goals(target, least, known)
            distances = world.distances(goals.numbers, target)
        return _Query(
            record=record,
            world=world,
            own=closest if closest is not None and closest.similarity >= known else None,
            closest=closest,
            at_target=meets,
            goals=goals,
            distances=distances,
        )

    def _least(self, target: State) -> float:
        return 1.0 if isinstance(target, Facts) else self._similarity_threshold

    def _targets(self, query: _Query, option: Option) -> tuple[int, ...]:
        """The prototypes that meet an option's own target."""
        target, asked = option.spec.target, option.spec.termination.similarity
        default = 1.0 if isinstance(target, Facts) else query.record.learning.similarity_threshold
        return query.world.goals(
            target, default if asked is None else asked, query.record.learning.state_similarity
        ).numbers


def _tried(world: World, at: int | None) -> Doing:
    """The most promising untried action; where `at` is not known, of all actions."""
    table = world.table
    numbers = untried(table, table.states if at is None else at)
    option = world.options[table.action_ids[numbers[0]]] if numbers else None
    decision = Decision(
        reason=None if option else Reason.NO_OPTIONS,
        option_id=None if option is None else option.option_id,
        switched=False,
        success_probability=0.0,
        expected_duration=1.0 if option else 0.0,
        executions=0,
    )
    named = None if option is None else _of_option(option, option.spec.policy["action"])
    return Doing(decision=decision, option=named, candidates=(), model_version=world.model_version)


def _named(query: _Query, option_id: str, at: int) -> Named:
    world = query.world
    taken = world.action(option_id, at, query.distances)
    action = None if taken is None else world.options[taken].spec.policy["action"]
    known = world.options.get(option_id)
    if known is not None:
        return _of_option(known, action)
    return Named(option_id=option_id, name=option_id, source="goal", policy={}, action=action, target=None)


def _of_option(option: Option, action: Json) -> Named:
    return Named(
        option_id=option.option_id,
        name=option.spec.name,
        source=option.source.value,
        policy=option.spec.policy,
        action=action,
        target=option.spec.target,
    )


def _answer(query: _Query, found: Plan, start: State, *, exploring: bool) -> Answer:
    world, own = query.world, query.own
    routes = [route for route in (found.route, *found.alternatives) if route is not None]
    steps = [step for route in routes for step in route.steps]
    numbers = {number for step in steps for number in (step.start, step.end)}
    unknown = found.reason is Reason.UNKNOWN_START
    likest = world.likest(start, NEAREST_STATES) if unknown else ()
    best = max((match.similarity for match in (query.closest, *likest) if match is not None), default=0.0)
    return Answer(
        plan=found,
        start=None if own is None else own.number,
        start_similarity=best if own is None else own.similarity,
        matched=len(query.goals.numbers),
        best_similarity=query.goals.best,
        nearest=tuple(_near(world, start, match.number) for match in likest),
        frontier=_frontier(world, own) if exploring or found.route is None else (),
        options={step.option_id: _named(query, step.option_id, step.start) for step in steps},
        states={number: world.index.state(number) for number in numbers},
        model_version=world.model_version,
    )


def _frontier(world: World, own: Match | None) -> tuple[Unexplored, ...]:
    """Known states worth exploring, those first that are cheapest to reach."""
    start = None if own is None else own.number
    return tuple(
        Unexplored(number=number, state=world.index.state(number), actions=_untried(world, number))
        for number in world.unexplored(start, NEAREST_STATES)
    )


def _untried(world: World, number: int) -> tuple[Json, ...]:
    ids = (world.table.action_ids[action] for action in untried(world.table, number))
    return tuple(world.options[option_id].spec.policy["action"] for option_id in ids)


def _near(world: World, start: State, number: int) -> Near:
    known = world.index.state(number)
    differs: tuple[str, ...] = ()
    if isinstance(start, Facts) and isinstance(known, Facts):
        unlike = start.entries ^ known.entries
        differs = tuple(sorted({json.loads(entry)[0] for entry in unlike}))
    return Near(number=number, state=known, differs=differs)
