"""The stored form of an option's model: 21 to 24 bytes a row, the same on every machine.

Little-endian: format (1 byte), width of an action number (1), length of the option id in UTF-8 (2), target (4),
rows B (4); the id; the columns start (4), action (1, 2 or 4), P, P~, r̂, k̂ (float32) one after another; CRC-32 of
all before it (4).
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from somabrain.oak.model import OptionModel

FORMAT = 1

_HEAD = struct.Struct("<BBHII")
_CHECK = struct.Struct("<I")
_START = np.dtype("<i4")
_VALUE = np.dtype("<f4")
_VALUES = (_VALUE,) * 4
_ACTIONS = {kind.itemsize: kind for kind in (np.dtype("u1"), np.dtype("<u2"), np.dtype("<u4"))}


def to_bytes(model: OptionModel) -> bytes:
    """The bytes that `of_bytes` makes the same model of."""
    largest = int(model.action.max(initial=0))
    width = min(width for width, kind in _ACTIONS.items() if largest <= np.iinfo(kind).max)
    name = model.option_id.encode()
    columns = (
        model.start.astype(_START),
        model.action.astype(_ACTIONS[width]),
        model.probability.astype(_VALUE),
        model.reach.astype(_VALUE),
        model.reward.astype(_VALUE),
        model.duration.astype(_VALUE),
    )
    head = _HEAD.pack(FORMAT, width, len(name), model.target, model.start.size)
    body = b"".join((head, name, *(column.tobytes() for column in columns)))
    return body + _CHECK.pack(zlib.crc32(body))


def of_bytes(data: bytes) -> OptionModel:
    """The model that was stored. Raises `ValueError` where a byte is missing, added or wrong, or of another format."""
    body = data[: -_CHECK.size]
    if len(data) < _HEAD.size + _CHECK.size or data[-_CHECK.size :] != _CHECK.pack(zlib.crc32(body)):
        raise ValueError("an option's stored model is damaged")
    version, width, name_bytes, target, rows = _HEAD.unpack_from(body)
    if version != FORMAT:
        raise ValueError(f"an option's stored model has format {version}, this program reads {FORMAT}")
    kinds = (_START, _ACTIONS.get(width, _START), *_VALUES)
    begun = _HEAD.size + name_bytes
    if width not in _ACTIONS or len(body) != begun + rows * sum(kind.itemsize for kind in kinds):
        raise ValueError("an option's stored model is damaged")
    columns: list[NDArray[np.generic]] = []
    for kind in kinds:
        columns.append(np.frombuffer(body, kind, rows, begun))
        begun += rows * kind.itemsize
    start, action, probability, reach, reward, duration = columns
    return OptionModel(
        option_id=body[_HEAD.size : _HEAD.size + name_bytes].decode(),
        target=target,
        start=_fixed_ids(start),
        action=_fixed_ids(action),
        probability=_fixed_values(probability),
        reach=_fixed_values(reach),
        reward=_fixed_values(reward),
        duration=_fixed_values(duration),
    )


def _fixed_ids(column: NDArray[np.generic]) -> NDArray[np.int32]:
    fixed = column.astype(np.int32)
    fixed.setflags(write=False)
    return fixed


def _fixed_values(column: NDArray[np.generic]) -> NDArray[np.float32]:
    fixed = column.astype(np.float32)
    fixed.setflags(write=False)
    return fixed
