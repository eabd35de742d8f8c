"""Models of a whole namespace as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrimitiveTable:
    """The primitive model of a namespace as arrays: R pairs in the order of (start, action), M outcomes.

    Pair i has the outcomes `offset[i] … offset[i + 1]`, ascending. Never changes.
    """

    action_ids: tuple[str, ...]
    """(A,) the primitive options' ids, by action number: in the order in which actions were first seen"""
    states: int
    """S: prototypes 0 … S − 1"""
    start: NDArray[np.int32]
    """(R,)"""
    action: NDArray[np.int32]
    """(R,) action numbers"""
    count: NDArray[np.int64]
    """(R,) N"""
    reward: NDArray[np.float64]
    """(R,) Σ r"""
    loss: NDArray[np.float64]
    """(R,) Σ max(0, −r)"""
    fresh: NDArray[np.bool_]
    """(R,) the first try led to a state never seen before"""
    offset: NDArray[np.int64]
    """(R + 1,)"""
    outcome: NDArray[np.int32]
    """(M,)"""
    outcome_count: NDArray[np.int64]
    """(M,)"""
    terminal: NDArray[np.bool_]
    """(S,)"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OptionModel:
    """An option worked out from the primitive model: its policy and its multi-time model (DESIGN §5.5).

    B prototypes `start`, ascending, from which it may begin; a run ends in the target, or elsewhere, which counts as
    failing: P(FAIL) = 1 − `probability`. Values are float32, as stored.
    """

    option_id: str
    target: int
    """the prototype"""
    start: NDArray[np.int32]
    """(B,)"""
    action: NDArray[np.int32]
    """(B,) the action number that the policy takes"""
    probability: NDArray[np.float32]
    """(B,) P(target)"""
    reach: NDArray[np.float32]
    """(B,) P~(target)"""
    reward: NDArray[np.float32]
    """(B,) r̂"""
    duration: NDArray[np.float32]
    """(B,) k̂"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowTable:
    """All plannable rows of a namespace as arrays, executed and predicted already joined (DESIGN §5.5.4).

    R rows in the order of (option id by code point, start); row i has the outcomes
    `offset[i] … offset[i+1]` of M in all, ascending, FAIL = -1 first.
    """

    option_ids: tuple[str, ...]
    """Distinct ids, ascending by code point; `option` indexes them."""
    option: NDArray[np.int32]
    """(R,)"""
    start: NDArray[np.int32]
    """(R,) prototype numbers"""
    evidence: NDArray[np.float64]
    """(R,) n of DESIGN §6: m' + n_eff, or N of a primitive"""
    prediction_share: NDArray[np.float64]
    """(R,) ω: 0 for executed rows, 1 for primitive and purely predicted ones"""
    primitive: NDArray[np.bool_]
    """(R,)"""
    executions: NDArray[np.int64]
    """(R,) runs"""
    duration: NDArray[np.float64]
    """(R,) k̂"""
    reward: NDArray[np.float64]
    """(R,) r̂"""
    utility: NDArray[np.float64]
    """(R,) U(i, o)"""
    offset: NDArray[np.int64]
    """(R + 1,)"""
    outcome: NDArray[np.int32]
    """(M,)"""
    probability: NDArray[np.float64]
    """(M,) P"""
    reach: NDArray[np.float64]
    """(M,) P~"""
