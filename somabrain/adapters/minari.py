"""Minari: `learn(brain, dataset)` learns from every episode of a dataset on this machine. Nothing is downloaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from minari import MinariDataset
from minari.dataset.episode_data import EpisodeData

from somabrain.client import Brain
from somabrain.observations import FACTS_MAX, SUCCESS_INFO

FORMAT = "minari"
"""What `POST /oak/traces` calls the documents."""

_DAMAGED = (AssertionError, AttributeError, KeyError, OSError, TypeError, ValueError)
"""What Minari raises over files that are not as it writes them."""

BATCH_EPISODES = 100
"""Most episodes of a request (DESIGN §7)."""
BATCH_CHARACTERS = 8 << 20
"""Characters of JSON in one request, unless a single episode has more."""


@dataclass(slots=True, kw_only=True)
class Learned:
    """What became of a dataset's episodes: how many were taken, and why others were not, by their id."""

    episodes: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def told_success(episode: EpisodeData) -> bool | None:
    """What the dataset itself says of success, None where it says nothing."""
    for name in SUCCESS_INFO:
        told = (episode.infos or {}).get(name)
        if told is not None and len(told):
            return bool(told[-1])
    return None


def dataset_in(folder: Path) -> MinariDataset:
    """The dataset in a folder as Minari lays it out. Raises `ValueError` where there is none."""
    data = folder / "data" if (folder / "data").is_dir() else folder
    if not (data / "metadata.json").is_file():
        message = f"{folder} holds no Minari dataset: there is no data/metadata.json"
        raise ValueError(message)
    try:
        return MinariDataset(data)
    except _DAMAGED as error:
        message = f"{folder} holds no dataset that Minari can read: {type(error).__name__} {error}".rstrip()
        raise ValueError(message) from error


def documents(
    dataset: MinariDataset, *, success: Callable[[EpisodeData], bool | None] = told_success
) -> Iterator[dict[str, Any]]:
    """Each episode as a trace of the format `minari`, under an id that is the same whenever it is read.

    Raises `ValueError` where an observation has more values than a state may have facts.
    """
    for episode in dataset.iterate_episodes():
        values = _values(episode.observations)
        if values > FACTS_MAX:
            message = f"an observation of {dataset.id} has {values} values, more than the {FACTS_MAX} facts of a state"
            raise ValueError(message)
        steps = len(episode.rewards)
        document = {
            "id": f"{dataset.id}:{episode.id}",
            "observations": [_row(episode.observations, place) for place in range(steps + 1)],
            "actions": [_row(episode.actions, place) for place in range(steps)],
            "rewards": episode.rewards.tolist(),
            "terminations": episode.terminations.tolist(),
            "truncations": episode.truncations.tolist(),
        }
        told = success(episode)
        yield document if told is None else {**document, "success": bool(told)}


def learn(
    brain: Brain, dataset: MinariDataset, *, success: Callable[[EpisodeData], bool | None] = told_success
) -> Learned:
    """Learns from a dataset's episodes, in batches; one that was learned from before changes nothing.

    One that can't be an episode is refused by itself. Raises `BrainError`, `ValueError` as `documents`.
    """
    learned, size = Learned(), 0
    batch: list[dict[str, Any]] = []
    for document in documents(dataset, success=success):
        try:
            length = len(json.dumps(document, allow_nan=False))
        except ValueError as error:
            learned.refused[document["id"]] = str(error)
            continue
        if batch and (len(batch) == BATCH_EPISODES or size + length > BATCH_CHARACTERS):
            _send(brain, batch, learned)
            batch, size = [], 0
        batch.append(document)
        size += length
    if batch:
        _send(brain, batch, learned)
    return learned


def _send(brain: Brain, batch: list[dict[str, Any]], learned: Learned) -> None:
    for result in brain.learn(batch, format=FORMAT).results:
        if result.refusal is None:
            learned.episodes += 1
        else:
            learned.refused[batch[result.trace]["id"]] = result.refusal.detail


def _values(columns: Any) -> int:
    """How many values one observation has."""
    if isinstance(columns, Mapping):
        return sum(map(_values, columns.values()))
    if isinstance(columns, tuple):
        return sum(map(_values, columns))
    return int(np.size(columns[0]))


def _row(columns: Any, place: int) -> Any:
    """What spaces of dicts and tuples have at a place of their columns."""
    if isinstance(columns, Mapping):
        return {name: _row(column, place) for name, column in columns.items()}
    if isinstance(columns, tuple):
        return [_row(column, place) for column in columns]
    found = columns[place]
    return found.tolist() if hasattr(found, "tolist") else found
