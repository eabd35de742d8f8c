"""Gymnasium's environments and Minari's datasets on a real service: all arrives, and the agent sees no change."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import minari
import numpy as np
import pytest
from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv
from minari.data_collector.episode_buffer import EpisodeBuffer

from somabrain.adapters.gymnasium import Recorded
from somabrain.adapters.minari import dataset_in, documents, learn
from somabrain.client import Brain, Step
from tests.servers import RunningServer, free_port, somabrain

pytestmark = pytest.mark.filterwarnings("ignore:.* None:UserWarning:minari")  # datasets of nobody

DOWN, RIGHT = 1, 2
WAY = [DOWN, DOWN, RIGHT, DOWN, RIGHT, RIGHT]
"""Over the ice of 4 by 4 cells where it does not slip."""
GOAL = {"observation": 15}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with somabrain({}, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def brain(server: RunningServer, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Brain]:
    with Brain(server.url, namespace=request.node.name[-64:], queue=tmp_path / "queue") as opened:
        yield opened


def ice(limit: int = 100) -> gymnasium.Env[Any, Any]:
    return gymnasium.make("FrozenLake-v1", is_slippery=False, max_episode_steps=limit)


def reached(ending: Any) -> bool:
    return bool(ending.reward > 0)


def walk(env: gymnasium.Env[Any, Any], actions: list[int]) -> list[Any]:
    """All that the environment gave."""
    return [env.reset(seed=0), *(env.step(action) for action in actions)]


def under_way(env: Recorded) -> str:
    """The id of the episode that is under way."""
    assert env.episode_id is not None
    return env.episode_id


def test_an_episode_is_reported_as_it_was(brain: Brain) -> None:
    env = Recorded(ice(), brain, success=reached, agent="walker", group="ice")
    env.reset(seed=0)
    episode_id = under_way(env)
    for action in WAY:
        env.step(action)
    assert brain.flush()
    found = brain.reported_episode(episode_id)
    states = [step.state["features"]["observation"] for step in found.steps]
    assert states == [0, 4, 8, 9, 13, 14]
    assert [step.action for step in found.steps] == [str(action) for action in WAY]
    assert [step.reward for step in found.steps] == [0, 0, 0, 0, 0, 1]
    assert [step.turn for step in found.steps] == [0, 1, 2, 3, 4, 5]
    assert found.final["features"] == {"observation": 15}
    assert (found.terminated, found.success, found.agent, found.group) == (True, True, "walker", "ice")


def test_the_agent_sees_what_it_would_see_without(brain: Brain, tmp_path: Path) -> None:
    gone = Brain(f"http://127.0.0.1:{free_port()}", queue=tmp_path / "gone")
    plain = walk(ice(), WAY)
    assert walk(Recorded(ice(), brain), WAY) == walk(Recorded(ice(), gone), WAY) == plain
    gone.close()


def test_an_episode_that_is_reset_or_closed_was_cut_off_and_a_fall_ended_the_world(brain: Brain) -> None:
    env = Recorded(ice(limit=3), brain)
    ids = []
    for actions in ([DOWN], [RIGHT, DOWN], [RIGHT, RIGHT, RIGHT], [DOWN]):
        env.reset(seed=0)
        ids.append(under_way(env))
        for action in actions:
            env.step(action)
    env.close()
    assert brain.flush()
    found = [brain.reported_episode(episode_id) for episode_id in ids]
    assert [one.terminated for one in found] == [False, True, False, False]
    assert [one.success for one in found] == [None] * 4


def test_what_was_learned_leads_to_the_goal(brain: Brain) -> None:
    env = Recorded(ice(), brain, success=reached)
    env.reset(seed=0)
    assert env.advised(GOAL) is None
    walk(env, WAY)
    assert brain.flush()
    env.reset(seed=1)
    taken = []
    while len(taken) < 10 and (action := env.advised(GOAL)) is not None:
        taken.append(action)
        env.step(action)
        if env.unwrapped.s == 15:
            break
    assert taken == WAY


def test_no_advice_from_a_service_that_is_away(tmp_path: Path) -> None:
    with Brain(f"http://127.0.0.1:{free_port()}", queue=tmp_path / "queue") as away:
        env = Recorded(ice(), away)
        env.reset(seed=0)
        assert env.advised(GOAL) is None


class Blurred(gymnasium.ObservationWrapper[Any, Any, Any]):
    """After the first step nothing can be seen."""

    def observation(self, observation: Any) -> Any:
        return observation if observation == 0 else float("nan")


def test_an_episode_that_can_be_no_facts_is_not_reported_and_goes_on(
    brain: Brain, caplog: pytest.LogCaptureFixture
) -> None:
    env = Recorded(Blurred(ice()), brain)
    env.reset(seed=0)
    episode_id = under_way(env)
    with caplog.at_level(logging.WARNING, "somabrain.client"):
        given = [env.step(action)[1] for action in WAY]
    assert given == [0, 0, 0, 0, 0, 1]
    assert f"episode {episode_id} is not reported" in caplog.text
    assert brain.flush()
    assert brain.options().options == ()


class Turned(gymnasium.ActionWrapper[Any, Any, Any]):
    """Takes an angle; what is no number means down."""

    def __init__(self) -> None:
        super().__init__(ice())
        self.action_space = gymnasium.spaces.Box(0.0, 3.0, (1,), np.float32)

    def action(self, action: Any) -> int:
        return DOWN if np.isnan(action[0]) else int(action[0])


def test_actions_of_numbers_come_back_as_the_environment_takes_them(brain: Brain) -> None:
    env = Recorded(Turned(), brain, success=reached)
    walk(env, [np.array([action + 0.25], dtype=np.float32) for action in WAY])
    assert brain.flush()
    env.reset(seed=1)
    advised = env.advised(GOAL)
    assert (advised.dtype, advised.tolist()) == (np.float32, [DOWN + 0.25])
    assert env.action_space.contains(advised)


def test_an_action_without_json_is_taken_and_not_reported(brain: Brain, caplog: pytest.LogCaptureFixture) -> None:
    env = Recorded(Turned(), brain)
    env.reset(seed=0)
    episode_id = under_way(env)
    with caplog.at_level(logging.WARNING, "somabrain.client"):
        assert env.step(np.array([np.nan], dtype=np.float32))[0] == 4
    assert f"episode {episode_id} is not reported" in caplog.text
    env.close()
    assert brain.flush()
    assert brain.options().options == ()


def test_an_action_of_another_kind_is_no_advice(brain: Brain) -> None:
    brain.record_episode([Step(state={"observation": 0}, action="jump")], GOAL, success=True)
    env = Recorded(ice(), brain)
    env.reset(seed=0)
    assert env.advised(GOAL) is None


def test_an_image_is_refused_at_once_unless_facts_of_it_are_told(brain: Brain) -> None:
    wide = gymnasium.wrappers.TransformObservation(ice(), lambda _: np.zeros((84, 84)), None)
    with pytest.raises(ValueError, match="more than 64 values"):
        Recorded(wide, brain).reset(seed=0)
    env = Recorded(wide, brain, facts=lambda image: {"dark": bool(image.sum() == 0)})
    env.reset(seed=0)
    episode_id = under_way(env)
    env.step(DOWN)
    env.close()
    assert brain.flush()
    assert brain.reported_episode(episode_id).final["features"] == {"dark": True}


# --- Minari ---


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> minari.MinariDataset:
    """Three episodes: to the goal, into a hole, cut off."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    env = ice(limit=len(WAY))
    buffers = [buffer(walk(env, actions), actions) for actions in (WAY, [RIGHT, DOWN], [RIGHT] * len(WAY))]
    return made_of("ice/walks-v0", buffers, env.observation_space)


