"""Consolidation: options worked out from episodes, in place of those before, whatever happens meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from sqlalchemy import text

from common.config.settings import Settings
from somabrain.bootstrap import open_database
from somabrain.bootstrap.oak import build_parameters, oak_limits, open_worlds
from somabrain.oak.consolidating import Consolidator
from somabrain.oak.learning import facts
from somabrain.oak.model import Source, Status
from somabrain.oak.option_manager import OptionManager
from somabrain.oak.outcomes import Outcome
from somabrain.oak.transfer import export_model, import_model, parse_model
from somabrain.store import SqlStore
from tests.factories import ALICE, HOME, run, spec, stamp
from tests.grids import lived, walk

NEVER = 1_000_000
WAIT_S = 60.0


@dataclass(slots=True)
class Life:
    """One tenant's world on a store, and a consolidator that calls `meanwhile` before it counts and publishes."""

    store: SqlStore
    settings: Settings
    meanwhile: list[Callable[[], object]] = field(default_factory=list)
    batch: int = 2
    manager: OptionManager = field(init=False)
    consolidator: Consolidator = field(init=False)
    ids: int = 0

    def __post_init__(self) -> None:
        worlds = open_worlds(self.settings)
        self.manager = OptionManager(limits=oak_limits(self.settings), worlds=worlds)
        self.consolidator = Consolidator(
            store=self.store,
            worlds=worlds,
            parameters=build_parameters(self.settings),
            batch=self.batch,
            pause_s=0.001,
            clock_ms=self._tick,
            monotonic_s=lambda: 0.0,
            sleep=lambda _: None,
            new_event_id=self._id,
        )

    def _tick(self) -> int:
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return 1_700_000_000_000

    def _id(self) -> str:
        self.ids += 1
        return f"event {self.ids}"

    def learn(self, first: int = 0, count: int = 20) -> None:
        with self.store.write(ALICE) as tx:
            episodes = [(f"e{seed}", lived(walk(seed))) for seed in range(first, first + count)]
            self.manager.record_episodes(tx, HOME, episodes, stamp())

    def consolidate(self) -> Any:
        return self.consolidator.run(ALICE, HOME)

    def export(self) -> bytes:
        with self.store.read(ALICE) as tx:
            return export_model(tx, HOME, self.settings.memory_dim)

    def discovered(self, status: Status | None = Status.ACTIVE) -> list[str]:
        with self.store.read(ALICE) as tx:
            return [one.option_id for one in tx.options(HOME, source=Source.DISCOVERED, status=status)]

    def delete(self) -> None:
        with self.store.write(ALICE) as tx:
            self.manager.delete_namespace(tx, HOME, stamp())

    def replace(self) -> None:
        """An import of what there is, in place of what there is."""
        model = parse_model(json.loads(self.export()), self.settings.memory_dim)
        limits = oak_limits(self.settings)
        with self.store.write(ALICE) as tx:
            import_model(tx, HOME, model, stamp(), manager=self.manager, limits=limits, replacing=True)

    def stored(self) -> tuple[object, ...]:
        """What a consolidation may change, whole."""
        with self.store.read(ALICE) as tx:
            options = tx.options(HOME)
            models = tx.experience.models(HOME, {o.option_id: build for o in options for build in (o.build,)})
            return (
                tx.namespace(HOME),
                options,
                [one.option_id for one in models],
                tx.experience.consolidation(HOME),
                tx.journal(),
                export_model(tx, HOME, self.settings.memory_dim),
            )

    def models(self) -> int:
        """How many models are stored, of all builds."""
        with open_database(self.settings) as database, database.reading() as connection:
            return int(connection.execute(text("SELECT count(*) FROM option_models")).scalar_one())


@pytest.fixture
def life(settings: Settings, store: SqlStore) -> Life:
    return Life(store=store, settings=settings)


