"""What a transaction can do with raw experience, and with the option models that consolidation makes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from somabrain.oak.model import Arrivals, Json, OptionModel, PrimitiveRow
from somabrain.tenancy import Namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRecord:
    """A reported episode: the journal rows of its steps and of its outcome, and the SHA-256 of what was sent."""

    episode_id: str
    sequence: int
    body_sha256: bytes
    success: bool | None
    outcome_sequence: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Consolidation:
    """How far a namespace's consolidation has come.

    `requested`: the greatest model version that somebody asked to have worked out; `through`: the journal sequence of
    the snapshot that the published models were made from; `terminal` (ascending) as that snapshot had them, `episodes`
    as the last run did, one that failed included. `build` counts published runs, `run` those that began: one that
    another has followed is void. A run is under way, or was killed, where `started_at_ms` is set and `finished_at_ms`
    is not; `done` of `total` options are worked out. `result`: of the last run that was published.
    """

    namespace: Namespace
    requested: int = 0
    through: int = 0
    episodes: int = 0
    build: int = 0
    run: int = 0
    terminal: tuple[int, ...] = ()
    started_at_ms: int | None = None
    finished_at_ms: int | None = None
    done: int = 0
    total: int = 0
    result: Mapping[str, Json] = field(default_factory=dict)
    problem: str | None = None


class ReadExperience(Protocol):
    """A snapshot of one tenant's primitive models, episodes and option models."""

    def actions(self, namespace: Namespace, *, first: int = 0) -> list[str]:
        """The primitive options' ids by action number, from number `first` on."""
        ...

    def rows(self, namespace: Namespace, *, changed_after: int = 0) -> list[PrimitiveRow]:
        """Rows that journal sequences above `changed_after` changed, ascending by (start, action)."""
        ...

    def rows_of(self, namespace: Namespace, pairs: Collection[tuple[int, int]]) -> list[PrimitiveRow]:
        """Those of these (start, action) that there are, ascending."""
        ...

    def arrivals(self, namespace: Namespace, *, changed_after: int = 0) -> list[Arrivals]:
        """Of prototypes that journal sequences above `changed_after` changed, ascending."""
        ...

    def arrivals_of(self, namespace: Namespace, numbers: Collection[int]) -> list[Arrivals]:
        """Of those of these prototypes that there are, ascending."""
        ...

    def changed_states(self, namespace: Namespace, *, after: int) -> list[int]:
        """Prototypes of which a row, by start, was changed by journal sequences above `after`; ascending."""
        ...

    def episode(self, namespace: Namespace, episode_id: str) -> EpisodeRecord | None:
        """The episode, if it was reported."""
        ...

    def reports(self, namespace: Namespace, *, after: int) -> list[tuple[int, int]]:
        """Steps of each episode that journal rows above `after` tell, and states that it saw first, in their order."""
        ...

    def models(self, namespace: Namespace, wanted: Mapping[str, int]) -> list[OptionModel]:
        """The models of options by id and build, those that there are, ascending by id."""
        ...

    def unused(self, namespace: Namespace, *, before_ms: int) -> dict[str, int]:
        """Active discovered options that were made and last used before then, with the time of that."""
        ...

    def consolidation(self, namespace: Namespace) -> Consolidation:
        """The namespace's; a new one where there is none."""
        ...


class WriteExperience(ReadExperience, Protocol):
    """Changes experience inside the transaction of the tenant's one writer."""

    def add_actions(self, namespace: Namespace, first: int, option_ids: Sequence[str]) -> None:
        """Gives the numbers from `first` on to new actions."""
        ...

    def save_rows(self, namespace: Namespace, rows: Sequence[PrimitiveRow], sequence: int) -> None:
        """Creates or replaces rows, changed by journal row `sequence`."""
        ...

    def save_arrivals(self, namespace: Namespace, arrivals: Sequence[Arrivals], sequence: int) -> None:
        """Replaces what is known of arrivals at prototypes that there are."""
        ...

    def save_episode(self, namespace: Namespace, record: EpisodeRecord) -> None:
        """Creates or replaces the record."""
        ...

    def save_models(self, namespace: Namespace, build: int, models: Sequence[OptionModel]) -> None:
        """Creates or replaces models of a build."""
        ...

    def drop_models(self, namespace: Namespace, kept: Mapping[str, int]) -> None:
        """Deletes all models but those of the options and builds in `kept`."""
        ...

    def save_uses(self, namespace: Namespace, uses: Mapping[str, int]) -> None:
        """Records when options were last used, milliseconds since the epoch, by id."""
        ...

    def save_consolidation(self, record: Consolidation) -> None:
        """Creates or replaces the record."""
        ...