def made_of(name: str, buffers: list[EpisodeBuffer], observed: gymnasium.Space[Any]) -> minari.MinariDataset:
    return minari.create_dataset_from_buffers(
        name,
        buffers,
        action_space=ice().action_space,
        observation_space=observed,
    )


def buffer(given: list[Any], actions: list[int], observations: Any = None) -> EpisodeBuffer:
    """What the environment gave, in columns, as Minari takes it."""
    return EpisodeBuffer(
        observations=[step[0] for step in given] if observations is None else observations,
        actions=list(actions),
        rewards=[step[1] for step in given[1:]],
        terminations=[step[2] for step in given[1:]],
        truncations=[step[3] for step in given[1:]],
    )


def test_a_dataset_is_learned_from_once(brain: Brain, dataset: minari.MinariDataset) -> None:
    def success(episode: Any) -> bool:
        return bool(episode.rewards[-1] > 0)

    assert learn(brain, dataset, success=success).episodes == 3
    version = brain.predict({"observation": 0}).model_version
    again = learn(brain, dataset, success=success)
    assert (again.episodes, again.refused) == (3, {})
    odds = brain.predict({"observation": 0})
    assert (odds.model_version, odds.episodes) == (version, 3)
    assert brain.act({"observation": 14}, GOAL).action == str(RIGHT)


