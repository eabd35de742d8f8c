"""The use cases of the option layer: declare, record, retire, look up, plan.

Every function takes the transaction it works in: one request, one transaction, one commit, with the event inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from somabrain.errors import (
    InvalidRequestError,
    OptionExistsError,
    OptionIsPrimitiveError,
    OptionLimitError,
    OptionNotDeclaredError,
    OptionNotFoundError,
    OptionRetiredError,
    SomabrainError,
    VersionConflictError,
)
from somabrain.oak.changes import Change, Recorded, Stamp, option_event, retirement_event
from somabrain.oak.episodes import EpisodeRecorder, Reported
from somabrain.oak.ids import RESERVED_PREFIXES
from somabrain.oak.learning import Draft, LearningParameters, StateIndex, facts_vector, similarity
from somabrain.oak.learning.retention import retention_s
from somabrain.oak.model import (
    Episode,
    Evidence,
    Execution,
    Facts,
    Json,
    Lifetime,
    Option,
    OptionSpec,
    Source,
    State,
    Status,
)
from somabrain.oak.outcomes import Outcome, tell_outcome
from somabrain.oak.recording import Recorder
from somabrain.oak.worlds import Worlds
from somabrain.ports import NamespaceRecord, ReadTransaction, WriteTransaction
from somabrain.tenancy import Namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The settings that the use cases hold to."""

    dimension: int
    learning: LearningParameters
    options_max: int
    prototypes_max: int
    actions_max: int
    tau_min_s: float
    tau_max_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An option and the similarity of the asked state to its target."""

    option: Option
    similarity: float


class OptionManager:
    """Declares options, learns from their runs, and looks them up."""

    def __init__(self, *, limits: Limits, worlds: Worlds) -> None:
        """`worlds` may be shared with the planning use case."""
        self._limits = limits
        self._worlds = worlds

    def tau_s(self, option: Option) -> float:
        """The option's retention, seconds."""
        return retention_s(option.utility, self._limits.tau_min_s, self._limits.tau_max_s)

    @property
    def tau_min_s(self) -> float:
        """The least retention of an option, seconds."""
        return self._limits.tau_min_s

    def create(
        self, tx: WriteTransaction, namespace: Namespace, option_id: str, spec: OptionSpec, stamp: Stamp
    ) -> tuple[Option, int]:
        """Declares an option; returns it and the model version.

        Raises `InvalidRequestError` for a reserved id, `OptionExistsError`, `OptionLimitError`, `FactsCancelError`.
        """
        if option_id.startswith(RESERVED_PREFIXES):
            message = (
                f"option_id must not start with {', '.join(RESERVED_PREFIXES)}: these ids are given by the service"
            )
            raise InvalidRequestError(message, loc=("option_id",))
        self._check_target(spec)
        record = self.opened(tx, namespace)
        if tx.option(namespace, option_id) is not None:
            message = f"option {option_id!r} exists in namespace {namespace}"
            raise OptionExistsError(message)
        if record.active_options >= self._limits.options_max and not self._evict(tx, namespace, stamp):
            message = f"namespace {namespace} holds its maximum of {self._limits.options_max} active options"
            raise OptionLimitError(message)
        record = self.opened(tx, namespace)
        option = Option(
            option_id=option_id,
            spec=spec,
            status=Status.ACTIVE,
            source=Source.DECLARED,
            policy_version=1,
            version=1,
            created_at_ms=stamp.now_ms,
            updated_at_ms=stamp.now_ms,
            lifetime=Lifetime(),
            evidence=Evidence(),
        )
        tx.save_options(namespace, [option])
        version = tx.append(option_event(stamp, Change.OPTION_CREATED, namespace, option, self.tau_s(option)))
        tx.save_namespace(
            replace(record, model_version=version, options=record.options + 1, active_options=record.active_options + 1)
        )
        return option, version

    def _evict(self, tx: WriteTransaction, namespace: Namespace, stamp: Stamp) -> bool:
        """Retires the discovered option of least utility, lowest id on ties; whether there was one (DESIGN §5.6)."""
        discovered = tx.options(namespace, source=Source.DISCOVERED, status=Status.ACTIVE)
        if not discovered:
            return False
        least = min(discovered, key=lambda option: (option.utility, option.option_id))
        self.retire(tx, namespace, least.option_id, stamp)
        return True

    def replace(
        self,
        tx: WriteTransaction,
        namespace: Namespace,
        option_id: str,
        spec: OptionSpec,
        stamp: Stamp,
        *,
        expected_versions: frozenset[int] | None = None,
    ) -> Option:
        """Replaces what was declared; other policy, termination, target or γ start the rows afresh.

        `expected_versions`: the option must have one of them; `None`: any. Raises `OptionNotFoundError`,
        `OptionRetiredError`, `VersionConflictError`, `FactsCancelError`.
        """
        self._check_target(spec)
        before = self.get(tx, namespace, option_id)
        if before.status is Status.RETIRED:
            message = f"option {option_id!r} is retired"
            raise OptionRetiredError(message)
        if before.source is not Source.DECLARED:
            message = f"option {option_id!r} is {before.source.value}, not declared"
            raise OptionNotDeclaredError(message)
        if expected_versions is not None and before.version not in expected_versions:
            message = f"option {option_id!r} is at version {before.version}"
            raise VersionConflictError(message)
        other_policy = _models_another_policy(before.spec, spec)
        option = replace(
            before,
            spec=spec,
            version=before.version + 1,
            policy_version=before.policy_version + (1 if other_policy else 0),
            updated_at_ms=stamp.now_ms,
            evidence=Evidence() if other_policy else before.evidence,
        )
        if other_policy:
            tx.drop_rows(namespace, option_id)
        tx.save_options(namespace, [option])
        version = tx.append(option_event(stamp, Change.OPTION_UPDATED, namespace, option, self.tau_s(option)))
        tx.save_namespace(replace(self.opened(tx, namespace), model_version=version))
        return option

    def retire(self, tx: WriteTransaction, namespace: Namespace, option_id: str, stamp: Stamp) -> None:
        """Retires an option: kept, not planned. Again: nothing. Raises `OptionNotFoundError`."""
        before = self.get(tx, namespace, option_id)
        if before.status is Status.RETIRED:
            return
        if before.source is Source.PRIMITIVE:
            message = f"option {option_id!r} is a primitive action"
            raise OptionIsPrimitiveError(message)
        option = replace(before, status=Status.RETIRED, version=before.version + 1, updated_at_ms=stamp.now_ms)
        tx.save_options(namespace, [option])
        version = tx.append(retirement_event(stamp, namespace, option))
        record = self.opened(tx, namespace)
        tx.save_namespace(replace(record, model_version=version, active_options=record.active_options - 1))

    def record(
        self, tx: WriteTransaction, namespace: Namespace, option_id: str, run: Execution, stamp: Stamp
    ) -> Recorded:
        """Learns from one run.

        Raises `OptionNotFoundError`, `OptionRetiredError`, `StateLimitError`, `FactsCancelError`.
        """
        recorder = self._recorder(tx, namespace)
        recorded = recorder.record(option_id, run, stamp)
        tx.save_namespace(recorder.finish())
        return recorded

    def record_batch(
        self, tx: WriteTransaction, namespace: Namespace, runs: Sequence[tuple[str, Execution]], stamp: Stamp
    ) -> list[Recorded]:
        """Learns from runs in their order, all or none. Raises as `record`, located by the run's index."""
        recorder = self._recorder(tx, namespace)
        answers = []
        for place, (option_id, run) in enumerate(runs):
            try:
                answers.append(recorder.record(option_id, run, stamp))
            except SomabrainError as error:
                raise error.within("executions", place) from None
        tx.save_namespace(recorder.finish())
        return answers

    def record_episode(
        self, tx: WriteTransaction, namespace: Namespace, episode_id: str, episode: Episode, stamp: Stamp
    ) -> Reported:
        """Learns from an episode; one that is known under its id changes nothing.

        Raises `EpisodeConflictError`, `StateLimitError`, `ActionLimitError`, `FactsCancelError`.
        """
        recorder = self._episode_recorder(tx, namespace)
        reported = recorder.record(episode_id, episode, stamp)
        tx.save_namespace(recorder.finish())
        return reported

    def record_episodes(
        self, tx: WriteTransaction, namespace: Namespace, episodes: Sequence[tuple[str, Episode]], stamp: Stamp
    ) -> list[Reported]:
        """Learns from episodes in their order, all or none. Raises as `record_episode`, located by the index."""
        recorder = self._episode_recorder(tx, namespace)
        answers = []
        for place, (episode_id, episode) in enumerate(episodes):
            try:
                answers.append(recorder.record(episode_id, episode, stamp))
            except SomabrainError as error:
                raise error.within("episodes", place) from None
        tx.save_namespace(recorder.finish())
        return answers

    def tell_outcome(self, tx: WriteTransaction, namespace: Namespace, told: Outcome, stamp: Stamp) -> Outcome:
        """What became of an episode, told once. Raises `EpisodeNotFoundError`, `OutcomeKnownError`."""
        outcome, record = tell_outcome(tx, self.opened(tx, namespace), told, stamp)
        tx.save_namespace(record)
        return outcome

    def _episode_recorder(self, tx: WriteTransaction, namespace: Namespace) -> EpisodeRecorder:
        record = self.opened(tx, namespace)
        return EpisodeRecorder(
            tx,
            record,
            self._draft(tx, record),
            self._worlds.actions(tx, record),
            dimension=self._limits.dimension,
            prototypes_max=self._limits.prototypes_max,
            actions_max=self._limits.actions_max,
        )

    def _draft(self, tx: ReadTransaction, record: NamespaceRecord) -> Draft:
        return Draft(
            self._worlds.index(tx, record), record.prototypes, self._limits.dimension, record.learning.state_similarity
        )

    def _recorder(self, tx: WriteTransaction, namespace: Namespace) -> Recorder:
        record = self.opened(tx, namespace)
        draft = self._draft(tx, record)
        return Recorder(tx, record, draft, dimension=self._limits.dimension, prototypes_max=self._limits.prototypes_max)

    def get(self, tx: ReadTransaction, namespace: Namespace, option_id: str) -> Option:
        """The option, active or retired. Raises `OptionNotFoundError`."""
        option = tx.option(namespace, option_id)
        if option is None:
            message = f"there is no option {option_id!r} in namespace {namespace}"
            raise OptionNotFoundError(message)
        return option

    def search(
        self, tx: ReadTransaction, namespace: Namespace, query: State, *, top_k: int, min_similarity: float
    ) -> list[Found]:
        """The active options whose targets `query` meets best, ties by id. Raises `FactsCancelError`."""
        if isinstance(query, Facts):
            facts_vector(query, self._limits.dimension)
        record = tx.namespace(namespace)
        if record is None:
            return []
        options = tx.options(namespace, status=Status.ACTIVE, besides=Source.PRIMITIVE)
        found = [
            Found(option=option, similarity=likeness)
            for option in options
            if (likeness := similarity(query, option.spec.target)) is not None and likeness >= min_similarity
        ]
        return sorted(found, key=lambda hit: (-hit.similarity, hit.option.option_id))[:top_k]

    def delete_namespace(self, tx: WriteTransaction, namespace: Namespace, stamp: Stamp) -> None:
        """Deletes what the namespace holds; where it holds nothing, does nothing."""
        record = tx.namespace(namespace)
        if record is None or is_empty(record):
            return
        tx.clear_namespace(namespace)
        payload = {"prototypes": record.prototypes, "options": record.options}
        version = tx.append(stamp.event(Change.NAMESPACE_DELETED, namespace, payload, {}))
        tx.save_namespace(self.blank(namespace, version))

    def unseen(self, namespace: Namespace) -> NamespaceRecord:
        """What a namespace is before anything is written to it: empty, at version 0."""
        return self.blank(namespace, 0)

    def states(self, tx: ReadTransaction, record: NamespaceRecord, *, at_once: bool = False) -> StateIndex:
        """As `Worlds.index`."""
        return self._worlds.index(tx, record, at_once=at_once)

    def action(self, tx: ReadTransaction, record: NamespaceRecord, number: int, *, at_once: bool = False) -> Json:
        """As `Worlds.action`."""
        return self._worlds.action(tx, record, number, at_once=at_once)

    def opened(self, tx: ReadTransaction, namespace: Namespace) -> NamespaceRecord:
        """The namespace; where it holds nothing, a new beginning with this process's learning settings."""
        record = tx.namespace(namespace)
        if record is not None and not is_empty(record):
            return record
        fresh = self.blank(namespace, tx.sequence() + 1)
        return fresh if record is None else replace(fresh, model_version=record.model_version)

    def blank(self, namespace: Namespace, born: int) -> NamespaceRecord:
        """A namespace that begins at sequence `born` and holds nothing yet."""
        return NamespaceRecord(
            namespace=namespace,
            model_version=born,
            born=born,
            learning=self._limits.learning,
            prototypes=0,
            options=0,
            active_options=0,
        )

    def _check_target(self, spec: OptionSpec) -> None:
        if isinstance(spec.target, Facts):
            try:
                facts_vector(spec.target, self._limits.dimension)
            except SomabrainError as error:
                raise error.within("target") from None


def is_empty(record: NamespaceRecord) -> bool:
    """Whether a namespace holds neither prototypes nor options (DESIGN §7)."""
    return record.prototypes == 0 and record.options == 0


def _models_another_policy(before: OptionSpec, after: OptionSpec) -> bool:
    def modelled(spec: OptionSpec) -> tuple[object, ...]:
        return (dict(spec.policy), spec.termination, spec.target, spec.gamma)

    return modelled(before) != modelled(after)
