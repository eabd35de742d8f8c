"""What an exported model must be beyond its shape: its parts fit together (DESIGN §7)."""

from __future__ import annotations

import binascii
import math
from base64 import b64decode
from collections.abc import Iterable
from typing import NoReturn

import numpy as np

from somabrain.errors import InvalidRequestError
from somabrain.oak.consolidation import of_bytes
from somabrain.oak.documents import state_of_document
from somabrain.oak.ids import DISCOVERED_PREFIX, action_id, state_id
from somabrain.oak.learning import facts_vector
from somabrain.oak.learning.states import SAFE_INTEGER
from somabrain.oak.model import FAIL, Facts, OptionModel, Source, State, Status, Vector
from somabrain.oak.model_document import ModelDocument, OptionPart, PrototypePart, StatePart

SUM_TOLERANCE = 1e-9
"""How far a row's probabilities may sum from 1: the rounding of some thousand updates."""

UNIT_TOLERANCE = 1e-3
"""How far a prototype's vector may be from unit length: float32 of MEMORY_DIM components."""


def check_model(model: ModelDocument, dimension: int) -> None:
    """Raises `InvalidRequestError` where parts of the document contradict each other, or a vector is of another length.

    `FactsCancelError` where facts have no feature vector.
    """
    _check_prototypes(model.prototypes, dimension)
    _check_options(model.options, dimension)
    _check_rows(model)
    _check_primitives(model)
    _check_consolidation(model)
    _check_odds(model)


def consolidated(model: ModelDocument) -> list[OptionModel]:
    """The models of discovered options. Raises `InvalidRequestError` where one can't be read."""
    found = []
    for place, text in enumerate([] if model.consolidation is None else model.consolidation.models):
        try:
            found.append(of_bytes(b64decode(text, validate=True)))
        except (binascii.Error, ValueError):
            refuse(("consolidation", "models", place), "it is not what an export holds")
    return found


def state_of_part(part: StatePart) -> State:
    """The state, bit for bit."""
    return state_of_document(part.model_dump(include={"features", "vector_b64", "text"}, exclude_none=True))


def _check_primitives(model: ModelDocument) -> None:
    known = {part.option_id: part for part in model.options if part.source is Source.PRIMITIVE}
    actions, count = model.primitives.actions, len(model.prototypes)
    if sorted(actions) != sorted(known):
        refuse(("primitives", "actions"), "they are the ids of the primitive options, each once")
    for option_id, part in known.items():
        if "action" not in part.policy or action_id(part.policy["action"]) != option_id:
            refuse(("primitives", "actions"), f"{option_id!r} is not the id of its policy's action")
        if part.status is not Status.ACTIVE:
            refuse(("primitives", "actions"), f"{option_id!r} is retired, which an action can't be")
    keys = [(row.start, row.action) for row in model.primitives.rows]
    if keys != sorted(set(keys)):
        refuse(("primitives", "rows"), "they are ascending by start and action, each pair once")
    for place, row in enumerate(model.primitives.rows):
        where = ("primitives", "rows", place)
        numbers = [y for y, _ in row.outcomes]
        if row.action >= len(actions) or not all(y < count for y in (row.start, *numbers)):
            refuse(where, "it names a prototype or an action that the model does not hold")
        if numbers != sorted(set(numbers)):
            refuse(where, "outcomes are ascending, each once")
    if sum(times for row in model.primitives.rows for _, times in row.outcomes) > SAFE_INTEGER:
        refuse(("primitives", "rows"), "their counts sum to more than 2^53 - 1")


def _check_odds(model: ModelDocument) -> None:
    keys = [(part.state, part.kind, part.place, part.agent) for part in model.odds]
    if keys != sorted(set(keys)):
        refuse(("odds",), "they are ascending by state, kind, place and agent, each once")
    for place, part in enumerate(model.odds):
        if part.state >= len(model.prototypes):
            refuse(("odds", place), "it names a prototype that the model does not hold")


