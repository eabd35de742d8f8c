"""Outcomes that come after their episodes (DESIGN §5.4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from somabrain.errors import EpisodeNotFoundError, OutcomeKnownError
from somabrain.oak.changes import Change, Stamp
from somabrain.oak.documents import episode_of_document
from somabrain.oak.ending import conclude, lived_of
from somabrain.oak.episodes import rewards_of
from somabrain.oak.ids import action_id
from somabrain.oak.learning import Tallies, rewarded
from somabrain.oak.model import Json, Mark
from somabrain.ports import NamespaceRecord, ReadTransaction, WriteTransaction
from somabrain.tenancy import Namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an episode: whether it succeeded, `None` if that is not said, and what it earned besides."""

    episode_id: str
    success: bool | None
    reward: float
    model_version: int


def tell_outcome(
    tx: WriteTransaction, record: NamespaceRecord, told: Outcome, stamp: Stamp
) -> tuple[Outcome, NamespaceRecord]:
    """Adds the outcome to the episode's last step; returns it with its model version, and the namespace as it is now.

    Success makes the final state terminal and salient, a last reward above the threshold makes it salient. Raises
    `EpisodeNotFoundError`, `OutcomeKnownError`.
    """
    namespace, experience = record.namespace, tx.experience
    known = experience.episode(namespace, told.episode_id)
    if known is None:
        message = f"there is no episode {told.episode_id!r} in namespace {namespace}"
        raise EpisodeNotFoundError(message)
    if known.success is not None or known.outcome_sequence is not None:
        raise OutcomeKnownError
    request = reported_request(tx, known.sequence)
    episode = episode_of_document(request)
    payload: dict[str, Json] = {"episode_id": told.episode_id, "success": told.success, "reward": told.reward}
    sequence = tx.append(stamp.event(Change.EPISODE_OUTCOME, namespace, payload, payload))
    extra = told.reward + (record.learning.success_reward if told.success else 0.0)
    before = rewards_of(episode, record.learning.success_reward)[-1]
    if extra:
        *_, start, _ = request["prototypes"]
        action = request["actions"][-1]
        rows = experience.rows_of(namespace, [(start, action)])
        experience.save_rows(namespace, [rewarded(row, before=before, extra=extra) for row in rows], sequence)
        _earned(tx, namespace, action_id(episode.steps[-1].action), extra)
    marks = Mark.SUCCESS if told.success else Mark(0)
    lost = told.success is False and episode.terminated
    if extra and before + extra > record.learning.reward_threshold and not lost:
        marks |= Mark.REWARD
    if marks:
        [there] = experience.arrivals_of(namespace, [request["prototypes"][-1]])
        ended = there.endings + (1 if told.success and not episode.terminated else 0)
        experience.save_arrivals(namespace, [replace(there, endings=ended, marks=there.marks | marks)], sequence)
    if told.success is not None:
        tallies = Tallies()
        lived = lived_of(replace(episode, success=told.success), request["prototypes"], request["actions"])
        conclude(tx, namespace, told.episode_id, lived, tallies)
        tx.odds.add_tallies(namespace, tallies.summed())
    experience.save_episode(namespace, replace(known, success=told.success, outcome_sequence=sequence))
    return replace(told, model_version=sequence), replace(record, model_version=sequence)


def reported_request(tx: ReadTransaction, sequence: int) -> dict[str, Json]:
    """An episode as its journal row holds it."""
    return dict(tx.journal(after=sequence - 1, limit=1)[0].event.request or {})


def _earned(tx: WriteTransaction, namespace: Namespace, option_id: str, reward: float) -> None:
    option = tx.option(namespace, option_id)
    if option is not None:
        evidence = replace(option.evidence, reward=option.evidence.reward + reward)
        tx.save_options(namespace, [replace(option, evidence=evidence)])
