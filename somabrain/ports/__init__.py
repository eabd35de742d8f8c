"""What the use cases ask of the outside: one protocol for each outside system.

A port says what is true of every adapter; the contract suites under `tests/contract/` hold each adapter to it.
"""

from somabrain.ports.access import Authenticator, Decision, Policy, Principal, Question
from somabrain.ports.experience import Consolidation, EpisodeRecord, ReadExperience, WriteExperience
from somabrain.ports.memories import MemorySpace, ReadMemories, WriteMemories
from somabrain.ports.odds import ReadOdds, TallyQuery, WriteOdds
from somabrain.ports.store import (
    Event,
    EventSink,
    JournalEntry,
    NamespaceRecord,
    NotAtHandError,
    Positions,
    ReadTransaction,
    Reply,
    ReplyScope,
    SinkUnavailableError,
    Store,
    StoredPrototype,
    WriteTransaction,
)
from somabrain.ports.vectors import (
    Embedder,
    Mark,
    Near,
    Projected,
    Shelf,
    VectorEngine,
    VectorEngineMismatchError,
    VectorEngineUnavailableError,
)

__all__ = [
    "Authenticator",
    "Consolidation",
    "Decision",
    "Embedder",
    "EpisodeRecord",
    "Event",
    "EventSink",
    "JournalEntry",
    "Mark",
    "MemorySpace",
    "NamespaceRecord",
    "Near",
    "NotAtHandError",
    "Policy",
    "Positions",
    "Principal",
    "Projected",
    "Question",
    "ReadExperience",
    "ReadMemories",
    "ReadOdds",
    "ReadTransaction",
    "Reply",
    "ReplyScope",
    "Shelf",
    "SinkUnavailableError",
    "Store",
    "StoredPrototype",
    "TallyQuery",
    "VectorEngine",
    "VectorEngineMismatchError",
    "VectorEngineUnavailableError",
    "WriteExperience",
    "WriteMemories",
    "WriteOdds",
    "WriteTransaction",
]
