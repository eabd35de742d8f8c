"""Episodes of primitive actions: what they change is kept here and written once, at the end of the transaction.

DESIGN §5.4: each step adds to the primitive model, and each action is an option of one step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from somabrain.errors import ActionLimitError, EpisodeConflictError, StateLimitError
from somabrain.oak.changes import Change, Stamp
from somabrain.oak.documents import episode_digest, episode_document
from somabrain.oak.ending import conclude, lived_of
from somabrain.oak.ids import action_id
from somabrain.oak.learning import Draft, Tallies, facts_vector, stepped
from somabrain.oak.learning.states import ANYWHERE
from somabrain.oak.model import (
    Arrivals,
    Episode,
    Evidence,
    Facts,
    Json,
    Lifetime,
    Mark,
    Option,
    OptionSpec,
    PrimitiveRow,
    Source,
    State,
    Status,
    Step,
    Termination,
)
from somabrain.oak.naming import action_name
from somabrain.ports import EpisodeRecord, NamespaceRecord, StoredPrototype, WriteTransaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Salient:
    """A state of an episode that may become a target: at `step`, or where that step led."""

    step: int
    reason: Mark
    prototype: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What an episode did to the model."""

    episode_id: str
    prototypes_created: int
    prototypes_known: int
    transitions: int
    actions_created: int
    salient: tuple[Salient, ...]
    model_version: int


_NO_MARK = Mark(0)


