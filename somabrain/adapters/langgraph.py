"""LangGraph: `SomabrainStore(brain)` is a store whose items are memories."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    get_text_at_path,
    validate_op_namespace,
)

from somabrain.client import Brain, NotFoundError
from somabrain.client.answers import MemoryAnswer, MemoryHit
from somabrain.observations import SAFE_INTEGER

HITS_MAX = 100
"""Most memories that one recall gives."""
TEXT_MAX = 256
"""Longest text that the service filters by; longer ones, and numbers beyond `SAFE_INTEGER`, are compared here."""
NAME_MAX = 240
"""Longest name of a field that it filters by."""
PARTS = 4
"""How often items that one recall does not give all of are parted, in as many parts as there are digits each time."""
SECONDS_A_MINUTE = 60
"""LangGraph tells lifetimes in minutes."""

_DIGEST_BYTES = 20
_DIGITS = "0123456789abcdef"
_ANYTHING = "items of the store"
"""What is asked for where nothing is: every item answers, by its namespace."""

_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda value, other: bool(value == other),
    "$ne": lambda value, other: bool(value != other),
    "$gt": lambda value, other: float(value) > float(other),
    "$gte": lambda value, other: float(value) >= float(other),
    "$lt": lambda value, other: float(value) < float(other),
    "$lte": lambda value, other: float(value) <= float(other),
}


class TooManyItemsError(Exception):
    """More items or namespaces than are found in parts: narrow the namespace or the filter."""


class SomabrainStore(BaseStore):
    """A store that keeps its items as memories of the brain's namespace. Thread-safe; the caller closes the brain.

    An item is embedded as its JSON, or the fields that `index` names, and found by meaning and by words. A lifetime
    counts from the last `put`: reads don't extend it. `created_at` is that of the last `put`, as is `updated_at`.
    A namespace is listed once something was stored in it. A search or listing that has to look at more items than one
    recall gives, `HITS_MAX`, asks for them in parts. Refusals and outages are the client's `BrainError`s.
    """

    __slots__ = ("_brain", "_listed", "ttl_config")
    supports_ttl = True

    def __init__(self, brain: Brain, *, default_ttl: float | None = None) -> None:
        """`default_ttl`: minutes until an item is forgotten for which `put` says nothing; None: never."""
        self._brain = brain
        self._listed: set[tuple[str, ...]] = set()
        self.ttl_config = TTLConfig(refresh_on_read=False, omit_expired=True, default_ttl=default_ttl)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Reads see what was stored before the batch; of several puts of one item the last counts."""
        results: list[Result] = []
        puts: dict[tuple[tuple[str, ...], str], PutOp] = {}
        for op in ops:
            validate_op_namespace(op)
            if isinstance(op, PutOp):
                puts[op.namespace, op.key] = op
                results.append(None)
            else:
                results.append(self._read(op))
        for put in puts.values():
            self._put(put)
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """`batch`, in a thread."""
        return await asyncio.to_thread(self.batch, list(ops))

    def _read(self, op: GetOp | SearchOp | ListNamespacesOp) -> Result:
        if isinstance(op, GetOp):
            try:
                return _item(self._brain.memory(_item_id(op.namespace, op.key)))
            except NotFoundError:
                return None
        if isinstance(op, SearchOp):
            return self._search(op)
        return self._namespaces(op)

    def _put(self, op: PutOp) -> None:
        memory_id = _item_id(op.namespace, op.key)
        if op.value is None:
            try:
                self._brain.forget(memory_id)
            except NotFoundError:
                return
            return
        value = dict(op.value)
        whole = json.dumps(value, ensure_ascii=False, allow_nan=False)
        content = whole if not op.index else _text_of(value, op.index)
        metadata: dict[str, Any] = {
            **_prefixes("item", op.namespace),
            **_parts(op.namespace, op.key),
            **{f"value.{name}": field for name, field in value.items() if _comparable(name, field)},
            "namespace": list(op.namespace),
            "key": op.key,
            "indexed": op.index is not False,
        }
        if content != whole:
            metadata["value"] = value
        ttl_s = None if op.ttl is None else max(1, math.ceil(op.ttl * SECONDS_A_MINUTE))
        self._brain.remember(content, metadata=metadata, memory_id=memory_id, ttl_s=ttl_s)
        if op.namespace not in self._listed:
            self._list(op.namespace)

    def _list(self, name: tuple[str, ...]) -> None:
        """Has a namespace found by its name: the service lists no memories."""
        metadata = {**_prefixes("namespace", name), **_parts(name, None), "namespace": list(name)}
        self._brain.remember(" ".join(name), metadata=metadata, memory_id=_item_id(name, None))
        self._listed.add(name)

    def _search(self, op: SearchOp) -> list[SearchItem]:
        wanted = dict(op.filter or {})
        asked = _prefix("item", op.namespace_prefix)
        for name in [name for name, value in wanted.items() if _comparable(name, value)]:
            asked[f"value.{name}"] = wanted.pop(name)
        if op.query:
            asked["indexed"] = True
        query, last = op.query or _ANYTHING, op.offset + op.limit
        most = HITS_MAX if wanted else min(HITS_MAX, last)
        hits = self._brain.recall(query, top_k=max(1, most), filter=asked).hits
        found = [hit for hit in hits if _meets(_value(hit), wanted)]
        if len(found) < last and len(hits) == HITS_MAX:
            every = sorted(self._parted(query, asked, hits), key=lambda hit: (-hit.score, hit.memory_id))
            found = [hit for hit in every if _meets(_value(hit), wanted)]
        return [_search_item(hit, scored=bool(op.query)) for hit in found[op.offset : last]]

    def _every(self, query: str, asked: Mapping[str, Any], part: str = "") -> list[MemoryHit]:
        """All memories that are asked for, of those whose names' digest begins with `part`."""
        hits = list(self._brain.recall(query, top_k=HITS_MAX, filter=asked).hits)
        return hits if len(hits) < HITS_MAX else self._parted(query, asked, hits, part)

    def _parted(
        self, query: str, asked: Mapping[str, Any], some: Iterable[MemoryHit], part: str = ""
    ) -> list[MemoryHit]:
        """All memories that are asked for, from the parts of this one; `some` of them are known."""
        if len(part) == PARTS:
            raise TooManyItemsError(f"{HITS_MAX} items or more of {len(_DIGITS) ** PARTS} parts are in one")
        if any(f"part.{len(part) + 1}" not in one.metadata for one in some):
            raise TooManyItemsError("there are items that can't be told apart in parts: put them again")
        parts = [part + digit for digit in _DIGITS]
        return [hit for one in parts for hit in self._every(query, {**asked, f"part.{len(one)}": one}, one)]

    def _namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        conditions = op.match_conditions or ()
        prefix = next((one.path for one in conditions if one.match_type == "prefix"), ())
        known = prefix[: prefix.index("*")] if "*" in prefix else prefix
        hits = self._every(_ANYTHING, _prefix("namespace", known))
        names = {tuple(hit.metadata["namespace"]) for hit in hits}
        found = {name for name in names if all(_matches(one, name) for one in conditions)}
        return sorted({name[: op.max_depth] for name in found})[op.offset : op.offset + op.limit]


