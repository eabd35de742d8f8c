"""Subtasks: the primitive model as a decision process, and the options that best reach a set of goals in it.

Pure functions of arrays. `dynamics` prepares a namespace's table, `solve` works out one option, `solve_many` many;
`Dynamics` and `Subtask` never change and may be shared between threads.
"""

from __future__ import annotations

from somabrain.oak.subtasks.dynamics import Dynamics, dynamics
from somabrain.oak.subtasks.solving import Subtask, solve, solve_many, solve_sparse

__all__ = ["Dynamics", "Subtask", "dynamics", "solve", "solve_many", "solve_sparse"]
