"""A world that is brought up to date is the world that is compiled afresh, to the last bit."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from somabrain.bootstrap import open_database
from somabrain.bootstrap.oak import oak_limits, open_consolidator, open_worlds
from somabrain.oak.learning import facts
from somabrain.oak.model import Ending, Episode, Execution, Source, State, Step
from somabrain.oak.option_manager import OptionManager
from somabrain.oak.outcomes import Outcome
from somabrain.oak.planner import policy_toward
from somabrain.oak.planner.graph import Floats
from somabrain.oak.transfer import export_model, import_model, parse_model
from somabrain.oak.world import BESIDE_OUTCOMES, World
from somabrain.oak.worlds import CHANGES_MAX, Worlds
from somabrain.store import SqlStore
from somabrain.tenancy import Namespace, TenantId
from tests.bits import differences
from tests.conftest import plain_settings
from tests.factories import ALICE, BOB, HOME, run, spec, stamp
from tests.grids import MOVES, SIZE, lived, walk

AWAY = Namespace("away")
NAMES = ("Back", "a-way", "go", "zig")


class Life:
    """A tenant to whom things happen, as a process sees it that was there all the time."""

    def __init__(self, store: SqlStore, folder: Path, seed: int) -> None:
        self.settings = plain_settings(folder)
        self.store = store
        self.worlds = open_worlds(self.settings)
        self.limits = oak_limits(self.settings)
        self.manager = OptionManager(limits=self.limits, worlds=self.worlds)
        self.random = random.Random(seed)
        self.episodes = 0
        self.untold: list[str] = []

    def world(self, worlds: Worlds) -> World:
        with self.store.read(ALICE) as tx:
            return worlds.world(tx, tx.namespace(HOME) or self.manager.unseen(HOME))

    def compiled(self) -> World:
        """As a process has it that has just started."""
        return self.world(open_worlds(self.settings))

    def place(self) -> State:
        return facts({"x": self.random.randrange(SIZE), "y": self.random.randrange(SIZE)})

    def runnable(self) -> list[str]:
        with self.store.read(ALICE) as tx:
            known = tx.options(HOME, besides=Source.PRIMITIVE)
        return [option.option_id for option in known if option.option_id in self.compiled().options]

    def ran(self) -> Execution:
        ending = self.random.choice((Ending.TARGET, Ending.TARGET, Ending.FAILURE, Ending.TIMEOUT, Ending.CENSORED))
        return run(self.place(), self.place(), (self.random.choice((-1.0, 0.5)),) * self.random.randint(1, 4), ending)

    def execute(self, count: int = 1) -> None:
        known = self.runnable()
        if known:
            runs = [(self.random.choice(known), self.ran()) for _ in range(count)]
            with self.store.write(ALICE) as tx:
                self.manager.record_batch(tx, HOME, runs, stamp())

    def execute_many(self) -> None:
        self.execute(self.random.choice((2, 5, CHANGES_MAX, CHANGES_MAX + 1)))

    def live(self, steps: int = 40) -> None:
        self.episodes += 1
        name, episode = f"e{self.episodes}", lived(walk(self.episodes, steps))
        with self.store.write(ALICE) as tx:
            self.manager.record_episode(tx, HOME, name, episode, stamp())
        if episode.success is None:
            self.untold.append(name)

    def step(self) -> None:
        self.live(1)

    def tell(self) -> None:
        """What became of an episode, which may make its last state an end."""
        if self.untold:
            name = self.untold.pop(self.random.randrange(len(self.untold)))
            success, reward = self.random.choice(((True, 0.0), (False, -1.0), (None, 3.0)))
            told = Outcome(episode_id=name, success=success, reward=reward, model_version=0)
            with self.store.write(ALICE) as tx:
                self.manager.tell_outcome(tx, HOME, told, stamp())

    def declare(self) -> None:
        with self.store.write(ALICE) as tx:
            free = [name for name in NAMES if tx.option(HOME, name) is None]
            if free:
                self.manager.create(tx, HOME, self.random.choice(free), spec(self.place()), stamp())

    def alter(self) -> None:
        with self.store.write(ALICE) as tx:
            active = {option.option_id for option in tx.options(HOME, source=Source.DECLARED)}
            name = self.random.choice(NAMES)
            if name in active and tx.option(HOME, name) and name in self.compiled().options:
                changes = self.random.choice(({"kappa": 2.0}, {"alpha": 0.2}, {"gamma": 0.9}))
                self.manager.replace(tx, HOME, name, spec(self.place(), **changes), stamp())

    def retire(self) -> None:
        known = self.runnable()
        if known:
            with self.store.write(ALICE) as tx:
                self.manager.retire(tx, HOME, self.random.choice(known), stamp())

    def consolidate(self) -> None:
        if self.episodes:
            open_consolidator(self.settings, self.store, self.worlds).run(ALICE, HOME)

    def elsewhere(self) -> None:
        with self.store.write(ALICE) as tx:
            if tx.option(AWAY, "go") is None:
                self.manager.create(tx, AWAY, "go", spec(), stamp())
            self.manager.record(tx, AWAY, "go", self.ran(), stamp())

    def begin_anew(self) -> None:
        with self.store.read(ALICE) as tx:
            told = export_model(tx, HOME, self.settings.memory_dim)
        model = parse_model(json.loads(told), self.settings.memory_dim)
        with self.store.write(ALICE) as tx:
            import_model(tx, HOME, model, stamp(), manager=self.manager, limits=self.limits, replacing=True)
        self.untold.clear()

    def happen(self) -> Callable[[], None]:
        rare = (self.alter, self.retire, self.consolidate, self.elsewhere, self.begin_anew, self.execute_many)
        usual = (*(self.execute,) * 8, *(self.step,) * 5, self.live, self.tell, self.tell, self.declare, self.declare)
        return self.random.choice((*usual, *rare))


@pytest.mark.parametrize("seed", range(8))
def test_a_world_brought_up_to_date_is_the_one_compiled_afresh(tmp_path: Path, seed: int) -> None:
    """After runs, episodes, changes of options, consolidations and imports, field by field."""
    with open_database(plain_settings(tmp_path)) as database:
        life = Life(SqlStore(database), tmp_path, seed)
        for _ in range(40):
            life.happen()()
            if life.random.random() < 0.7:
                assert differences(life.world(life.worlds), life.compiled()) == []


def test_what_runs_and_episodes_do_not_change_is_kept(tmp_path: Path) -> None:
    """Else the test above would compare what was compiled afresh with itself."""
    with open_database(plain_settings(tmp_path)) as database:
        life = Life(SqlStore(database), tmp_path, 1)
        for _ in range(12):
            life.live()
        life.declare()
        life.consolidate()
        with life.store.write(ALICE) as tx:
            states = [facts({"x": x, "y": y}) for x in range(SIZE) for y in range(SIZE)]
            name = next(option.option_id for option in tx.options(HOME, source=Source.DECLARED))
            life.manager.record_batch(tx, HOME, [(name, run(state, states[0])) for state in states], stamp())
        before = life.world(life.worlds)
        life.elsewhere()
        life.execute(CHANGES_MAX - 2)
        kept = life.world(life.worlds)
        assert kept.table is before.table
        assert kept.models is before.models
        assert kept.model_version > before.model_version
        assert differences(kept, life.compiled()) == []
        life.step()
        life.live()
        life.tell()
        stepped = life.world(life.worlds)
        assert stepped.table is not before.table
        assert stepped.models is before.models
        assert differences(stepped, life.compiled()) == []
        life.execute(CHANGES_MAX + 1)
        assert life.world(life.worlds).models is not before.models


def test_an_older_snapshot_is_still_answered(tmp_path: Path) -> None:
    """A transaction that began before a run plans in the world without it."""
    with open_database(plain_settings(tmp_path)) as database:
        life = Life(SqlStore(database), tmp_path, 2)
        life.declare()
        life.execute()
        old = life.compiled()
        with life.store.read(ALICE) as tx:
            record = tx.namespace(HOME)
            assert record is not None
            life.execute(3)
            new = life.world(life.worlds)
            assert differences(life.worlds.world(tx, record), old) == []
        assert life.world(life.worlds) is new


def test_policy_values_that_are_worked_out_beside_are_the_same(tmp_path: Path) -> None:
    """In a world that is large enough for it, whether they are there before they are wanted or not begun by then."""
    with open_database(plain_settings(tmp_path)) as database:
        life, rng = Life(SqlStore(database), tmp_path, 3), random.Random(4)
        moves = [facts({"n": number}) for number in range(BESIDE_OUTCOMES // 3)]
        steps = [Step(state=state, action=name, reward=0.0) for state in moves for name in MOVES]
        rng.shuffle(steps)
        with life.store.write(ALICE) as tx:
            for first in range(0, len(steps), 500):
                lived_through = Episode(steps=tuple(steps[first : first + 500]), final=moves[0], terminated=False)
                life.manager.record_episode(tx, HOME, f"e{first}", lived_through, stamp())
        begun: list[str] = []

        def at_once(work: Callable[[], Floats]) -> Callable[[], Floats]:
            begun.append("at once")
            done = work()
            return lambda: done

        def late(work: Callable[[], Floats]) -> Callable[[], Floats]:
            begun.append("late")
            return work

        usual, early, lazy = life.compiled(), *(life.world(open_worlds(life.settings, way)) for way in (at_once, late))
        for target in moves[:4]:
            goals = usual.goals(target, 1.0, 1.0).numbers
            found = usual.distances(goals, target)
            assert np.count_nonzero((found.policy > 0) & (found.policy < 1)) > 0
            assert found.policy.tobytes() == policy_toward(usual.graph, goals).tobytes()
            for world in (early, lazy):
                assert differences(world.distances(goals, target), found) == []
        assert differences(early.frontier(), lazy.frontier()) == differences(early.frontier(), usual.frontier()) == []
        assert begun == ["at once", "late"] * 5


def test_a_world_that_grows_step_by_step_is_weighed_anew(tmp_path: Path) -> None:
    """It is never compiled afresh on the way, and its estimate stays near that of one that was."""
    with open_database(plain_settings(tmp_path)) as database:
        life = Life(SqlStore(database), tmp_path, 5)
        places = [facts({"n": number}) for number in range(301)]
        seen = []
        for number in range(300):
            step = Step(state=places[number], action="on", reward=0.0)
            with life.store.write(ALICE) as tx:
                episode = Episode(steps=(step,), final=places[number + 1], terminated=False)
                life.manager.record_episode(tx, HOME, f"e{number}", episode, stamp())
            life.world(life.worlds)
            seen.append(life.worlds.bytes)
        fresh = open_worlds(life.settings)
        life.world(fresh)
        assert seen[-1] == pytest.approx(fresh.bytes, rel=0.12)
        assert seen[-1] > 2 * seen[50]


def test_kept_namespaces_are_bounded_by_their_bytes(tmp_path: Path) -> None:
    settings = plain_settings(tmp_path)
    with open_database(settings) as database:
        store = SqlStore(database)
        manager = OptionManager(limits=oak_limits(settings), worlds=open_worlds(settings))
        for tenant in (ALICE, BOB):
            with store.write(tenant) as tx:
                for number in range(8):
                    manager.record_episode(tx, HOME, f"e{number}", lived(walk(number)), stamp())

        def world(worlds: Worlds, tenant: TenantId) -> World:
            with store.read(tenant) as tx:
                return worlds.world(tx, tx.namespace(HOME) or manager.unseen(HOME))

        roomy = open_worlds(settings)
        assert roomy.bytes == 0
        alice = world(roomy, ALICE)
        one = roomy.bytes
        bob = world(roomy, BOB)
        assert one > 10_000
        assert roomy.bytes == pytest.approx(2 * one, rel=0.01)
        assert (world(roomy, ALICE), world(roomy, BOB)) == (alice, bob)
        for x in range(SIZE):
            goals = bob.goals(facts({"x": x, "y": 0}), 1.0, 1.0)
            bob.distances(goals.numbers, facts({"x": x, "y": 0}))
        world(roomy, BOB)
        assert roomy.bytes > 2 * one + SIZE * 1_000

        narrow = open_worlds(settings.model_copy(update={"oak_graph_cache_bytes": one}))
        first = world(narrow, ALICE)
        assert world(narrow, ALICE) is first
        assert differences(world(narrow, BOB), bob) == []
        assert narrow.bytes == pytest.approx(one, rel=0.01)
        again = world(narrow, ALICE)
        assert again is not first
        assert differences(again, alice) == []
