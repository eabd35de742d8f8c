"""The options of a build: those that nothing changed for are copied, the others solved from zero (DESIGN §5.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.kernels import IDS, PLACES, kernel
from somabrain.oak.model import OptionModel
from somabrain.oak.subtasks import Dynamics, Subtask, solve_many


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Published:
    """What the published build holds. Of use only to a build with the same prices, radius, limit and gamma."""

    models: Mapping[int, OptionModel]
    """By target"""
    terminal: NDArray[np.bool_]
    """(states at that build,)"""


class Work(NamedTuple):
    """One option of a build; `copied`: the very object of the published one."""

    target: int
    model: OptionModel
    copied: bool


def consolidate(
    dyn: Dynamics,
    targets: Sequence[int],
    published: Published | None,
    changed: NDArray[np.int32],
    *,
    radius: int,
    states_max: int,
    gamma: float,
    option_id_of: Callable[[int], str],
) -> Iterator[Work]:
    """The option toward each of `targets`, in their order, the next one worked out when it is asked for.

    `changed`: the states with pairs that differ from those at the published build. Values are rounded to float32; a
    state whose reach is 0 then is left out. An option that no state can begin is empty.
    """
    stale = np.ones(dyn.states, dtype=np.bool_)
    models: Mapping[int, OptionModel] = {}
    if published is not None:
        stale = affected(dyn, changed, published.terminal, radius)
        models = published.models
    todo = (target for target in targets if stale[target] or target not in models)
    solved = solve_many(dyn, todo, radius=radius, states_max=states_max, gamma=gamma)
    for target in targets:
        if target in models and not stale[target]:
            yield Work(target, models[target], copied=True)
        else:
            _, subtask = next(solved)
            yield Work(target, _model(option_id_of(target), target, subtask), copied=False)


def affected(
    dyn: Dynamics, changed: NDArray[np.int32], previous_terminal: NDArray[np.bool_], radius: int
) -> NDArray[np.bool_]:
    """(S,) the targets whose option may differ from that of an earlier build.

    An option depends on the pairs of its ball alone, so only where a state that changed, or began or ceased to be
    terminal, can lead to the target in `radius` steps: in either build, thus by the steps of states that have become
    terminal as well.
    """
    before = np.zeros(dyn.states, dtype=np.bool_)
    before[: previous_terminal.size] = previous_terminal[: dyn.states]
    reached: NDArray[np.bool_] = before != dyn.terminal
    reached[changed] = True
    ahead(dyn.successor_at, dyn.successor, dyn.ended_at, dyn.ended, radius, reached)
    return reached


@kernel(f"void({PLACES}, {IDS}, {PLACES}, {IDS}, int64, boolean[::1])")
def ahead(  # noqa: PLR0917 - kernels are called by position
    successor_at: NDArray[np.int64],
    successor: NDArray[np.int32],
    ended_at: NDArray[np.int64],
    ended: NDArray[np.int32],
    radius: int,
    reached: NDArray[np.bool_],
) -> None:
    """Marks what the marked states of `reached` lead to in `radius` steps, over both graphs."""
    order = np.zeros(reached.size, dtype=np.int32)
    found = 0
    for state in range(reached.size):
        if reached[state]:
            order[found] = state
            found += 1
    begun = 0
    for _ in range(radius):
        last = found
        for index in range(begun, last):
            found = onward(order[index], successor_at, successor, reached, order, found)
            found = onward(order[index], ended_at, ended, reached, order, found)
        begun = last


@kernel(f"int64(int64, {PLACES}, {IDS}, boolean[::1], int32[::1], int64)")
def onward(  # noqa: PLR0917 - kernels are called by position
    state: int,
    neighbour_at: NDArray[np.int64],
    neighbour: NDArray[np.int32],
    reached: NDArray[np.bool_],
    order: NDArray[np.int32],
    found: int,
) -> int:
    """How many states `order` holds once the neighbours that were not reached follow its first `found`."""
    for entry in range(neighbour_at[state], neighbour_at[state + 1]):
        if not reached[neighbour[entry]]:
            reached[neighbour[entry]] = True
            order[found] = neighbour[entry]
            found += 1
    return found


def _model(option_id: str, target: int, subtask: Subtask) -> OptionModel:
    reach = subtask.reach.astype(np.float32)
    rows = reach > 0
    model = OptionModel(
        option_id=option_id,
        target=target,
        start=subtask.start[rows],
        action=subtask.action[rows],
        probability=subtask.probability[rows].astype(np.float32),
        reach=reach[rows],
        reward=subtask.reward[rows].astype(np.float32),
        duration=subtask.duration[rows].astype(np.float32),
    )
    for column in (model.start, model.action, model.probability, model.reach, model.reward, model.duration):
        column.setflags(write=False)
    return model
