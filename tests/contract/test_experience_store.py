"""What is true of raw experience and option models in the store, on each engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from somabrain.oak.learning import facts
from somabrain.oak.model import Arrivals, Mark, OptionModel, PrimitiveRow, Prototype
from somabrain.ports import (
    Consolidation,
    EpisodeRecord,
    Event,
    NamespaceRecord,
    ReadTransaction,
    StoredPrototype,
    WriteTransaction,
)
from somabrain.store import SqlStore
from somabrain.tenancy import Namespace
from tests.contract.test_store import record
from tests.factories import ALICE, BOB, HOME

OTHER = Namespace("other")
MANY = 1203
"""More keys than two statements take, and no multiple of what one takes."""


def primitive(start: int, action: int = 0, **changes: object) -> PrimitiveRow:
    values = {
        "start": start,
        "action": action,
        "reward": 0.1 + 0.2,
        "loss": 1e-300,
        "refused": 2**53 - 1,
        "fresh": True,
        "outcomes": (0, 3, 2**31 - 1),
        "counts": (1, 2**40, 2**53 - 1),
    }
    return PrimitiveRow(**{**values, **changes})  # type: ignore[arg-type]


def reached(number: int, **changes: object) -> Arrivals:
    values = {"number": number, "arrivals": 2**53 - 1, "endings": 7, "marks": Mark.REWARD | Mark.NOVELTY}
    return Arrivals(**{**values, **changes})  # type: ignore[arg-type]


def model(option_id: str, target: int = 1) -> OptionModel:
    return OptionModel(
        option_id=option_id,
        target=target,
        start=np.array([0, 5], dtype=np.int32),
        action=np.array([70_000, 1], dtype=np.int32),
        probability=np.array([1 / 3, 1.0], dtype=np.float32),
        reach=np.array([1e-30, 0.5], dtype=np.float32),
        reward=np.array([-1e9, 0.1], dtype=np.float32),
        duration=np.array([1.0, 2.5], dtype=np.float32),
    )


def told(models: Sequence[OptionModel]) -> list[tuple[object, ...]]:
    columns = ("start", "action", "probability", "reach", "reward", "duration")
    return [(one.option_id, one.target, *(getattr(one, name).tolist() for name in columns)) for one in models]


def prototypes(tx: WriteTransaction, count: int, namespace: Namespace = HOME) -> None:
    states = [Prototype(number=number, state=facts({"n": number})) for number in range(count)]
    tx.add_prototypes(namespace, [StoredPrototype(prototype=state, visits=1) for state in states])


def episode(episode_id: str = "e", **changes: object) -> EpisodeRecord:
    values = {"episode_id": episode_id, "sequence": 2**40, "body_sha256": bytes(range(32)), "success": None}
    return EpisodeRecord(**{**values, **changes})  # type: ignore[arg-type]


def consolidation(namespace: Namespace = HOME) -> Consolidation:
    return Consolidation(
        namespace=namespace,
        requested=2**40,
        through=9,
        episodes=3,
        build=2,
        run=2**40 + 1,
        terminal=(0, 7, 2**31 - 1),
        started_at_ms=1_700_000_000_000,
        finished_at_ms=None,
        done=5,
        total=6,
        result={"text": "\u0000 ü \U0001f600", "seconds": 0.1 + 0.2, "parameters": {"radius": 12}},
        problem="ValueError: \u00fc",
    )


def fill(tx: WriteTransaction, namespace: Namespace = HOME) -> None:
    experience = tx.experience
    tx.save_namespace(record(namespace))
    prototypes(tx, 3, namespace)
    experience.add_actions(namespace, 0, ["act:B", "act:A"])
    experience.save_rows(namespace, [primitive(1, 1), primitive(1, 0), primitive(0, 1)], 5)
    experience.save_arrivals(namespace, [reached(1)], 5)
    experience.save_episode(namespace, episode())
    experience.save_models(namespace, 1, [model("disc:x")])
    experience.save_consolidation(consolidation(namespace))


def seen(tx: ReadTransaction, namespace: Namespace = HOME) -> list[object]:
    """All that the port reads of a namespace."""
    experience = tx.experience
    return [
        experience.actions(namespace),
        experience.rows(namespace),
        experience.arrivals(namespace),
        experience.changed_states(namespace, after=0),
        experience.episode(namespace, "e"),
        experience.reports(namespace, after=0),
        told(experience.models(namespace, {"disc:x": 1})),
        experience.consolidation(namespace),
    ]


NOTHING: list[object] = [[], [], [], [], None, [], [], Consolidation(namespace=HOME)]


def test_what_is_written_is_read_back_equal(store: SqlStore) -> None:
    with store.write(ALICE) as tx:
        assert seen(tx) == NOTHING
        fill(tx)
    with store.read(ALICE) as tx:
        unreached = [Arrivals(number=number, arrivals=0, endings=0, marks=Mark(0)) for number in (0, 2)]
        assert seen(tx) == [
            ["act:B", "act:A"],
            [primitive(0, 1), primitive(1, 0), primitive(1, 1)],
            [unreached[0], reached(1), unreached[1]],
            [0, 1],
            episode(),
            [],
            told([model("disc:x")]),
            consolidation(),
        ]


def test_actions_keep_their_numbers(store: SqlStore) -> None:
    names = [f"act:{number}" for number in range(MANY)]
    with store.write(ALICE) as tx:
        tx.experience.add_actions(HOME, 0, names[:2])
        tx.experience.add_actions(HOME, 2, [])
        tx.experience.add_actions(HOME, 2, names[2:])
    with store.read(ALICE) as tx:
        assert tx.experience.actions(HOME) == names
        assert tx.experience.actions(HOME, first=MANY - 1) == names[-1:]
        assert tx.experience.actions(HOME, first=MANY) == []


def test_rows_by_change_and_by_pair(store: SqlStore) -> None:
    rows = [primitive(start, action) for start in range(MANY) for action in (0, 1)]
    with store.write(ALICE) as tx:
        tx.experience.save_rows(HOME, rows[::-1], 4)
        tx.experience.save_rows(HOME, [primitive(9, 1, reward=-5.0), primitive(3)], 6)
        tx.experience.save_rows(HOME, [], 7)
    with store.read(ALICE) as tx:
        experience = tx.experience
        assert len(experience.rows(HOME)) == len(rows)
        assert experience.rows_of(HOME, [(row.start, row.action) for row in rows[::-1]]) == experience.rows(HOME)
        pairs = [(9, 1), (8, 0), (9, 1), (9, 2), (MANY, 0)]
        assert experience.rows_of(HOME, pairs) == [primitive(8), primitive(9, 1, reward=-5.0)]
        assert experience.rows_of(HOME, {(3, 0), (3, 1)}) == [primitive(3), primitive(3, 1)]
        assert experience.rows_of(HOME, []) == []
        assert experience.rows(HOME, changed_after=4) == [primitive(3), primitive(9, 1, reward=-5.0)]
        assert experience.rows(HOME, changed_after=6) == []
        assert experience.changed_states(HOME, after=4) == [3, 9]
        assert experience.changed_states(HOME, after=3) == list(range(MANY))
        assert experience.changed_states(HOME, after=6) == []


def test_arrivals_by_change_and_by_number(store: SqlStore) -> None:
    with store.write(ALICE) as tx:
        prototypes(tx, MANY)
        tx.experience.save_arrivals(HOME, [reached(number) for number in range(MANY)], 4)
        tx.experience.save_arrivals(HOME, [reached(700, marks=Mark(0)), reached(2, endings=8)], 6)
        tx.experience.save_arrivals(HOME, [], 9)
    with store.read(ALICE) as tx:
        experience = tx.experience
        assert experience.arrivals_of(HOME, range(MANY - 1, -1, -1)) == experience.arrivals(HOME)
        assert [one.number for one in experience.arrivals(HOME)] == list(range(MANY))
        later = [reached(2, endings=8), reached(700, marks=Mark(0))]
        assert experience.arrivals(HOME, changed_after=4) == later
        assert experience.arrivals_of(HOME, [700, MANY, 700]) == later[1:]
        assert experience.arrivals_of(HOME, []) == experience.arrivals(HOME, changed_after=6) == []


def test_visits_and_arrivals_leave_each_other_alone(store: SqlStore) -> None:
    with store.write(ALICE) as tx:
        prototypes(tx, 2)
        tx.experience.save_arrivals(HOME, [reached(1)], 4)
        tx.add_visits(HOME, {1: 2})
    with store.read(ALICE) as tx:
        assert [stored.visits for stored in tx.prototypes(HOME)] == [1, 3]
        assert tx.experience.arrivals_of(HOME, [1]) == [reached(1)]


@pytest.mark.parametrize("success", [True, False, None])
def test_an_episode_is_replaced_as_a_whole(store: SqlStore, *, success: bool | None) -> None:
    with store.write(ALICE) as tx:
        tx.experience.save_episode(HOME, episode())
        tx.experience.save_episode(HOME, episode("E", success=success))
        tx.experience.save_episode(HOME, episode(success=success, outcome_sequence=2**41))
    with store.read(ALICE) as tx:
        assert tx.experience.episode(HOME, "e") == episode(success=success, outcome_sequence=2**41)
        assert tx.experience.episode(HOME, "E") == episode("E", success=success)


def test_reports_are_those_of_episodes_after_a_sequence(store: SqlStore) -> None:
    with store.write(ALICE) as tx:
        for place, (kind, namespace) in enumerate(
            [("EpisodeRecorded", HOME), ("OptionCreated", HOME), ("EpisodeRecorded", OTHER), ("EpisodeRecorded", HOME)]
        ):
            payload = {"transitions": place + 1, "prototypes_created": place}
            parts = {"option_id": None, "request": None, "reported_by": "me", "timestamp_ms": 1}
            event_id = str(place)
            tx.append(Event(type=kind, namespace=namespace, payload=payload, event_id=event_id, **parts))  # type: ignore[arg-type]
    with store.read(ALICE) as tx:
        assert tx.experience.reports(HOME, after=0) == [(1, 0), (4, 3)]
        assert tx.experience.reports(HOME, after=1) == [(4, 3)]
        assert tx.experience.reports(OTHER, after=0) == [(3, 2)]


def test_models_by_id_and_build(store: SqlStore) -> None:
    names = [f"disc:{number:05}" for number in range(MANY)]
    with store.write(ALICE) as tx:
        tx.experience.save_models(HOME, 1, [model(name) for name in names])
        tx.experience.save_models(HOME, 2, [model(name, 2) for name in names[:10]])
        tx.experience.save_models(HOME, 2, [model(names[0], 9)])
        tx.experience.save_models(HOME, 3, [])
    with store.read(ALICE) as tx:
        found = tx.experience.models(HOME, {names[1]: 2, names[0]: 2, names[3]: 1, names[4]: 7, "disc:none": 1})
        assert told(found) == told([model(names[0], 9), model(names[1], 2), model(names[3])])
        assert told(tx.experience.models(HOME, dict.fromkeys(names, 1))) == told([model(name) for name in names])
        assert tx.experience.models(HOME, {}) == []


def test_all_models_go_but_those_that_are_kept(store: SqlStore) -> None:
    names = [f"disc:{number:05}" for number in range(MANY)]
    with store.write(ALICE) as tx:
        for build in (1, 2):
            tx.experience.save_models(HOME, build, [model(name, build) for name in names])
        tx.experience.save_models(OTHER, 1, [model(names[0])])
        tx.experience.drop_models(HOME, {names[0]: 1, names[1]: 2, names[2]: 3, "disc:none": 1})
    with store.read(ALICE) as tx:
        left = [
            *tx.experience.models(HOME, dict.fromkeys(names, 1)),
            *tx.experience.models(HOME, dict.fromkeys(names, 2)),
        ]
        assert told(left) == told([model(names[0], 1), model(names[1], 2)])
        assert told(tx.experience.models(OTHER, {names[0]: 1})) == told([model(names[0])])
    with store.write(ALICE) as tx:
        tx.experience.drop_models(HOME, {})
        assert tx.experience.models(HOME, {names[0]: 1, names[1]: 2}) == []


def test_a_namespace_that_is_cleared_keeps_no_experience(store: SqlStore) -> None:
    with store.write(ALICE) as tx:
        fill(tx)
        fill(tx, OTHER)
        before = seen(tx, OTHER)
        tx.clear_namespace(HOME)
        assert seen(tx) == NOTHING
        assert seen(tx, OTHER) == before


def test_tenants_with_the_same_ids_never_meet(store: SqlStore) -> None:
    with store.write(ALICE) as tx:
        fill(tx)
        mine = seen(tx)
    with store.write(BOB) as tx:
        assert seen(tx) == NOTHING
        fill(tx)
        tx.experience.save_rows(HOME, [primitive(1, 1, reward=9.0)], 9)
        tx.experience.save_arrivals(HOME, [reached(1, endings=0)], 9)
        tx.experience.save_episode(HOME, episode(success=True))
        tx.experience.save_models(HOME, 1, [model("disc:x", 2)])
        tx.experience.drop_models(HOME, {})
        tx.experience.save_consolidation(Consolidation(namespace=HOME))
        tx.clear_namespace(HOME)
    with store.read(ALICE) as tx:
        assert seen(tx) == mine


def test_what_is_due_is_told_for_all_tenants(store: SqlStore) -> None:
    asked = Consolidation(namespace=HOME, requested=5, through=4)
    with store.write(ALICE) as tx:
        tx.save_namespace(_lived(HOME, actions=1, episodes=3))
        tx.save_namespace(_lived(OTHER, actions=0, episodes=100))
    with store.write(BOB) as tx:
        tx.save_namespace(_lived(HOME, actions=1, episodes=0))
        tx.experience.save_consolidation(asked)
        tx.save_namespace(_lived(OTHER, actions=1, episodes=7))
        tx.experience.save_consolidation(Consolidation(namespace=OTHER, requested=4, through=4, episodes=4))
    assert store.due_consolidations(3) == [(ALICE, HOME), (BOB, HOME), (BOB, OTHER)]
    assert store.due_consolidations(4) == [(BOB, HOME)]


def _lived(namespace: Namespace, *, actions: int, episodes: int) -> NamespaceRecord:
    return replace(record(namespace), actions=actions, episodes=episodes)
