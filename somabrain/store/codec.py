"""Nouns as table rows and back."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from somabrain.oak.documents import json_text, spec_document, spec_of_document
from somabrain.oak.learning import LearningParameters, facts
from somabrain.oak.model import Evidence, Facts, Lifetime, ModelRow, Option, Prototype, Source, State, Status, Vector
from somabrain.ports import Event, JournalEntry, NamespaceRecord, StoredPrototype
from somabrain.tenancy import Namespace, TenantId

FACTS_KEPT, FACTS_KEPT_CHARS = 4096, 1000
"""States whose stored text need not be read again, and how long it may be; together some 10 MB at the most."""

OUTCOME = struct.Struct("<idd")
"""One outcome of a row as stored: prototype number or -1 for FAIL, P, P~."""

Columns = dict[str, Any]


def namespace_columns(record: NamespaceRecord) -> Columns:
    """The record as columns of `namespaces`."""
    return {
        "namespace": record.namespace.value,
        "model_version": record.model_version,
        "born": record.born,
        "learning": json_text(asdict(record.learning)),
        "prototypes": record.prototypes,
        "options": record.options,
        "active_options": record.active_options,
        "actions": record.actions,
        "episodes": record.episodes,
    }


def namespace_of(row: Mapping[str, Any]) -> NamespaceRecord:
    """The inverse of `namespace_columns`."""
    return NamespaceRecord(
        namespace=Namespace(row["namespace"]),
        model_version=row["model_version"],
        born=row["born"],
        learning=_learning(row["learning"]),
        prototypes=row["prototypes"],
        options=row["options"],
        active_options=row["active_options"],
        actions=row["actions"],
        episodes=row["episodes"],
    )


@lru_cache(maxsize=256)
def _learning(text: str) -> LearningParameters:
    """Every request reads a namespace, and most have the same parameters."""
    return LearningParameters(**json.loads(text))


def option_columns(option: Option) -> Columns:
    """The option as columns of `options`."""
    return {
        "option_id": option.option_id,
        "status": option.status.value,
        "source": option.source.value,
        "version": option.version,
        "policy_version": option.policy_version,
        "created_at_ms": option.created_at_ms,
        "updated_at_ms": option.updated_at_ms,
        "spec": json_text(spec_document(option.spec)),
        "kappa": option.spec.kappa,
        "executions": option.lifetime.executions,
        "successes": option.lifetime.successes,
        "steps": option.lifetime.steps,
        "censored": option.lifetime.censored,
        "evidence_runs": option.evidence.runs,
        "evidence_feature": option.evidence.feature,
        "evidence_reward": option.evidence.reward,
        "build": option.build,
    }


def option_of(row: Mapping[str, Any]) -> Option:
    """The inverse of `option_columns`."""
    return Option(
        option_id=row["option_id"],
        spec=spec_of_document(json.loads(row["spec"])),
        status=Status(row["status"]),
        source=Source(row["source"]),
        policy_version=row["policy_version"],
        version=row["version"],
        created_at_ms=row["created_at_ms"],
        updated_at_ms=row["updated_at_ms"],
        lifetime=Lifetime(
            executions=row["executions"], successes=row["successes"], steps=row["steps"], censored=row["censored"]
        ),
        evidence=Evidence(runs=row["evidence_runs"], feature=row["evidence_feature"], reward=row["evidence_reward"]),
        build=row["build"],
    )


def model_row_columns(row: ModelRow) -> Columns:
    """The row as columns of `model_rows`."""
    outcomes = (OUTCOME.pack(*one) for one in zip(row.outcomes, row.probability, row.reach, strict=True))
    return {
        "option_id": row.option_id,
        "start": row.start,
        "z": row.z,
        "executions": row.executions,
        "duration": row.duration,
        "reward": row.reward,
        "feature": row.feature,
        "outcomes": b"".join(outcomes),
    }


def model_row_of(row: Mapping[str, Any]) -> ModelRow:
    """The inverse of `model_row_columns`."""
    stored = row["outcomes"]
    outcomes, probability, reach = zip(*OUTCOME.iter_unpack(stored), strict=True) if stored else ((), (), ())
    return ModelRow(
        option_id=row["option_id"],
        start=row["start"],
        z=row["z"],
        executions=row["executions"],
        duration=row["duration"],
        reward=row["reward"],
        feature=row["feature"],
        outcomes=outcomes,
        probability=probability,
        reach=reach,
    )


def prototype_columns(stored: StoredPrototype) -> Columns:
    """The prototype as columns of `prototypes`."""
    state = stored.prototype.state
    return {
        "number": stored.prototype.number,
        "facts": json.dumps(json.loads(state.canonical)) if isinstance(state, Facts) else None,
        "vector": state.data if isinstance(state, Vector) else None,
        "text": json.dumps(state.text) if isinstance(state, Vector) and state.text is not None else None,
        "visits": stored.visits,
        "arrivals": 0,
        "endings": 0,
        "marks": 0,
        "changed": 0,
    }


def prototype_of(row: Mapping[str, Any]) -> StoredPrototype:
    """The inverse of `prototype_columns`."""
    return StoredPrototype(prototype=Prototype(number=row["number"], state=state_of(row)), visits=row["visits"])


def state_of(row: Mapping[str, Any]) -> State:
    """What the prototype of a row of `prototypes` stands for."""
    if row["facts"] is not None:
        text = row["facts"]
        return (_known_facts if len(text) <= FACTS_KEPT_CHARS else _facts)(text)
    return Vector(data=bytes(row["vector"]), text=None if row["text"] is None else json.loads(row["text"]))


def _facts(text: str) -> Facts:
    return facts(json.loads(text))


_known_facts = lru_cache(maxsize=FACTS_KEPT)(_facts)


def journal_columns(entry: JournalEntry) -> Columns:
    """The entry as columns of `journal`, its tenant apart."""
    event = entry.event
    return {
        "sequence": entry.sequence,
        "event_id": event.event_id,
        "type": event.type,
        "namespace": event.namespace.value,
        "option_id": event.option_id,
        "timestamp_ms": event.timestamp_ms,
        "reported_by": json.dumps(event.reported_by),
        "payload": json_text(event.payload),
        "request": None if event.request is None else json_text(event.request),
    }


def journal_entry_of(row: Mapping[str, Any]) -> JournalEntry:
    """The inverse of `journal_columns`."""
    event = Event(
        type=row["type"],
        namespace=Namespace(row["namespace"]),
        option_id=row["option_id"],
        payload=json.loads(row["payload"]),
        request=None if row["request"] is None else json.loads(row["request"]),
        reported_by=json.loads(row["reported_by"]),
        timestamp_ms=row["timestamp_ms"],
        event_id=row["event_id"],
    )
    return JournalEntry(tenant=TenantId(row["tenant"]), sequence=row["sequence"], event=event)
