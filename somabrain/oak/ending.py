"""What an episode's outcome teaches besides the model: the counts behind odds, and how odds told of it did."""

from __future__ import annotations

from collections.abc import Sequence

from somabrain.oak.learning import Lived, Tallies, scored
from somabrain.oak.model import Episode
from somabrain.ports import WriteTransaction
from somabrain.tenancy import Namespace


def lived_of(episode: Episode, prototypes: Sequence[int], actions: Sequence[int]) -> Lived:
    """An episode whose `success` is known, with the prototypes of its states and the numbers of its actions."""
    success = bool(episode.success)
    return Lived(
        states=prototypes,
        turns=episode.turns,
        actions=actions,
        agent=episode.agent,
        success=success,
        ended=episode.terminated or success,
    )


def conclude(tx: WriteTransaction, namespace: Namespace, episode_id: str, lived: Lived, tallies: Tallies) -> None:
    """Counts an episode of known outcome in `tallies`, and scores the predictions that were kept of it."""
    tallies.add(lived)
    told = tx.odds.predictions(namespace, episode_id)
    if told:
        tx.odds.add_scores(namespace, scored(told, success=lived.success, steps=lived.turns[-1] + 1))
        tx.odds.drop_predictions(namespace, episode_id)
