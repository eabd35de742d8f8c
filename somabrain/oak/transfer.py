"""A namespace's whole model as one JSON document: export and import (DESIGN §7).

RFC 8785 form, sorted by id, floats exact: export, import and export again give the same bytes.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import rfc8785
from pydantic import ValidationError

from somabrain.errors import (
    ActionLimitError,
    ModelIncompatibleError,
    NamespaceNotEmptyError,
    OptionLimitError,
    StateLimitError,
)
from somabrain.oak.changes import Change, Stamp
from somabrain.oak.consolidation import to_bytes
from somabrain.oak.documents import option_part, row_part, spec_of_document, state_document
from somabrain.oak.documents import timestamp_ms as ms_of_timestamp
from somabrain.oak.learning import ENCODER_ID
from somabrain.oak.model import (
    FAIL,
    Arrivals,
    Evidence,
    Lifetime,
    Mark,
    ModelRow,
    Option,
    PrimitiveRow,
    Prototype,
    Source,
    Status,
    Tallied,
    Tally,
)
from somabrain.oak.model_checks import check_model, consolidated, refuse, state_of_part
from somabrain.oak.model_document import (
    FORMAT,
    ModelDocument,
    OptionPart,
    PrimitiveRowPart,
    PrototypePart,
    RowPart,
    TallyPart,
)
from somabrain.oak.option_manager import Limits, OptionManager, is_empty
from somabrain.ports import Consolidation, ReadTransaction, StoredPrototype, WriteExperience, WriteTransaction
from somabrain.tenancy import Namespace

IMPORTED_BUILD = 1
"""The build that imported option models are of: there was none before."""


def export_model(tx: ReadTransaction, namespace: Namespace, dimension: int) -> bytes:
    """The namespace's model; of a namespace never written to, the empty model."""
    return rfc8785.dumps(
        {
            "format": FORMAT,
            "memory_dim": dimension,
            "encoder": ENCODER_ID,
            "prototypes": _prototype_parts(tx, namespace),
            "options": [option_part(option) for option in tx.options(namespace)],
            "rows": [row_part(row) for row in tx.rows(namespace)],
            "primitives": _primitives_part(tx, namespace),
            "consolidation": _consolidation_part(tx, namespace),
            "odds": _odds_part(tx, namespace),
        }
    )


def parse_model(document: Any, dimension: int) -> ModelDocument:
    """The document, checked as a whole.

    Raises `ModelIncompatibleError` for another format, dimension or encoder, else `InvalidRequestError`.
    """
    expected = {"format": FORMAT, "memory_dim": dimension, "encoder": ENCODER_ID}
    if isinstance(document, dict):
        for name, value in expected.items():
            if name in document and document[name] != value:
                message = f"the model's {name} is {document[name]!r}, this server's {value!r}"
                raise ModelIncompatibleError(message)
    try:
        model = ModelDocument.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        refuse(first["loc"], first["msg"])
    check_model(model, dimension)
    return model


def import_model(
    tx: WriteTransaction,
    namespace: Namespace,
    model: ModelDocument,
    stamp: Stamp,
    *,
    manager: OptionManager,
    limits: Limits,
    replacing: bool,
) -> int:
    """Puts a checked model in place of what the namespace holds; returns the model version.

    Raises `NamespaceNotEmptyError` unless `replacing`, `StateLimitError`, `OptionLimitError`.
    """
    record = tx.namespace(namespace)
    if record is not None and not is_empty(record):
        if not replacing:
            message = f"namespace {namespace} is not empty"
            raise NamespaceNotEmptyError(message)
        tx.clear_namespace(namespace)
    active = sum(part.status is Status.ACTIVE and part.source is not Source.PRIMITIVE for part in model.options)
    if len(model.prototypes) > limits.prototypes_max:
        raise StateLimitError
    if active > limits.options_max:
        raise OptionLimitError
    if len(model.primitives.actions) > limits.actions_max:
        raise ActionLimitError
    payload = {"prototypes": len(model.prototypes), "options": len(model.options), "rows": len(model.rows)}
    request = {"model": model.model_dump(mode="json", exclude_unset=True)}
    version = tx.append(stamp.event(Change.MODEL_IMPORTED, namespace, payload, request))
    tx.add_prototypes(namespace, [_prototype(part) for part in model.prototypes])
    tx.save_rows(namespace, [_row(part) for part in model.rows])
    tx.save_options(namespace, _options(model))
    _import_experience(tx.experience, namespace, model, version)
    tx.odds.add_tallies(namespace, [_tally(part) for part in model.odds])
    tx.save_namespace(
        replace(
            manager.blank(namespace, version),
            prototypes=len(model.prototypes),
            options=len(model.options),
            active_options=active,
            actions=len(model.primitives.actions),
        )
    )
    return version


