"""Changes of the option layer as journal events: their fields, and what a replay makes again (DESIGN §9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from somabrain.oak.documents import execution_document, json_text, option_document, spec_document
from somabrain.oak.learning import Observation
from somabrain.oak.model import FAIL, Execution, Json, Option
from somabrain.ports import Event
from somabrain.tenancy import Namespace


class Change(StrEnum):
    """The names of the Avro records in `proto/cog/`."""

    OPTION_CREATED = "OptionCreated"
    OPTION_UPDATED = "OptionUpdated"
    OPTION_RETIRED = "OptionRetired"
    EXECUTION_RECORDED = "ExecutionRecorded"
    EPISODE_RECORDED = "EpisodeRecorded"
    EPISODE_OUTCOME = "EpisodeOutcome"
    MODEL_CONSOLIDATED = "ModelConsolidated"
    MODEL_IMPORTED = "ModelImported"
    NAMESPACE_DELETED = "NamespaceDeleted"
    MEMORY_STORED = "MemoryStored"
    MEMORY_FORGOTTEN = "MemoryForgotten"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """Who changes something, and when: what a change needs that no value of the model holds."""

    now_ms: int
    reported_by: str
    new_event_id: Callable[[], str]

    def event(
        self,
        change: Change,
        namespace: Namespace,
        payload: Mapping[str, Json],
        request: Mapping[str, Json] | None,
        option_id: str | None = None,
    ) -> Event:
        """The event of a change."""
        return Event(
            type=change.value,
            namespace=namespace,
            option_id=option_id,
            payload=payload,
            request=request,
            reported_by=self.reported_by,
            timestamp_ms=self.now_ms,
            event_id=self.new_event_id(),
        )


def option_event(stamp: Stamp, change: Change, namespace: Namespace, option: Option, tau_s: float) -> Event:
    """OptionCreated or OptionUpdated."""
    payload = {
        "option_id": option.option_id,
        "version": option.version,
        "utility": option.utility,
        "payload": json_text(option_document(option, tau_s)),
    }
    request = {"option_id": option.option_id, "spec": spec_document(option.spec)}
    return stamp.event(change, namespace, payload, request, option.option_id)


def retirement_event(stamp: Stamp, namespace: Namespace, option: Option) -> Event:
    """OptionRetired."""
    payload = {"option_id": option.option_id, "version": option.version, "utility": option.utility}
    return stamp.event(Change.OPTION_RETIRED, namespace, payload, {"option_id": option.option_id}, option.option_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What one reported run did. `outcome` is a prototype, FAIL, or `None` for a censored run."""

    option: Option
    start: int | None
    outcome: int | None
    success: bool
    observed: Observation
    utility: float
    model_version: int


def execution_event(stamp: Stamp, namespace: Namespace, run: Execution, final: int | None, recorded: Recorded) -> Event:
    """ExecutionRecorded: sums and prototypes for consumers, the run itself for a replay."""
    option, observed = recorded.option, recorded.observed
    payload = {
        "option_id": option.option_id,
        "policy_version": option.policy_version,
        "start_prototype": recorded.start,
        "final_prototype": final,
        "failed": recorded.outcome == FAIL,
        "terminated_by": run.ending.value,
        "duration": observed.duration,
        "environment_reward": observed.environment_reward,
        "feature_reward": observed.feature_reward,
        "utility": recorded.utility,
    }
    request = {
        **execution_document(run),
        "policy_version": option.policy_version,
        "start_prototype": recorded.start,
        "final_prototype": final,
    }
    return stamp.event(Change.EXECUTION_RECORDED, namespace, payload, request, option.option_id)
