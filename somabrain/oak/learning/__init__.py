"""What experience teaches: states become prototypes, runs and steps become models (DESIGN §5.1 to §5.4). Pure."""

from somabrain.oak.learning.executions import (
    LearningParameters,
    Observation,
    effective_runs,
    learned,
    meets,
    observe,
    row_utility,
)
from somabrain.oak.learning.joining import patched, row_table
from somabrain.oak.learning.odds import Lived, Tallies, less
from somabrain.oak.learning.primitives import primitive_table, rewarded, stepped, updated
from somabrain.oak.learning.prototypes import Draft, StateIndex
from somabrain.oak.learning.scoring import (
    BINS,
    Calibration,
    Reliability,
    Scores,
    Stopping,
    calibration,
    scored,
)
from somabrain.oak.learning.states import ENCODER_ID, facts, facts_vector, similarity, unit_vector

__all__ = [
    "BINS",
    "ENCODER_ID",
    "Calibration",
    "Draft",
    "LearningParameters",
    "Lived",
    "Observation",
    "Reliability",
    "Scores",
    "StateIndex",
    "Stopping",
    "Tallies",
    "calibration",
    "effective_runs",
    "facts",
    "facts_vector",
    "learned",
    "less",
    "meets",
    "observe",
    "patched",
    "primitive_table",
    "rewarded",
    "row_table",
    "row_utility",
    "scored",
    "similarity",
    "stepped",
    "unit_vector",
    "updated",
]
