"""What a transaction can do with the counts behind the odds of a run, and with the odds that were told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from somabrain.oak.model import Prediction, Score, Tally, Tried
from somabrain.tenancy import Namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class TallyQuery:
    """Which tallies: of EVERYWHERE and of `state`, if one is named; of EVERYONE and of `agent`, if one is named.

    Those of kind STEPS only where their place is `steps`, none of them for `None`; of kind LEFT only with `left`, and
    after these steps where they are named; none of kind ACTION, which `ReadOdds.tried` tells.
    """

    state: int | None = None
    agent: str | None = None
    steps: int | None = None
    left: bool = False


class ReadOdds(Protocol):
    """A snapshot of one tenant's counts."""

    def tallies(self, namespace: Namespace, query: TallyQuery | None = None) -> list[Tally]:
        """Tallies in any order, all of the namespace without a query."""
        ...

    def tried(self, namespace: Namespace, state: int) -> list[Tried]:
        """The actions that were taken in a state, ascending by number."""
        ...

    def predictions(self, namespace: Namespace, episode_id: str) -> list[Prediction]:
        """The odds that were told of an episode and are not scored yet, in their order."""
        ...

    def scores(self, namespace: Namespace, agent: str | None = None) -> list[Score]:
        """Scores in any order: of `agent` (EVERYONE is one), or of all."""
        ...


class WriteOdds(ReadOdds, Protocol):
    """Changes counts inside the transaction of the tenant's one writer."""

    def add_tallies(self, namespace: Namespace, tallies: Sequence[Tally]) -> None:
        """Adds to what there is. Each tally names another key."""
        ...

    def add_prediction(self, namespace: Namespace, episode_id: str, told: Prediction, now_ms: int, most: int) -> None:
        """Keeps odds until the outcome is known; nothing where it is, or `most` of the episode are kept already."""
        ...

    def drop_predictions(self, namespace: Namespace, episode_id: str) -> None:
        """Deletes the odds that were told of an episode."""
        ...

    def add_scores(self, namespace: Namespace, scores: Sequence[Score]) -> None:
        """Adds to what there is. Each score names another key."""
        ...
