"""The planner: which options, in which order, lead from a state to a target, and with what odds.

Pure functions of arrays. `compile_graph` prepares a namespace's rows, `toward` a set of goals on them,
`plan` answers for a start, `act` while options run; graphs and distances never change, and threads may share them.
"""

from __future__ import annotations

from somabrain.oak.planner.acting import Candidate, Decision, act, candidates
from somabrain.oak.planner.distances import Distances, policy_toward, toward
from somabrain.oak.planner.exploring import frontier, nearest, untried
from somabrain.oak.planner.graph import Graph, compile_graph
from somabrain.oak.planner.local import LocalOption
from somabrain.oak.planner.odds import Question, chances, odds
from somabrain.oak.planner.plans import plan
from somabrain.oak.planner.settling import route_kernel

__all__ = [
    "Candidate",
    "Decision",
    "Distances",
    "Graph",
    "LocalOption",
    "Question",
    "act",
    "candidates",
    "chances",
    "compile_graph",
    "frontier",
    "nearest",
    "odds",
    "plan",
    "policy_toward",
    "route_kernel",
    "toward",
    "untried",
]