def test_a_datasets_episodes_are_its_own(dataset: minari.MinariDataset) -> None:
    found = list(documents(dataset_in(Path(str(dataset.storage.data_path)).parent)))
    assert json.loads(json.dumps(found)) == found
    assert [one["id"] for one in found] == ["ice/walks-v0:0", "ice/walks-v0:1", "ice/walks-v0:2"]
    assert [one["actions"] for one in found] == [WAY, [RIGHT, DOWN], [RIGHT] * 6]
    assert found[0]["observations"] == [0, 4, 8, 9, 13, 14, 15]
    assert [one["terminations"][-1] for one in found] == [True, True, False]
    assert [one["truncations"][-1] for one in found] == [True, False, True]


def test_spaces_of_dicts_and_tuples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    cell = gymnasium.spaces.Discrete(16)
    space = gymnasium.spaces.Dict({"at": gymnasium.spaces.Tuple((cell, gymnasium.spaces.MultiBinary(2)))})
    given = walk(ice(), WAY)
    columns = {"at": ([step[0] for step in given], [np.array([1, 0], dtype=np.int8)] * len(given))}
    (found,) = documents(made_of("ice/shaped-v0", [buffer(given, WAY, columns)], space))
    assert found["observations"][1] == {"at": [4, [1, 0]]}
    assert len(found["observations"]) == len(WAY) + 1


def blurred() -> minari.MinariDataset:
    """Two episodes, the first with something in it that JSON does not have."""
    given = walk(ice(), WAY)
    seen = [np.array([step[0]], dtype=np.float32) for step in given]
    space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    buffers = [buffer(given, WAY, [np.array([np.nan], dtype=np.float32), *seen[1:]]), buffer(given, WAY, seen)]
    return made_of("ice/blurred-v0", buffers, space)


def test_an_episode_that_is_none_does_not_stop_the_others(
    server: RunningServer, brain: Brain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    made = blurred()
    learned = learn(brain, made)
    assert (learned.episodes, list(learned.refused)) == (1, ["ice/blurred-v0:0"])
    folder = Path(str(made.storage.data_path)).parent
    command = [sys.executable, "-m", "somabrain.cli", "learn", str(folder), "--url", server.url, "-n", "blurred"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (run.returncode, run.stdout) == (1, "1 episodes learned, 0 known already, 1 traces refused.\n")
    assert "trace_invalid" in run.stderr


def test_a_dataset_of_images_is_refused_as_it_is(brain: Brain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    given = walk(ice(), WAY)
    space = gymnasium.spaces.Box(0, 1, (84, 84), np.float32)
    images = [np.zeros((84, 84), dtype=np.float32)] * len(given)
    with pytest.raises(ValueError, match="7056 values"):
        learn(brain, made_of("ice/images-v0", [buffer(given, WAY, images)], space))


def test_the_command_reads_a_folder(server: RunningServer, dataset: minari.MinariDataset, tmp_path: Path) -> None:
    folder = Path(str(dataset.storage.data_path)).parent
    command = [sys.executable, "-m", "somabrain.cli", "learn", str(folder), "--url", server.url, "-n", "folder"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (run.returncode, run.stdout) == (0, "3 episodes learned, 0 known already, 0 traces refused.\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    again = [*command[:4], str(empty), *command[5:]]
    run = subprocess.run(again, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "holds no Minari dataset" in run.stderr
    (empty / "metadata.json").write_text("{}")
    run = subprocess.run(again, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (1, "0 episodes learned, 0 known already, 1 traces refused.\n")
    assert "no dataset that Minari can read" in run.stderr


def test_frozen_lake_is_as_the_way_says() -> None:
    unwrapped = ice().unwrapped
    assert isinstance(unwrapped, FrozenLakeEnv)
    assert walk(ice(), WAY)[-1][1] == 1


PAGE = Path(__file__).parents[2] / "docs" / "user-manual" / "environments.md"


def test_the_pages_lines(
    server: RunningServer, dataset: minari.MinariDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert dataset.id == "ice/walks-v0"
    program: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block.replace("http://localhost:9696", server.url), PAGE.name, "exec"), program)
    assert (program["learned"].episodes, program["learned"].refused) == (3, {})
    walk(program["env"], [DOWN])
    program["env"].close()
    assert program["brain"].flush()
    assert program["brain"].predict({"observation": 0}).episodes == 3
    program["brain"].close()
