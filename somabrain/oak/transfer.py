"""A namespace's whole model as one JSON document: export and import (DESIGN §7).

RFC 8785 form, sorted by id, floats exact: export, import and export again give the same bytes.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import rfc8785
from pydantic import ValidationError

from somabrain.errors import (
    InvalidRequestError,
    ModelIncompatibleError,
    NamespaceNotEmptyError,
    OptionLimitError,
    StateLimitError,
)
from somabrain.oak.changes import Change, Stamp
from somabrain.oak.documents import option_part, row_part, spec_of_document, state_document, state_of_document
from somabrain.oak.documents import timestamp_ms as ms_of_timestamp
from somabrain.oak.learning import ENCODER_ID, facts_vector
from somabrain.oak.learning.states import SAFE_INTEGER
from somabrain.oak.model import (
    FAIL,
    Evidence,
    Facts,
    Lifetime,
    ModelRow,
    Option,
    Prototype,
    Source,
    State,
    Status,
    Vector,
)
from somabrain.oak.model_document import FORMAT, ModelDocument, OptionPart, PrototypePart, RowPart, StatePart
from somabrain.oak.option_manager import Limits, OptionManager, is_empty
from somabrain.ports import ReadTransaction, StoredPrototype, WriteTransaction
from somabrain.tenancy import Namespace

SUM_TOLERANCE = 1e-9
"""How far a row's probabilities may sum from 1: the rounding of some thousand updates."""

UNIT_TOLERANCE = 1e-3
"""How far a prototype's vector may be from unit length: float32 of MEMORY_DIM components."""


def export_model(tx: ReadTransaction, namespace: Namespace, dimension: int) -> bytes:
    """The namespace's model; of a namespace never written to, the empty model."""
    return rfc8785.dumps(
        {
            "format": FORMAT,
            "memory_dim": dimension,
            "encoder": ENCODER_ID,
            "prototypes": [_prototype_part(stored) for stored in tx.prototypes(namespace)],
            "options": [option_part(option) for option in tx.options(namespace)],
            "rows": [row_part(row) for row in tx.rows(namespace)],
            "primitives": [],
            "consolidation": None,
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
        raise InvalidRequestError(f"{_path(first['loc'])}: {first['msg']}", loc=first["loc"]) from None
    _check_prototypes(model.prototypes, dimension)
    _check_options(model.options, dimension)
    _check_rows(model)
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
    active = sum(option.status is Status.ACTIVE for option in model.options)
    if len(model.prototypes) > limits.prototypes_max:
        raise StateLimitError
    if active > limits.options_max:
        raise OptionLimitError
    rows = [_row(part) for part in model.rows]
    by_option: dict[str, list[ModelRow]] = defaultdict(list)
    for row in rows:
        by_option[row.option_id].append(row)
    tx.add_prototypes(namespace, [_prototype(part) for part in model.prototypes])
    tx.save_options(namespace, [_option(part, by_option[part.option_id]) for part in model.options])
    tx.save_rows(namespace, rows)
    payload = {"prototypes": len(model.prototypes), "options": len(model.options), "rows": len(rows)}
    request = {"model": model.model_dump(mode="json", exclude_unset=True)}
    version = tx.append(stamp.event(Change.MODEL_IMPORTED, namespace, payload, request))
    tx.save_namespace(
        replace(
            manager.blank(namespace, version),
            prototypes=len(model.prototypes),
            options=len(model.options),
            active_options=active,
        )
    )
    return version


def _prototype_part(stored: StoredPrototype) -> dict[str, Any]:
    prototype = stored.prototype
    return {"prototype": prototype.number, **state_document(prototype.state), "visits": stored.visits}


def _prototype(part: PrototypePart) -> StoredPrototype:
    prototype = Prototype(number=part.prototype, state=_state(part))
    return StoredPrototype(prototype=prototype, visits=part.visits)


def _state(part: StatePart) -> State:
    return state_of_document(part.model_dump(include={"features", "vector_b64", "text"}, exclude_none=True))


def _option(part: OptionPart, rows: Iterable[ModelRow]) -> Option:
    own = list(rows)
    return Option(
        option_id=part.option_id,
        spec=spec_of_document(part.spec_document()),
        status=part.status,
        source=Source(part.source),
        policy_version=part.policy_version,
        version=part.version,
        created_at_ms=ms_of_timestamp(part.created_at),
        updated_at_ms=ms_of_timestamp(part.updated_at),
        lifetime=Lifetime(
            executions=part.executions, successes=part.successes, steps=part.steps, censored=part.censored
        ),
        evidence=Evidence(
            runs=sum(row.executions for row in own),
            feature=math.fsum(row.executions * row.feature for row in own),
            reward=math.fsum(row.executions * row.reward for row in own),
        ),
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


def _check_prototypes(parts: list[PrototypePart], dimension: int) -> None:
    seen = set()
    for place, part in enumerate(parts):
        where = ("prototypes", place)
        if part.prototype != place:
            _refuse(where, f"prototypes are numbered from 0 without gaps, this one is {part.prototype}")
        state = _state(part)
        key = state.canonical if isinstance(state, Facts) else state.data
        if key in seen:
            _refuse(where, "this state is listed twice")
        seen.add(key)
        if isinstance(state, Facts):
            facts_vector(state, dimension)
        else:
            _check_vector(state, dimension, where)


def _check_options(parts: list[OptionPart], dimension: int) -> None:
    known = [option.option_id for option in parts]
    if len(set(known)) != len(known):
        _refuse(("options",), "an option_id is listed twice")
    for place, part in enumerate(parts):
        target = _state(part.target)
        if isinstance(target, Vector):
            _check_vector(target, dimension, ("options", place, "target"))


def _check_vector(state: Vector, dimension: int, where: tuple[str | int, ...]) -> None:
    values = state.array().astype(np.float64)
    length = math.sqrt(math.fsum((values * values).tolist())) if np.isfinite(values).all() else math.inf
    if len(values) != dimension or abs(length - 1.0) > UNIT_TOLERANCE:
        _refuse(where, f"a vector has {dimension} finite components and unit length")


def _check_rows(model: ModelDocument) -> None:
    keys = [(row.option_id, row.start) for row in model.rows]
    if len(set(keys)) != len(keys):
        _refuse(("rows",), "a pair of option_id and start is listed twice")
    count, ids = len(model.prototypes), {option.option_id for option in model.options}
    if sum(row.executions for row in model.rows) > SAFE_INTEGER:
        _refuse(("rows",), "their executions sum to more than 2^53 - 1")
    for place, row in enumerate(model.rows):
        where = ("rows", place)
        numbers = [FAIL if y == "FAIL" else y for y, _, _ in row.outcomes]
        if row.option_id not in ids:
            _refuse(where, f"there is no option {row.option_id!r} in the model")
        if not all(y < count for y in (row.start, *numbers)):
            _refuse(where, "it names a prototype that the model does not hold")
        if numbers != sorted(set(numbers)):
            _refuse(where, "outcomes are ascending, FAIL first, each once")
        if abs(math.fsum(p for _, p, _ in row.outcomes) - 1.0) > SUM_TOLERANCE:
            _refuse(where, "probabilities must sum to 1")
        if any(reach > p + SUM_TOLERANCE or (y == "FAIL" and reach) for y, p, reach in row.outcomes):
            _refuse(where, "a discounted reach must not exceed its probability, and is 0 for FAIL")


def _refuse(where: tuple[str | int, ...], message: str) -> None:
    raise InvalidRequestError(f"{_path(where)}: {message}", loc=where)


def _path(where: Iterable[str | int]) -> str:
    return ".".join(str(part) for part in where)