def _check_consolidation(model: ModelDocument) -> None:
    found = consolidated(model)
    options = {part.option_id: part for part in model.options if part.source is Source.DISCOVERED}
    ids = [one.option_id for one in found]
    if ids != sorted(set(ids)):
        refuse(("consolidation", "models"), "they are ascending by option_id, each once")
    for place, one in enumerate(found):
        where = ("consolidation", "models", place)
        part = options.get(one.option_id)
        if part is None:
            refuse(where, f"there is no discovered option {one.option_id!r} in the model")
        target = state_of_part(part.target)
        if state_id(DISCOVERED_PREFIX, target) != one.option_id:
            refuse(where, "the option's id is not that of its target")
        if one.target >= len(model.prototypes) or state_of_part(model.prototypes[one.target]) != target:
            refuse(where, "its target is not that of the option")
        if not _sound(one, len(model.prototypes), len(model.primitives.actions)):
            refuse(where, "its rows do not fit the model")


def _sound(one: OptionModel, states: int, actions: int) -> bool:
    """Whether the rows are ascending, of known states and actions, and their numbers are what they say."""
    values = np.stack([one.probability, one.reach, one.reward, one.duration])
    ordered = bool(np.all(np.diff(one.start) > 0) and np.all((one.start >= 0) & (one.start < states)))
    taken = bool(np.all((one.action >= 0) & (one.action < actions)))
    chances = bool(np.all((one.reach > 0) & (one.reach <= one.probability) & (one.probability <= 1)))
    return ordered and taken and chances and bool(np.isfinite(values).all() and np.all(one.duration >= 0))


def _check_prototypes(parts: list[PrototypePart], dimension: int) -> None:
    seen = set()
    for place, part in enumerate(parts):
        where = ("prototypes", place)
        if part.prototype != place:
            refuse(where, f"prototypes are numbered from 0 without gaps, this one is {part.prototype}")
        state = state_of_part(part)
        key = state.canonical if isinstance(state, Facts) else state.data
        if key in seen:
            refuse(where, "this state is listed twice")
        seen.add(key)
        if isinstance(state, Facts):
            facts_vector(state, dimension)
        else:
            _check_vector(state, dimension, where)


def _check_options(parts: list[OptionPart], dimension: int) -> None:
    known = [option.option_id for option in parts]
    if len(set(known)) != len(known):
        refuse(("options",), "an option_id is listed twice")
    for place, part in enumerate(parts):
        target = state_of_part(part.target)
        if isinstance(target, Vector):
            _check_vector(target, dimension, ("options", place, "target"))


def _check_vector(state: Vector, dimension: int, where: tuple[str | int, ...]) -> None:
    values = state.array().astype(np.float64)
    length = math.sqrt(math.fsum((values * values).tolist())) if np.isfinite(values).all() else math.inf
    if len(values) != dimension or abs(length - 1.0) > UNIT_TOLERANCE:
        refuse(where, f"a vector has {dimension} finite components and unit length")


def _check_rows(model: ModelDocument) -> None:
    keys = [(row.option_id, row.start) for row in model.rows]
    if len(set(keys)) != len(keys):
        refuse(("rows",), "a pair of option_id and start is listed twice")
    count, sources = len(model.prototypes), {option.option_id: option.source for option in model.options}
    if sum(row.executions for row in model.rows) > SAFE_INTEGER:
        refuse(("rows",), "their executions sum to more than 2^53 - 1")
    for place, row in enumerate(model.rows):
        where = ("rows", place)
        numbers = [FAIL if y == "FAIL" else y for y, _, _ in row.outcomes]
        if row.option_id not in sources:
            refuse(where, f"there is no option {row.option_id!r} in the model")
        if sources[row.option_id] is Source.PRIMITIVE:
            refuse(where, f"{row.option_id!r} is an action, and what it does is in `primitives`")
        if not all(y < count for y in (row.start, *numbers)):
            refuse(where, "it names a prototype that the model does not hold")
        if numbers != sorted(set(numbers)):
            refuse(where, "outcomes are ascending, FAIL first, each once")
        if abs(math.fsum(p for _, p, _ in row.outcomes) - 1.0) > SUM_TOLERANCE:
            refuse(where, "probabilities must sum to 1")
        if any(reach > p + SUM_TOLERANCE or (y == "FAIL" and reach) for y, p, reach in row.outcomes):
            refuse(where, "a discounted reach must not exceed its probability, and is 0 for FAIL")


def refuse(where: tuple[str | int, ...], message: str) -> NoReturn:
    """Raises `InvalidRequestError`."""
    raise InvalidRequestError(f"{path_of(where)}: {message}", loc=where)


def path_of(where: Iterable[str | int]) -> str:
    """Where in the document, as people write it."""
    return ".".join(str(part) for part in where)
