"""The use cases of memory: remember, recall, forget; and the documents of options and memories in the vector engine."""

from somabrain.memory_client.comparing import Comparison
from somabrain.memory_client.projection import MILVUS, Projection
from somabrain.memory_client.reaching import OpenedEngine, Paused
from somabrain.memory_client.recalling import Nearest, Recalled, Recaller, RecallLimits
from somabrain.memory_client.remembering import NewMemory, expire, forget, lookup, remember, restore_memories

__all__ = [
    "MILVUS",
    "Comparison",
    "Nearest",
    "NewMemory",
    "OpenedEngine",
    "Paused",
    "Projection",
    "RecallLimits",
    "Recalled",
    "Recaller",
    "expire",
    "forget",
    "lookup",
    "remember",
    "restore_memories",
]
