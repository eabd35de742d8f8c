"""The planner: which options, in which order, lead from a state to a target, and with what odds.

Pure functions of arrays. `compile_graph` prepares a namespace's rows, `toward` a set of goals on them,
`plan` answers for a start; graphs and distances never change and may be shared between threads.
"""

from __future__ import annotations

from somabrain.oak.planner.distances import Distances, toward
from somabrain.oak.planner.graph import Graph, compile_graph
from somabrain.oak.planner.plans import plan

__all__ = ["Distances", "Graph", "compile_graph", "plan", "toward"]
