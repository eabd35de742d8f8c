"""Remember, look up, forget, expire. Every function takes the transaction it works in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from somabrain.errors import MemoryNotFoundError
from somabrain.memory.entries import entries_of
from somabrain.memory.model import Memory
from somabrain.memory_client.documents import checksum_of, memory_document
from somabrain.oak.changes import Change, Stamp
from somabrain.oak.model import Json, Vector
from somabrain.ports import MemorySpace, ReadTransaction, WriteTransaction
from somabrain.tenancy import Namespace

_MS_PER_S = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMemory:
    """What to remember; one of the same id is replaced. `ttl_s` `None`: for good."""

    memory_id: str
    content: str
    vector: Vector
    metadata: Mapping[str, Json]
    importance: float
    ttl_s: int | None


def remember(tx: WriteTransaction, namespace: Namespace, items: Sequence[NewMemory], stamp: Stamp) -> list[Memory]:
    """Stores memories, in their order; returns them. Raises as `entries_of`."""
    written = [_written(tx, namespace, item, stamp) for item in items]
    last = {memory.memory_id: memory for memory in written}
    known = tx.memories.get(namespace, last)
    tx.memories.save(namespace, list(last.values()), {key: entries_of(memory.metadata) for key, memory in last.items()})
    _changed(tx, namespace, len(last) - len(known))
    return written


def restore_memories(tx: WriteTransaction, namespace: Namespace, memories: Sequence[Memory], stamp: Stamp) -> None:
    """Stores memories of distinct ids as they were, but for their place in the journal, in this order."""
    stored = [_journalled(tx, namespace, memory, stamp) for memory in memories]
    tx.memories.save(namespace, stored, {memory.memory_id: entries_of(memory.metadata) for memory in stored})
    _changed(tx, namespace, len(stored))


def _written(tx: WriteTransaction, namespace: Namespace, item: NewMemory, stamp: Stamp) -> Memory:
    memory = Memory(
        memory_id=item.memory_id,
        content=item.content,
        metadata=item.metadata,
        importance=item.importance,
        created_at_ms=stamp.now_ms,
        expires_at_ms=None if item.ttl_s is None else stamp.now_ms + item.ttl_s * _MS_PER_S,
        vector=item.vector,
        sequence=0,
        checksum="",
    )
    return _journalled(tx, namespace, memory, stamp)


def _journalled(tx: WriteTransaction, namespace: Namespace, memory: Memory, stamp: Stamp) -> Memory:
    """The memory with its place in the journal."""
    checksum = checksum_of(memory_document(memory))
    payload = {
        "memory_id": memory.memory_id,
        "content_bytes": len(memory.content.encode()),
        "checksum": checksum,
        "expires_at": memory.expires_at_ms,
    }
    sequence = tx.append(stamp.event(Change.MEMORY_STORED, namespace, payload, None))
    return replace(memory, sequence=sequence, checksum=checksum)


def lookup(tx: ReadTransaction, namespace: Namespace, memory_id: str, now_ms: int) -> Memory:
    """The memory. Raises `MemoryNotFoundError`, also where it has expired."""
    memory = tx.memories.get(namespace, [memory_id]).get(memory_id)
    if memory is None or not memory.lives_at(now_ms):
        message = f"there is no memory {memory_id!r} in namespace {namespace}"
        raise MemoryNotFoundError(message)
    return memory


def forget(tx: WriteTransaction, namespace: Namespace, memory_id: str, stamp: Stamp) -> None:
    """Deletes a memory. Raises `MemoryNotFoundError`."""
    lookup(tx, namespace, memory_id, stamp.now_ms)
    _forget(tx, namespace, [memory_id], stamp, expired=False)


def expire(tx: WriteTransaction, namespace: Namespace, ids: Iterable[str], stamp: Stamp) -> int:
    """Deletes those of the memories that have expired; returns how many."""
    known = tx.memories.get(namespace, ids)
    over = [memory_id for memory_id, memory in sorted(known.items()) if not memory.lives_at(stamp.now_ms)]
    if over:
        _forget(tx, namespace, over, stamp, expired=True)
    return len(over)


def _forget(tx: WriteTransaction, namespace: Namespace, ids: Sequence[str], stamp: Stamp, *, expired: bool) -> None:
    tx.memories.forget(namespace, ids)
    for memory_id in ids:
        tx.append(stamp.event(Change.MEMORY_FORGOTTEN, namespace, {"memory_id": memory_id, "expired": expired}, None))
    _changed(tx, namespace, -len(ids))


def _changed(tx: WriteTransaction, namespace: Namespace, more: int) -> None:
    before = tx.memories.space(namespace)
    count = 0 if before is None else before.memories
    tx.memories.save_space(MemorySpace(namespace=namespace, version=tx.sequence(), memories=count + more))
