"""What experience teaches: states become prototypes, runs become model rows (DESIGN §5.1 to §5.3). Pure."""

from somabrain.oak.learning.executions import (
    LearningParameters,
    Observation,
    effective_runs,
    learned,
    meets,
    observe,
    row_utility,
)
from somabrain.oak.learning.joining import row_table
from somabrain.oak.learning.prototypes import Draft, StateIndex
from somabrain.oak.learning.states import ENCODER_ID, facts, facts_vector, similarity, unit_vector

__all__ = [
    "ENCODER_ID",
    "Draft",
    "LearningParameters",
    "Observation",
    "StateIndex",
    "effective_runs",
    "facts",
    "facts_vector",
    "learned",
    "meets",
    "observe",
    "row_table",
    "row_utility",
    "similarity",
    "unit_vector",
]