def _import_experience(experience: WriteExperience, namespace: Namespace, model: ModelDocument, version: int) -> None:
    experience.add_actions(namespace, 0, model.primitives.actions)
    experience.save_rows(namespace, [_primitive_row(part) for part in model.primitives.rows], version)
    arrivals = [
        Arrivals(number=part.prototype, arrivals=part.arrivals, endings=part.endings, marks=Mark(part.marks))
        for part in model.prototypes
        if part.arrivals or part.marks
    ]
    experience.save_arrivals(namespace, arrivals, version)
    if model.consolidation is not None:
        experience.save_models(namespace, IMPORTED_BUILD, consolidated(model))
        experience.save_consolidation(Consolidation(namespace=namespace, build=IMPORTED_BUILD))


def _options(model: ModelDocument) -> list[Option]:
    """The options, their evidence summed from their rows."""
    executed: dict[str, list[tuple[int, float, float]]] = defaultdict(list)
    for part in model.rows:
        executed[part.option_id].append(
            (part.executions, part.executions * part.feature, part.executions * part.reward)
        )
    for row in model.primitives.rows:
        runs = sum(times for _, times in row.outcomes)
        executed[model.primitives.actions[row.action]].append((runs, 0.0, row.reward))
    built = {one.option_id for one in consolidated(model)}
    return [
        _option(part, executed[part.option_id], IMPORTED_BUILD if part.option_id in built else 0)
        for part in model.options
    ]


def _prototype_parts(tx: ReadTransaction, namespace: Namespace) -> list[dict[str, Any]]:
    known = {one.number: one for one in tx.experience.arrivals(namespace)}
    return [
        {
            "prototype": stored.prototype.number,
            **state_document(stored.prototype.state),
            "visits": stored.visits,
            "arrivals": known[stored.prototype.number].arrivals,
            "endings": known[stored.prototype.number].endings,
            "marks": int(known[stored.prototype.number].marks),
        }
        for stored in tx.prototypes(namespace)
    ]


def _primitives_part(tx: ReadTransaction, namespace: Namespace) -> dict[str, Any]:
    rows = []
    for row in tx.experience.rows(namespace):
        counted = {"outcomes": [[y, times] for y, times in zip(row.outcomes, row.counts, strict=True)]}
        rows.append({name: value for name, value in asdict(row).items() if name != "counts"} | counted)
    return {"actions": tx.experience.actions(namespace), "rows": rows}


def _consolidation_part(tx: ReadTransaction, namespace: Namespace) -> dict[str, Any] | None:
    discovered = tx.options(namespace, source=Source.DISCOVERED, status=Status.ACTIVE)
    models = tx.experience.models(namespace, {option.option_id: option.build for option in discovered})
    return {"models": [b64encode(to_bytes(model)).decode() for model in models]} if models else None


def _odds_part(tx: ReadTransaction, namespace: Namespace) -> list[dict[str, Any]]:
    return [{**one._asdict(), "kind": int(one.kind)} for one in sorted(tx.odds.tallies(namespace))]


def _tally(part: TallyPart) -> Tally:
    return Tally(**{**part.model_dump(), "kind": Tallied(part.kind)})


def _prototype(part: PrototypePart) -> StoredPrototype:
    prototype = Prototype(number=part.prototype, state=state_of_part(part))
    return StoredPrototype(prototype=prototype, visits=part.visits)


def _option(part: OptionPart, evidence: Sequence[tuple[int, float, float]], build: int) -> Option:
    return Option(
        option_id=part.option_id,
        spec=spec_of_document(part.spec_document()),
        status=part.status,
        source=part.source,
        policy_version=part.policy_version,
        version=part.version,
        created_at_ms=ms_of_timestamp(part.created_at),
        updated_at_ms=ms_of_timestamp(part.updated_at),
        lifetime=Lifetime(
            executions=part.executions, successes=part.successes, steps=part.steps, censored=part.censored
        ),
        evidence=Evidence(
            runs=sum(runs for runs, _, _ in evidence),
            feature=math.fsum(feature for _, feature, _ in evidence),
            reward=math.fsum(reward for _, _, reward in evidence),
        ),
        build=build,
    )


def _primitive_row(part: PrimitiveRowPart) -> PrimitiveRow:
    return PrimitiveRow(
        start=part.start,
        action=part.action,
        reward=part.reward,
        loss=part.loss,
        refused=part.refused,
        fresh=part.fresh,
        outcomes=tuple(y for y, _ in part.outcomes),
        counts=tuple(times for _, times in part.outcomes),
    )


def _row(part: RowPart) -> ModelRow:
    return ModelRow(
        option_id=part.option_id,
        start=part.start,
        z=part.z,
        executions=part.executions,
        duration=part.duration,
        reward=part.reward,
        feature=part.feature,
        outcomes=tuple(FAIL if y == "FAIL" else y for y, _, _ in part.outcomes),
        probability=tuple(p for _, p, _ in part.outcomes),
        reach=tuple(reach for _, _, reach in part.outcomes),
    )
