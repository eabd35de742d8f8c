"""The nouns of the option layer. Frozen values; nothing here decides anything.

DESIGN §2 defines the words, §5 and §6 the formulas that fill them.
"""

from __future__ import annotations

from somabrain.oak.model.episodes import Arrivals, Episode, Mark, PrimitiveRow, Step
from somabrain.oak.model.odds import (
    BUCKETS,
    EVERYONE,
    EVERYWHERE,
    Chance,
    Odds,
    Prediction,
    Score,
    Scored,
    Tallied,
    Tally,
    Tried,
    bucket,
    place_of,
)
from somabrain.oak.model.options import (
    FAIL,
    NAME_MAX,
    Ending,
    Evidence,
    Execution,
    Lifetime,
    ModelRow,
    Option,
    OptionSpec,
    Source,
    Status,
    Termination,
)
from somabrain.oak.model.plans import Advice, Plan, PlanParameters, PlanStep, Reason, Route
from somabrain.oak.model.states import Facts, Json, Kind, Prototype, Scalar, State, Vector
from somabrain.oak.model.tables import OptionModel, PrimitiveTable, RowTable

__all__ = [
    "BUCKETS",
    "EVERYONE",
    "EVERYWHERE",
    "FAIL",
    "NAME_MAX",
    "Advice",
    "Arrivals",
    "Chance",
    "Ending",
    "Episode",
    "Evidence",
    "Execution",
    "Facts",
    "Json",
    "Kind",
    "Lifetime",
    "Mark",
    "ModelRow",
    "Odds",
    "Option",
    "OptionModel",
    "OptionSpec",
    "Plan",
    "PlanParameters",
    "PlanStep",
    "Prediction",
    "PrimitiveRow",
    "PrimitiveTable",
    "Prototype",
    "Reason",
    "Route",
    "RowTable",
    "Scalar",
    "Score",
    "Scored",
    "Source",
    "State",
    "Status",
    "Step",
    "Tallied",
    "Tally",
    "Termination",
    "Tried",
    "Vector",
    "bucket",
    "place_of",
]