class EpisodeRecorder:
    """Learns from episodes inside one write transaction, in their order; `finish` writes what changed."""

    def __init__(
        self,
        tx: WriteTransaction,
        record: NamespaceRecord,
        draft: Draft,
        actions: Mapping[str, int],
        *,
        dimension: int,
        prototypes_max: int,
        actions_max: int,
    ) -> None:
        """`record`, `draft` and `actions` (number by option id) are the namespace as this transaction found it."""
        self._tx = tx
        self._record = record
        self._draft = draft
        self._dimension = dimension
        self._prototypes_max = prototypes_max
        self._actions_max = actions_max
        self._known_actions = actions
        self._new_actions: dict[str, int] = {}
        self._options: dict[str, Option] = {}
        self._rows: dict[tuple[int, int], PrimitiveRow] = {}
        self._fetched_rows: set[tuple[int, int]] = set()
        self._fetched_arrivals: set[int] = set()
        self._arrivals: dict[int, Arrivals] = {}
        self._rows_changed: set[tuple[int, int]] = set()
        self._arrivals_changed: set[int] = set()
        self._visits: Counter[int] = Counter()
        self._episodes = 0
        self._tallies = Tallies()

    def record(self, episode_id: str, episode: Episode, stamp: Stamp) -> Reported:
        """Learns from an episode and journals it; one that was reported before changes nothing.

        Raises `EpisodeConflictError` where another one was reported under this id, `StateLimitError`,
        `ActionLimitError`, `FactsCancelError`; then the transaction has to be given up.
        """
        document = episode_document(episode)
        digest = episode_digest(document)
        known = self._tx.experience.episode(self._record.namespace, episode_id)
        if known is not None:
            if known.body_sha256 != digest:
                message = f"another episode was reported as {episode_id!r}"
                raise EpisodeConflictError(message)
            return self._again(known)
        before, actions_before = len(self._draft), len(self._new_actions)
        numbers, salient = self._numbered(episode)
        ids = _action_ids(episode.steps)
        taken = zip(ids, episode.steps, strict=True)
        actions = [self._action(option_id, step.action, stamp) for option_id, step in taken]
        self._fetch(numbers, actions)
        rewards = rewards_of(episode, self._record.learning.success_reward)
        for place, step in enumerate(episode.steps):
            self._step(numbers[place], actions[place], numbers[place + 1], rewards[place], step, known_before=before)
        self._end(numbers[-1], episode)
        for one in salient:
            self._arrive(one.prototype, marks=one.reason)
        self._lived(ids, episode.steps, rewards)
        reported = Reported(
            episode_id=episode_id,
            prototypes_created=len(self._draft) - before,
            prototypes_known=len({number for number in numbers if number < before}),
            transitions=len(episode.steps),
            actions_created=len(self._new_actions) - actions_before,
            salient=tuple(salient),
            model_version=self._tx.sequence() + 1,
        )
        request = {"episode_id": episode_id, **document, "prototypes": numbers, "actions": actions}
        payload = reported_document(reported, episode, sum(rewards))
        sequence = self._tx.append(stamp.event(Change.EPISODE_RECORDED, self._record.namespace, payload, request))
        self._tx.experience.save_episode(
            self._record.namespace,
            EpisodeRecord(episode_id=episode_id, sequence=sequence, body_sha256=digest, success=episode.success),
        )
        if episode.success is not None:
            conclude(self._tx, self._record.namespace, episode_id, lived_of(episode, numbers, actions), self._tallies)
        self._episodes += 1
        return reported

    def finish(self) -> NamespaceRecord:
        """Writes what changed; returns the namespace as it is now, for the caller to save."""
        if not self._episodes:
            return self._record
        namespace, first_new, sequence = self._record.namespace, self._record.prototypes, self._tx.sequence()
        self._tx.add_prototypes(
            namespace, [StoredPrototype(prototype=p, visits=self._visits[p.number]) for p in self._draft.new]
        )
        self._tx.add_visits(namespace, {n: count for n, count in self._visits.items() if n < first_new})
        experience = self._tx.experience
        experience.add_actions(namespace, self._record.actions, list(self._new_actions))
        experience.save_rows(namespace, [self._rows[key] for key in sorted(self._rows_changed)], sequence)
        experience.save_arrivals(namespace, [self._arrivals[n] for n in sorted(self._arrivals_changed)], sequence)
        self._tx.odds.add_tallies(namespace, self._tallies.summed())
        self._tx.save_options(namespace, [self._options[key] for key in sorted(self._options)])
        return replace(
            self._record,
            prototypes=len(self._draft),
            options=self._record.options + len(self._new_actions),
            actions=self._record.actions + len(self._new_actions),
            episodes=self._record.episodes + self._episodes,
            model_version=sequence,
        )

    def _again(self, known: EpisodeRecord) -> Reported:
        entry = self._tx.journal(after=known.sequence - 1, limit=1)[0]
        return reported_of(entry.event.payload, known.sequence)

    def _numbered(self, episode: Episode) -> tuple[list[int], list[Salient]]:
        """The states' prototypes, new ones made, and which of them are salient."""
        learning, numbers, salient = self._record.learning, [], []
        rewards = rewards_of(episode, learning.success_reward)
        lost = episode.success is False and episode.terminated
        states = [*(step.state for step in episode.steps), episode.final]
        for place, state in enumerate(states):
            number = self._draft.find(state)
            arrived = place - 1
            target = arrived >= 0 and not (lost and place == len(states) - 1)
            if number is None:
                unlike = 1 - self._draft.familiarity(state) if target else 0.0
                number = self._made(state)
                if target and len(self._draft) > 1 and unlike > learning.novelty_threshold:
                    salient.append(Salient(step=arrived, reason=Mark.NOVELTY, prototype=number))
            numbers.append(number)
            self._visits[number] += 1
            if target and rewards[arrived] > learning.reward_threshold:
                salient.append(Salient(step=arrived, reason=Mark.REWARD, prototype=number))
            if place < len(episode.steps) and episode.steps[place].salient:
                salient.append(Salient(step=place, reason=Mark.MARKED, prototype=number))
        if episode.success:
            salient.append(Salient(step=len(episode.steps) - 1, reason=Mark.SUCCESS, prototype=numbers[-1]))
        return numbers, salient

    def _made(self, state: State) -> int:
        if len(self._draft) >= self._prototypes_max:
            message = f"namespace {self._record.namespace} holds its maximum of {self._prototypes_max} states"
            raise StateLimitError(message)
        if isinstance(state, Facts):
            facts_vector(state, self._dimension)
        return self._draft.add(state)

    def _fetch(self, numbers: Sequence[int], actions: Sequence[int]) -> None:
        """Reads what is known of these states, and of these actions from them, once for each transaction."""
        experience, record = self._tx.experience, self._record
        known = {number for number in numbers if number < record.prototypes} - self._fetched_arrivals
        self._fetched_arrivals |= known
        for one in experience.arrivals_of(record.namespace, known):
            self._arrivals[one.number] = one
        taken = zip(numbers, actions, strict=False)
        pairs = {(number, action) for number, action in taken if number < record.prototypes} - self._fetched_rows
        self._fetched_rows |= pairs
        for row in experience.rows_of(record.namespace, pairs):
            self._rows[row.start, row.action] = row

    def _action(self, option_id: str, action: Json, stamp: Stamp) -> int:
        """The action's number; a new one becomes an option."""
        number = self._known_actions.get(option_id, self._new_actions.get(option_id))
        if option_id not in self._options:
            known = None if number is None else self._tx.option(self._record.namespace, option_id)
            self._options[option_id] = known or primitive_option(option_id, action, stamp.now_ms)
        if number is None:
            number = self._record.actions + len(self._new_actions)
            if number >= self._actions_max:
                message = f"namespace {self._record.namespace} holds its maximum of {self._actions_max} actions"
                raise ActionLimitError(message)
            self._new_actions[option_id] = number
        return number

    def _step(self, start: int, action: int, outcome: int, reward: float, step: Step, *, known_before: int) -> None:
        before = self._rows.get((start, action))
        seen = outcome < known_before or outcome in self._arrivals or outcome == start
        self._rows[start, action] = stepped(
            before, start, action, outcome=outcome, reward=reward, ok=step.ok, fresh=not seen
        )
        self._rows_changed.add((start, action))
        self._arrive(outcome, arrivals=1)
        self._arrivals.setdefault(start, self._arrived(start))

    def _end(self, final: int, episode: Episode) -> None:
        if episode.terminated or episode.success:
            self._arrive(final, endings=1)

    def _arrive(self, number: int, *, arrivals: int = 0, endings: int = 0, marks: Mark = _NO_MARK) -> None:
        there = self._arrived(number)
        self._arrivals[number] = Arrivals(
            number=number,
            arrivals=there.arrivals + arrivals,
            endings=there.endings + endings,
            marks=there.marks if marks is _NO_MARK else there.marks | marks,
        )
        self._arrivals_changed.add(number)

    def _arrived(self, number: int) -> Arrivals:
        return self._arrivals.get(number) or Arrivals(number=number, arrivals=0, endings=0, marks=_NO_MARK)

    def _lived(self, ids: Sequence[str], steps: Sequence[Step], rewards: Sequence[float]) -> None:
        """Counts the steps in their actions' options."""
        taken: dict[str, list[tuple[bool, float]]] = {}
        for option_id, step, earned in zip(ids, steps, rewards, strict=True):
            taken.setdefault(option_id, []).append((step.ok is not False, earned))
        for option_id, runs in taken.items():
            option = self._options[option_id]
            life, evidence = option.lifetime, option.evidence
            # Not sum(): what it adds to is another number from Python 3.12 on.
            reward = evidence.reward
            for _, earned in runs:
                reward += earned
            self._options[option_id] = replace(
                option,
                lifetime=replace(
                    life,
                    executions=life.executions + len(runs),
                    successes=life.successes + sum(worked for worked, _ in runs),
                    steps=life.steps + len(runs),
                ),
                evidence=replace(evidence, runs=evidence.runs + len(runs), reward=reward),
            )