def test_options_are_made_of_episodes(life: Life) -> None:
    assert life.consolidate() is None
    life.learn()
    built = life.consolidate()
    assert built.created == built.options == len(life.discovered()) > 3
    assert (built.changed, built.retired) == (0, 0)
    before = life.stored()
    again = life.consolidate()
    assert (again.created, again.changed, again.retired, again.model_version) == (0, 0, 0, built.model_version)
    after = life.stored()
    assert [after[place] for place in (0, 1, 2, 4, 5)] == [before[place] for place in (0, 1, 2, 4, 5)]
    assert life.models() == built.options
    life.learn(20, 20)
    more = life.consolidate()
    assert more.changed > 0
    assert life.models() == more.options
    life.consolidate()
    assert life.models() == more.options


def _relearn(life: Life) -> None:
    life.delete()
    life.learn(500, 5)


CHANGES: dict[str, Callable[[Life], None]] = {
    "deleted": Life.delete,
    "replaced": Life.replace,
    "begun anew": _relearn,
    "another build": lambda life: life.consolidate(),
}


@pytest.mark.parametrize(("when", "known"), [(0, True), (1, False)])
@pytest.mark.parametrize("change", CHANGES)
def test_a_run_is_void_where_its_world_changed(life: Life, change: str, when: int, *, known: bool) -> None:
    """The namespace is deleted or replaced, or another process publishes, between the snapshot and the publishing."""
    life.learn()
    if known:
        life.consolidate()
        life.learn(20, 10)
    after: list[tuple[object, ...]] = []

    def meanwhile() -> None:
        CHANGES[change](life)
        after.append(life.stored())

    life.meanwhile = [*[lambda: None] * when, meanwhile]
    assert life.consolidate() is None
    assert life.stored() == after[0]
    assert life.consolidator.standing(ALICE, HOME).state == "idle"
    life.learn(600, 5)
    assert life.consolidate() is not None
    assert life.models() == len(life.discovered())
    undisturbed = life.export()
    fresh = Life(store=life.store, settings=life.settings)
    assert fresh.consolidate().changed == 0
    assert fresh.export() == undisturbed


@pytest.mark.parametrize("when", [0, 1])
def test_a_run_is_void_where_another_began(life: Life, when: int) -> None:
    """Two processes that both think that they are the one: nothing is published of the run that began first."""
    life.learn()
    life.consolidate()
    life.learn(20, 10)
    saved, go_on = threading.Event(), threading.Event()

    def paused() -> None:
        saved.set()
        assert go_on.wait(WAIT_S)

    other = Life(store=life.store, settings=life.settings, meanwhile=[lambda: None, paused])
    with ThreadPoolExecutor(1) as pool:
        later: list[Future[Any]] = []

        def meanwhile() -> None:
            """The other reads more, begins, and has saved its models when the first goes on."""
            life.learn(30, 10)
            later.append(pool.submit(other.consolidate))
            assert saved.wait(WAIT_S)

        life.meanwhile = [*[lambda: None] * when, meanwhile]
        assert life.consolidate() is None
        go_on.set()
        assert later[0].result(WAIT_S) is not None
    with life.store.read(ALICE) as tx:
        assert tx.experience.consolidation(HOME).episodes == 40
    assert life.models() == len(life.discovered())
    undisturbed = life.export()
    fresh = Life(store=life.store, settings=life.settings)
    assert fresh.consolidate().changed == 0
    assert fresh.export() == undisturbed


def test_what_arrives_meanwhile_stays(life: Life) -> None:
    life.learn()
    life.consolidate()
    life.learn(20, 10)
    some, other = life.discovered()[:2]
    with life.store.read(ALICE) as tx:
        target = tx.option(HOME, some)
    assert target is not None
    here = facts({"x": 0, "y": 0})

    def meanwhile() -> None:
        with life.store.write(ALICE) as tx:
            life.manager.record(tx, HOME, some, run(here, target.spec.target), stamp())
            life.manager.retire(tx, HOME, other, stamp())
            life.manager.create(tx, HOME, "mine", spec(), stamp())
            life.manager.tell_outcome(
                tx, HOME, Outcome(episode_id=unknown, success=False, reward=0.0, model_version=0), stamp()
            )
            life.manager.record_episode(tx, HOME, "late", lived(walk(77)), stamp())

    unknown = next(f"e{seed}" for seed in range(30) if walk(seed)["success"] is None)
    life.meanwhile = [lambda: None, meanwhile]
    assert life.consolidate() is not None
    with life.store.read(ALICE) as tx:
        found = {option.option_id: option for option in tx.options(HOME)}
        record, known = tx.namespace(HOME), tx.experience.consolidation(HOME)
        rows = tx.rows(HOME, option_id=some)
    assert found[some].lifetime.executions == 1
    assert found[some].policy_version == 1 + (not rows)
    assert found[other].status is Status.RETIRED
    assert found["mine"].status is Status.ACTIVE
    assert record is not None
    assert (record.episodes, known.episodes) == (31, 30)
    active = [one for one in found.values() if one.status is Status.ACTIVE and one.source is not Source.PRIMITIVE]
    assert (record.active_options, record.options) == (len(active), len(found))
    assert life.consolidate() is not None
    assert other not in life.discovered()


