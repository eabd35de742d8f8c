"""One transaction's runs: what they change is kept here and written once, at the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from somabrain.errors import OptionIsPrimitiveError, OptionNotFoundError, OptionRetiredError, StateLimitError
from somabrain.oak.changes import Recorded, Stamp, execution_event
from somabrain.oak.learning import Draft, Observation, facts_vector, learned, observe
from somabrain.oak.learning.executions import outcome_of
from somabrain.oak.model import Ending, Evidence, Execution, Facts, Lifetime, ModelRow, Option, Source, State, Status
from somabrain.ports import NamespaceRecord, StoredPrototype, WriteTransaction


class Recorder:
    """Learns from runs inside one write transaction, in their order; `finish` writes what changed."""

    def __init__(
        self, tx: WriteTransaction, record: NamespaceRecord, draft: Draft, *, dimension: int, prototypes_max: int
    ) -> None:
        """`record` and `draft` are the namespace as this transaction found it."""
        self._tx = tx
        self._record = record
        self._draft = draft
        self._dimension = dimension
        self._prototypes_max = prototypes_max
        self._options: dict[str, Option] = {}
        self._rows: dict[tuple[str, int], ModelRow] = {}
        self._visits: Counter[int] = Counter()
        self._now_ms = 0

    def record(self, option_id: str, run: Execution, stamp: Stamp) -> Recorded:
        """Learns from one run and journals it.

        Raises `OptionNotFoundError`, `OptionRetiredError`, `StateLimitError`, `FactsCancelError`; then the
        transaction has to be given up.
        """
        option = self._option(option_id)
        self._now_ms = stamp.now_ms
        observed = observe(run, option.spec, self._record.learning)
        if run.ending is Ending.CENSORED:
            start, final, outcome = self._draft.find(run.start), None, None
            option = replace(option, lifetime=replace(option.lifetime, censored=option.lifetime.censored + 1))
        else:
            start, final = self._assigned(run.start), self._assigned(run.final)
            outcome = outcome_of(run.ending, final, observed)
            option = self._learn(option, start, outcome, observed, succeeded=run.ending is Ending.TARGET)
        self._options[option_id] = option
        recorded = Recorded(
            option=option,
            start=start,
            outcome=outcome,
            success=run.ending is Ending.TARGET,
            observed=observed,
            utility=option.spec.kappa * observed.feature_reward + observed.environment_reward,
            model_version=self._tx.sequence() + 1,
        )
        self._tx.append(execution_event(stamp, self._record.namespace, run, final, recorded))
        return recorded

    def finish(self) -> NamespaceRecord:
        """Writes prototypes, visits, rows and options; returns the namespace as it is now, for the caller to save."""
        namespace = self._record.namespace
        first_new = self._record.prototypes
        self._tx.add_prototypes(
            namespace,
            [StoredPrototype(prototype=p, visits=self._visits[p.number]) for p in self._draft.new],
        )
        self._tx.add_visits(namespace, {n: count for n, count in self._visits.items() if n < first_new})
        self._tx.save_rows(namespace, [self._rows[key] for key in sorted(self._rows)])
        used = [key for key, option in self._options.items() if option.source is Source.DISCOVERED]
        if used:
            self._tx.experience.save_uses(namespace, dict.fromkeys(used, self._now_ms))
        self._tx.save_options(namespace, [self._options[key] for key in sorted(self._options)])
        return replace(self._record, prototypes=len(self._draft), model_version=self._tx.sequence())

    def _option(self, option_id: str) -> Option:
        option = self._options.get(option_id) or self._tx.option(self._record.namespace, option_id)
        if option is None:
            message = f"there is no option {option_id!r} in namespace {self._record.namespace}"
            raise OptionNotFoundError(message)
        if option.source is Source.PRIMITIVE:
            message = f"option {option_id!r} is a primitive action: post what happened as an episode"
            raise OptionIsPrimitiveError(message)
        if option.status is Status.RETIRED:
            message = f"option {option_id!r} is retired"
            raise OptionRetiredError(message)
        return option

    def _assigned(self, state: State) -> int:
        number = self._draft.find(state)
        if number is None:
            if len(self._draft) >= self._prototypes_max:
                message = f"namespace {self._record.namespace} holds its maximum of {self._prototypes_max} states"
                raise StateLimitError(message)
            if isinstance(state, Facts):
                facts_vector(state, self._dimension)
            number = self._draft.add(state)
        self._visits[number] += 1
        return number

    def _learn(self, option: Option, start: int, outcome: int, observed: Observation, *, succeeded: bool) -> Option:
        key = (option.option_id, start)
        before = self._rows.get(key) or self._stored_row(option.option_id, start)
        after = learned(before, option.option_id, start, outcome=outcome, observed=observed, alpha=option.spec.alpha)
        self._rows[key] = after
        life, evidence = option.lifetime, option.evidence
        old_runs, old_feature, old_reward = (
            (before.executions, before.feature, before.reward) if before else (0, 0.0, 0.0)
        )
        return replace(
            option,
            lifetime=Lifetime(
                executions=life.executions + 1,
                successes=life.successes + (1 if succeeded else 0),
                steps=life.steps + observed.duration,
                censored=life.censored,
            ),
            evidence=Evidence(
                runs=evidence.runs + 1,
                feature=evidence.feature + (after.executions * after.feature - old_runs * old_feature),
                reward=evidence.reward + (after.executions * after.reward - old_runs * old_reward),
            ),
        )

    def _stored_row(self, option_id: str, start: int) -> ModelRow | None:
        if start >= self._record.prototypes:
            return None
        found = self._tx.rows(self._record.namespace, option_id=option_id, start=start)
        return found[0] if found else None