def _action_ids(steps: Sequence[Step]) -> list[str]:
    """The primitive options' ids, each text hashed once."""
    known: dict[str, str] = {}
    found = []
    for step in steps:
        if isinstance(step.action, str):
            if step.action not in known:
                known[step.action] = action_id(step.action)
            found.append(known[step.action])
        else:
            found.append(action_id(step.action))
    return found


def rewards_of(episode: Episode, success_reward: float) -> list[float]:
    """Each step's reward; the last one's includes what success is worth."""
    rewards = [step.reward for step in episode.steps]
    if episode.success:
        rewards[-1] += success_reward
    return rewards


def primitive_option(option_id: str, action: Json, now_ms: int) -> Option:
    """The one-step option of an action: it may end anywhere, and its utility is what a step earns in the mean."""
    return Option(
        option_id=option_id,
        spec=OptionSpec(
            name=action_name(action) or option_id,
            description="",
            target=ANYWHERE,
            policy={"action": action},
            termination=Termination(max_steps=1),
            kappa=0.0,
            gamma=1.0,
            alpha=1.0,
            metadata={},
        ),
        status=Status.ACTIVE,
        source=Source.PRIMITIVE,
        policy_version=1,
        version=1,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
        lifetime=Lifetime(),
        evidence=Evidence(),
    )


def salient_documents(salient: Sequence[Salient]) -> list[Json]:
    """Salient states as events and answers tell them."""
    return [{"step": one.step, "reason": str(one.reason.name).lower(), "prototype": one.prototype} for one in salient]


def reported_document(reported: Reported, episode: Episode, reward: float) -> dict[str, Json]:
    """The fields of EpisodeRecorded: numbers for consumers, no facts."""
    return {
        "episode_id": reported.episode_id,
        "prototypes_created": reported.prototypes_created,
        "prototypes_known": reported.prototypes_known,
        "transitions": reported.transitions,
        "actions_created": reported.actions_created,
        "salient": salient_documents(reported.salient),
        "reward": reward,
        "terminated": episode.terminated,
        "success": episode.success,
        "group": episode.group,
        "agent": episode.agent,
    }


def reported_of(payload: Mapping[str, Json], model_version: int) -> Reported:
    """The inverse of `reported_document`."""
    salient = (Salient(**{**one, "reason": Mark[one["reason"].upper()]}) for one in payload["salient"])
    counts = ("episode_id", "prototypes_created", "prototypes_known", "transitions", "actions_created")
    return Reported(**{name: payload[name] for name in counts}, salient=tuple(salient), model_version=model_version)
