"""The odds of a run that is under way, and how such odds did."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

from somabrain.oak.learning import Calibration, calibration, similarity
from somabrain.oak.model import EVERYONE, Chance, Json, Odds, Prediction, Score, State, Vector, bucket
from somabrain.oak.option_manager import OptionManager
from somabrain.oak.planner import Question, chances, odds
from somabrain.oak.world import AT_ONCE_STATES
from somabrain.ports import NotAtHandError, ReadTransaction, TallyQuery, WriteTransaction
from somabrain.tenancy import Namespace

CANDIDATES_MAX = 10
"""Most actions of an answer."""

AGENTS_MAX = 100
"""Most agents of a calibration, those with the most predictions."""

PREDICTIONS_MAX = 1_000
"""Most predictions that are kept of an episode until its outcome comes; later ones are told, but not scored."""

PREDICTION_TTL_MS = 90 * 86_400_000
"""How long predictions wait for an outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A run: where it is, whose it is, how many steps it took and how many it may still take."""

    state: State
    target: State | None
    agent: str | None
    steps_taken: int | None
    steps_left: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretold:
    """The odds, and of each candidate the action and its odds."""

    odds: Odds
    candidates: tuple[tuple[Json, Chance], ...]
    model_version: int


class Predicting:
    """Answers for runs under way. Thread-safe."""

    def __init__(self, *, manager: OptionManager, confidence_z: float) -> None:
        """`confidence_z`: of the bounds, in standard deviations."""
        self._manager = manager
        self._confidence_z = confidence_z

    def predict(self, tx: ReadTransaction, namespace: Namespace, asked: Asked, *, at_once: bool = False) -> Foretold:
        """The odds now. A state that meets the target has got there, whatever the counts say.

        Raises `NotAtHandError` where they are wanted at once and take more than a look at what is kept.
        """
        record = tx.namespace(namespace) or self._manager.unseen(namespace)
        if at_once and isinstance(asked.state, Vector) and record.prototypes > AT_ONCE_STATES:
            raise NotAtHandError
        states = self._manager.states(tx, record, at_once=at_once)
        own = states.assigned(asked.state, record.learning.state_similarity, record.prototypes)
        at = None if own is None else own.number
        question = Question(state=at, agent=asked.agent, steps_taken=asked.steps_taken, steps_left=asked.steps_left)
        tallies = tx.odds.tallies(namespace, _query(question))
        found = odds(question, tallies, self._confidence_z)
        if asked.target is not None and similarity(asked.state, asked.target) == 1:
            found = replace(found, success_probability=1.0, lower=1.0, upper=1.0, expected_steps=0.0)
        likely: list[Chance] = []
        if at is not None:
            tried = tx.odds.tried(namespace, at)
            likely = chances(at, tallies, tried, found.success_probability, CANDIDATES_MAX)
        return Foretold(
            odds=found,
            candidates=tuple((self._manager.action(tx, record, one.action, at_once=at_once), one) for one in likely),
            model_version=record.model_version,
        )

    def keep(
        self, tx: WriteTransaction, namespace: Namespace, episode_id: str, asked: Asked, found: Foretold, *, now_ms: int
    ) -> None:
        """Keeps the odds of an episode to be scored; not where its outcome is known already."""
        told = Prediction(probability=found.odds.success_probability, steps=asked.steps_taken, agent=asked.agent)
        tx.odds.add_prediction(namespace, episode_id, told, now_ms, PREDICTIONS_MAX)

    def calibration(self, tx: ReadTransaction, namespace: Namespace, agent: str | None) -> list[Calibration]:
        """Of `agent`; without one of all together, then of each, those with the most predictions first."""
        if agent is not None:
            return [calibration(agent, tx.odds.scores(namespace, agent))]
        scores: defaultdict[str, list[Score]] = defaultdict(list)
        for one in tx.odds.scores(namespace):
            scores[one.agent].append(one)
        everyone = calibration(EVERYONE, scores.pop(EVERYONE, []))
        each = [calibration(name, own) for name, own in sorted(scores.items())]
        return [everyone, *sorted(each, key=lambda one: -one.predictions)[:AGENTS_MAX]]


def _query(question: Question) -> TallyQuery:
    return TallyQuery(
        state=question.state,
        agent=question.agent,
        steps=None if question.steps_taken is None else bucket(question.steps_taken),
        left=question.steps_left is not None,
    )