def test_an_option_is_the_same_over_consolidations(life: Life) -> None:
    """It keeps id, lifetime and rows while its policy stays, and only then."""
    life.learn()
    life.consolidate()
    with life.store.read(ALICE) as tx:
        first = {option.option_id: option for option in tx.options(HOME, source=Source.DISCOVERED)}
    with life.store.write(ALICE) as tx:
        for option in first.values():
            life.manager.record(tx, HOME, option.option_id, run(facts({"x": 0, "y": 0}), option.spec.target), stamp())
    kept = dropped = 0
    for turn in range(1, 12):
        before = {one: len(_rows(life, one)) for one in life.discovered()}
        versions = _versions(life)
        life.learn(turn * 20, 3)
        built = life.consolidate()
        after = _versions(life)
        assert built.changed == sum(after[one][0] > versions[one][0] for one in versions if one in after)
        for one, (version, policy_version) in after.items():
            if one in versions:
                assert version - versions[one][0] in {0, 1}
                other = policy_version - versions[one][1]
                assert other in {0, 1}
                assert version > versions[one][0] or not other
                assert len(_rows(life, one)) == (0 if other else before[one])
                dropped += other
                kept += 1 - other
    assert min(kept, dropped) > 0
    with life.store.read(ALICE) as tx:
        last = {option.option_id: option for option in tx.options(HOME, source=Source.DISCOVERED)}
    assert set(first) <= set(last)
    assert all(last[one].lifetime == replace(first[one].lifetime, executions=1, successes=1, steps=1) for one in first)
    assert all(last[one].created_at_ms == first[one].created_at_ms for one in first)


def _rows(life: Life, option_id: str) -> list[Any]:
    with life.store.read(ALICE) as tx:
        return tx.rows(HOME, option_id=option_id)


def _versions(life: Life) -> dict[str, tuple[int, int]]:
    with life.store.read(ALICE) as tx:
        known = tx.options(HOME, source=Source.DISCOVERED, status=Status.ACTIVE)
    return {option.option_id: (option.version, option.policy_version) for option in known}


def test_a_defect_is_told_and_holds_up_no_one_else(settings: Settings, store: SqlStore) -> None:
    life = Life(store=store, settings=settings)
    life.learn()
    life.consolidate()
    with open_database(settings) as database, database.writing() as connection:
        connection.execute(text("UPDATE option_models SET model = :torn"), {"torn": b"torn"})
    life.learn(20, 5)
    wanted = life.consolidator.ask(ALICE, HOME)
    assert store.due_consolidations(NEVER) == [(ALICE, HOME)]
    with pytest.raises(ValueError, match="damaged"):
        life.consolidate()
    standing = life.consolidator.standing(ALICE, HOME)
    assert standing.state == "failed"
    assert "damaged" in str(standing.record.problem)
    assert store.due_consolidations(6) == []
    assert not life.consolidator.wait(ALICE, HOME, wanted, timeout_s=5.0)
    with open_database(settings) as database, database.writing() as connection:
        connection.execute(text("DELETE FROM option_models"))
    assert life.consolidator.ask(ALICE, HOME) == wanted
    assert store.due_consolidations(NEVER) == [(ALICE, HOME)]
    assert life.consolidator.standing(ALICE, HOME).state == "queued"
    assert life.consolidate() is not None
    assert life.consolidator.standing(ALICE, HOME).state == "idle"
