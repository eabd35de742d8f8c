"""Each finding fires on a world made for it, and not on one that is easy to learn."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from somabrain.bootstrap import open_database
from somabrain.bootstrap.oak import oak_limits, open_worlds
from somabrain.oak.diagnosis import Diagnosis, diagnose, new_states
from somabrain.oak.learning import facts, unit_vector
from somabrain.oak.model import Episode, State, Step, Termination
from somabrain.oak.option_manager import OptionManager
from somabrain.store import SqlStore
from tests.conftest import plain_settings
from tests.factories import ALICE, HOME, spec, stamp

RING = 8
"""Places of a world that is easy to learn, one after another in a ring."""

Observed = Callable[[int, int], dict[str, Any]]
"""What is seen at a place in a step, which counts on from episode to episode."""


class World:
    """A namespace that learns from walks around the ring."""

    def __init__(self, store: SqlStore, manager: OptionManager) -> None:
        self._store = store
        self.manager = manager
        self._steps = 0
        self._episodes = 0

    def walk(
        self,
        see: Observed = lambda place, _: {"place": place},
        *,
        episodes: int = 10,
        steps: int = 24,
        action: Callable[[int], Any] = lambda _: "on",
        reward: float = 1.0,
        salient: bool = False,
        lost: Callable[[int], bool] = lambda _: False,
    ) -> World:
        """Walks around; where `lost` says so of a step, the next place is another one than it should be."""
        with self._store.write(ALICE) as tx:
            for _ in range(episodes):
                place, taken = 0, []
                for _ in range(steps):
                    self._steps += 1
                    state = facts(see(place, self._steps))
                    taken.append(Step(state=state, action=action(self._steps), reward=0.0, salient=salient))
                    place = (place + (3 if lost(self._steps) else 1)) % RING
                taken[-1] = replace(taken[-1], reward=reward)
                self._steps += 1
                episode = Episode(steps=tuple(taken), final=facts(see(place, self._steps)), terminated=False)
                self._episodes += 1
                self.manager.record_episode(tx, HOME, f"e{self._episodes}", episode, stamp())
        return self

    def see(self, states: list[State]) -> World:
        """One episode through these states."""
        steps = tuple(Step(state=state, action="on", reward=1.0) for state in states)
        with self._store.write(ALICE) as tx:
            self.manager.record_episode(
                tx, HOME, "seen", Episode(steps=steps, final=states[0], terminated=False), stamp()
            )
        return self

    def declare(self, option_id: str, target: State, **changes: Any) -> World:
        with self._store.write(ALICE) as tx:
            self.manager.create(tx, HOME, option_id, spec(target, **changes), stamp())
        return self

    def diagnosis(self) -> Diagnosis:
        with self._store.read(ALICE) as tx:
            record = self.manager.opened(tx, HOME)
            return diagnose(tx, record, self.manager.states(tx, record))

    def found(self) -> dict[str, Any]:
        """The findings by code; each has advice."""
        findings = self.diagnosis().findings
        assert all(one.advice.endswith(".") and one.value >= 0 for one in findings)
        return {one.code: one for one in findings}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    settings = plain_settings(tmp_path)
    with open_database(settings) as database:
        manager = OptionManager(limits=oak_limits(settings), worlds=open_worlds(settings))
        yield World(SqlStore(database), manager)


def test_a_clean_world_has_no_findings(world: World) -> None:
    world.walk(episodes=20).declare("there", facts({"place": 3}))
    found = world.diagnosis()
    assert found.findings == ()
    assert (found.episodes, found.steps, found.prototypes, found.actions) == (20, 480, RING, 1)
    assert len(found.new_states_per_step) == 10
    assert found.new_states_per_step[0] > 0 == found.new_states_per_step[-1]
    assert found.model_version == 21


def test_a_world_never_written_to_has_none(world: World) -> None:
    found = world.diagnosis()
    assert (found.findings, found.new_states_per_step, found.steps, found.episodes) == ((), (), 0, 0)


def test_another_beginning_forgets_what_was_before(world: World) -> None:
    world.walk(lambda place, step: {"place": place, "step": step})
    assert world.found()
    with world._store.write(ALICE) as tx:  # noqa: SLF001 - this module's
        world.manager.delete_namespace(tx, HOME, stamp())
    assert world.found() == {}
    world.walk(episodes=20)
    assert (world.found(), world.diagnosis().steps) == ({}, 480)


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("unique_counter", lambda step: step),
        ("unique_time", lambda step: f"2026-01-{1 + step // 1440 % 28:02}T{step // 60 % 24:02}:{step % 60:02}:00Z"),
        ("unique_id", lambda step: f"{step * 2654435761 % 2**32:08x}"),
        ("unique_id", lambda step: f"ticket-{1000 + step}"),
        ("unique_float", lambda step: step * 0.6180339887498949 % 1),
        ("unique_number", lambda step: step * 7919 % 1009),
        ("unique_text", lambda step: "".join(chr(97 + step // 26**k % 26) for k in range(3)) + " words"),
    ],
)
def test_a_fact_that_makes_states_unique_is_named(world: World, code: str, value: Callable[[int], Any]) -> None:
    world.walk(lambda place, step: {"place": place, "what": value(step)})
    found = world.found()
    assert set(found) == {"states_do_not_repeat", code}
    assert found[code].names == ("what",)
    assert found[code].value > 20
    assert "'what'" in found[code].advice
    assert 0 < len(found[code].examples) <= 5
    assert all("what" in example["facts"] for example in found[code].examples)
    assert found["states_do_not_repeat"].value > 0.95


@pytest.mark.parametrize(
    "see",
    [
        lambda place, _: {"place": place, "name": f"room {place}", "wide": place * 0.5},
        lambda place, step: {"place": place, "bag": "full" if step % 2 else "empty"},
        lambda place, step: {"place": place, "level": step % 3 == 0},
    ],
)
def test_facts_with_few_values_are_not_named(world: World, see: Observed) -> None:
    world.walk(see, episodes=30)
    assert not [code for code in world.found() if code.startswith("unique_") or code == "states_do_not_repeat"]


def test_a_grid_of_numbers_is_not_unique(world: World) -> None:
    """Each of 20 × 20 cells comes again: both numbers have many values, and neither is to be left out."""
    cells: list[State] = [facts({"x": x, "y": y}) for x in range(20) for y in range(20)]
    world.see(cells * 3)
    assert not [code for code in world.found() if code.startswith("unique_")]


def test_states_that_no_longer_come_new_are_fine(world: World) -> None:
    world.walk(lambda place, step: {"place": place, "step": min(step, 60)}, episodes=40)
    assert "states_do_not_repeat" not in world.found()


def test_few_steps_say_nothing_of_new_states(world: World) -> None:
    world.walk(lambda _, step: {"place": step}, episodes=1, steps=98)
    assert "states_do_not_repeat" not in world.found()
    world.walk(lambda _, step: {"place": step}, episodes=1, steps=2)
    assert world.found()["states_do_not_repeat"].value > 0.95


def test_actions_seen_once(world: World) -> None:
    world.walk(action=lambda step: {"take": step}, episodes=2)
    found = world.found()["actions_seen_once"]
    assert found.value == 1.0
    assert len(found.examples) == 5
    assert found.examples[0]["option_id"].startswith("act:")
    world.walk(action=lambda step: {"take": step % 97}, episodes=10)
    assert "actions_seen_once" not in world.found()


def test_a_few_odd_actions_are_fine(world: World) -> None:
    world.walk(action=lambda step: f"odd {step}" if step % 24 == 5 else f"move {step % 4}", episodes=11)
    assert "actions_seen_once" not in world.found()


def test_targets_that_no_state_meets(world: World) -> None:
    east, near = unit_vector([1.0] + [0.0] * 255, 256), unit_vector([1.0, 0.6] + [0.0] * 254, 256)
    world.walk().declare("there", facts({"place": 3})).declare("vague", near)
    world.declare("lost", facts({"place": 99})).declare("half", facts({"place": 3, "lit": True}))
    world.declare("enough", facts({"place": 3, "lit": True}), termination=Termination(similarity=0.5))
    found = world.found()["targets_never_reached"]
    assert (found.value, [one["option_id"] for one in found.examples]) == (3.0, ["half", "lost", "vague"])
    world.see([east])
    assert [one["option_id"] for one in world.found()["targets_never_reached"].examples] == ["half", "lost", "vague"]
    with world._store.write(ALICE) as tx:  # noqa: SLF001 - this module's
        for name in ("half", "lost", "vague"):
            world.manager.retire(tx, HOME, name, stamp())
    assert "targets_never_reached" not in world.found()


def test_outcomes_that_disagree(world: World) -> None:
    rng = random.Random(1)
    world.walk(lost=lambda _: rng.random() < 0.5, episodes=20)
    found = world.found()["outcomes_disagree"]
    assert found.value == pytest.approx(0.5, abs=0.06)
    assert 0 < len(found.examples) <= 5
    assert all(set(one["facts"]) == {"place"} for one in found.examples)


def test_a_little_chance_is_fine(world: World) -> None:
    rng = random.Random(1)
    world.walk(lost=lambda _: rng.random() < 0.1, episodes=20)
    assert world.found() == {}


def test_nothing_salient(world: World) -> None:
    world.walk(reward=0.5, episodes=20)
    assert set(world.found()) == {"nothing_salient"}
    world.walk(reward=0.6, episodes=1)
    assert world.found() == {}


def test_a_marked_state_is_salient(world: World) -> None:
    world.walk(reward=0.0, salient=True, episodes=20)
    assert world.found() == {}


def test_new_states_are_told_in_parts_of_as_many_episodes() -> None:
    assert new_states([]) == ()
    assert new_states([(4, 2)]) == (0.5,)
    assert new_states([(10, 5)] * 10) == (0.5,) * 10
    assert new_states([(10, 5)] * 25) == (0.5,) * 9
    assert new_states([(1, 1), (99, 0)] * 10)[0] == 0.01
