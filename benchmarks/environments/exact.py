"""What a policy with options is worth, from the environment's own table: no episode is run, so there is no luck in it.

An agent that follows `/oak/act` does what depends on the state and on the option that runs. So it makes a Markov chain
of the pairs (state, what runs): the pairs that can be reached are enumerated, and the chain is solved.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, eye_array
from scipy.sparse.csgraph import breadth_first_order
from scipy.sparse.linalg import spsolve

Branch = tuple[float, int, float, bool]
"""Probability, following state, reward, whether the world ends: as in Gymnasium's `env.unwrapped.P`."""
Table = Mapping[int, Mapping[int, Sequence[Branch]]]
"""By state and action, what may follow."""

Running = TypeVar("Running", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Generic[Running]):
    """The action to take, and what runs after it. `action` is `None` where none is known: any, with equal chances."""

    action: int | None
    running: Running | None


class Policy(Protocol[Running]):
    """What to do in a state with what runs, `None` at the start of an episode."""

    def __call__(self, state: int, running: Running | None, /) -> Choice[Running]:
        """The same for the same pair."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chain:
    """The pairs that can be reached, in the order in which they were found.

    `start` (n,) the probability of each as the first; `onward` (n, n) from pair to pair while the world goes on;
    `reward` (n,) expected of the next step; `ending` (n,) the probability that it ends the world.
    """

    start: NDArray[np.float64]
    onward: csr_array
    reward: NDArray[np.float64]
    ending: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Of an episode: its mean return, not discounted, and the probability that the world ends in it."""

    mean_return: float
    ended: float


def chain(table: Table, starts: Mapping[int, float], policy: Policy[Running]) -> Chain:
    """The chain that a policy makes of an environment; `starts` are the probabilities of first states."""
    places: dict[tuple[int, Running | None], int] = {(state, None): place for place, state in enumerate(starts)}
    pairs = list(places)
    rewards: list[float] = []
    endings: list[float] = []
    entries: list[tuple[int, int, float]] = []
    for state, running in pairs:
        choice = policy(state, running)
        actions = list(table[state]) if choice.action is None else [choice.action]
        reward = ending = 0.0
        for action in actions:
            for share, following, gain, final in table[state][action]:
                probability = share / len(actions)
                reward += probability * gain
                ending += probability * final
                if final or not probability:
                    continue
                pair = (int(following), choice.running)
                if pair not in places:
                    places[pair] = len(pairs)
                    pairs.append(pair)  # the loop goes on to it
                entries.append((len(rewards), places[pair], probability))
        rewards.append(reward)
        endings.append(ending)
    start = np.zeros(len(pairs))
    start[: len(starts)] = list(starts.values())
    rows, columns, values = zip(*entries, strict=True) if entries else ((), (), ())
    return Chain(
        start=start,
        onward=csr_array((values, (rows, columns)), shape=(len(pairs), len(pairs))),
        reward=np.array(rewards),
        ending=np.array(endings),
    )


def within(of: Chain, limit: int) -> Expected:
    """Of episodes that are cut after `limit` steps."""
    onward = of.onward.T.tocsr()
    here, mean_return, ended = of.start, 0.0, 0.0
    for _ in range(limit):
        mean_return += float(here @ of.reward)
        ended += float(here @ of.ending)
        here = onward @ here
    return Expected(mean_return=mean_return, ended=ended)


def unlimited(of: Chain) -> Expected:
    """Of episodes that only the world ends; a return of minus infinity where some never do."""
    size = of.reward.size
    backward = csr_array(
        np.block([[of.onward.T.toarray(), np.zeros((size, 1))], [of.ending[np.newaxis], np.zeros((1, 1))]])
    )
    reaching = breadth_first_order(backward, size, return_predecessors=False)
    if reaching.size <= size:
        return Expected(mean_return=-np.inf, ended=float("nan"))
    value = spsolve((eye_array(size, format="csc") - of.onward).tocsc(), of.reward)
    return Expected(mean_return=float(of.start @ value), ended=1.0)


def optimum(table: Table, starts: Mapping[int, float], limit: int) -> float:
    """The best return that any policy can expect of episodes that are cut after `limit` steps: backward induction."""
    value = dict.fromkeys(table, 0.0)
    for _ in range(limit):
        value = {
            state: max(
                sum(share * (gain + (0.0 if final else value[int(to)])) for share, to, gain, final in branches)
                for branches in by_action.values()
            )
            for state, by_action in table.items()
        }
    return sum(share * value[state] for state, share in starts.items())