def _item_id(namespace: tuple[str, ...], key: str | None) -> str:
    """The memory's id; of no key, that of the namespace itself."""
    named = json.dumps([list(namespace), key]).encode()
    return "store:" + base64.b32encode(hashlib.blake2b(named, digest_size=_DIGEST_BYTES).digest()).decode()


def _prefix(kind: str, namespace: tuple[str, ...]) -> dict[str, Any]:
    """The entry that every item or namespace below this one has."""
    named = json.dumps([kind, *namespace]).encode()
    return {f"below.{len(namespace)}": hashlib.blake2b(named, digest_size=_DIGEST_BYTES).hexdigest()}


def _prefixes(kind: str, namespace: tuple[str, ...]) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for depth in range(len(namespace) + 1):
        entries |= _prefix(kind, namespace[:depth])
    return entries


def _parts(namespace: tuple[str, ...], key: str | None) -> dict[str, Any]:
    """The entries by which many items are parted evenly."""
    named = json.dumps([list(namespace), key]).encode()
    digest = hashlib.blake2b(named, digest_size=_DIGEST_BYTES).hexdigest()
    return {f"part.{length}": digest[:length] for length in range(1, PARTS + 1)}


def _comparable(name: str, value: Any) -> bool:
    """Whether the service can filter by it."""
    if len(name) > NAME_MAX:
        return False
    if isinstance(value, str):
        return len(value) <= TEXT_MAX
    return isinstance(value, bool | int | float) and abs(value) <= SAFE_INTEGER


def _text_of(value: Mapping[str, Any], paths: list[str]) -> str:
    """The texts at these paths; those of the whole where none of them has any, for a memory is never empty."""
    texts = [text for path in paths for text in get_text_at_path(value, path)]
    return "\n".join(texts) or json.dumps(value, ensure_ascii=False)


def _value(memory: MemoryAnswer | MemoryHit) -> dict[str, Any]:
    found = memory.metadata.get("value")
    value: dict[str, Any] = json.loads(memory.content) if found is None else dict(found)
    return value


def _item(memory: MemoryAnswer) -> Item:
    return Item(
        value=_value(memory),
        key=memory.metadata["key"],
        namespace=tuple(memory.metadata["namespace"]),
        created_at=memory.created_at,
        updated_at=memory.created_at,
    )


def _search_item(hit: MemoryHit, *, scored: bool) -> SearchItem:
    return SearchItem(
        namespace=tuple(hit.metadata["namespace"]),
        key=hit.metadata["key"],
        value=_value(hit),
        created_at=hit.created_at,
        updated_at=hit.created_at,
        score=hit.score if scored else None,
    )


def _meets(value: Any, wanted: Any) -> bool:
    """Whether a value meets a filter, as LangGraph's own stores have it: objects and lists member by member."""
    if isinstance(wanted, Mapping):
        if any(name.startswith("$") for name in wanted):
            return all(_compares(value, operator, other) for operator, other in wanted.items())
        return isinstance(value, Mapping) and all(_meets(value.get(name), other) for name, other in wanted.items())
    if isinstance(wanted, list | tuple):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(wanted)
            and all(_meets(one, other) for one, other in zip(value, wanted, strict=True))
        )
    return bool(value == wanted)


def _compares(value: Any, operator: str, other: Any) -> bool:
    if operator not in _OPERATORS:
        raise ValueError(f"there is no operator {operator!r}: {', '.join(_OPERATORS)}")
    if value is None and operator not in {"$eq", "$ne"}:
        return False
    return _OPERATORS[operator](value, other)


def _matches(condition: MatchCondition, namespace: tuple[str, ...]) -> bool:
    path = condition.path
    if len(namespace) < len(path):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in {"*", label} for wanted, label in zip(path, part, strict=True))
