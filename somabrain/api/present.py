"""Nouns as answers. Floats are rounded here; what callers gave (facts, policy, metadata) is given back as it is.

Facts and actions are stored with their roles named and each dollar sign doubled (`somabrain.oak.roles`); answers put
the request's values back, and a dollar sign for two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from somabrain.api.writes import rounded
from somabrain.memory.model import Memory
from somabrain.oak.changes import Recorded
from somabrain.oak.documents import option_document, timestamp
from somabrain.oak.model import FAIL, Facts, Json, ModelRow, Option, PlanStep, Reason, Route, Source, State
from somabrain.oak.naming import Told, option_name, told_name
from somabrain.oak.planning import Answer, Doing, Named
from somabrain.oak.roles import NO_ROLES, Roles
from somabrain.oak.rows import KnownRow
from somabrain.ports import JournalEntry, NamespaceRecord, StoredPrototype

_OPTION_FLOATS = ("tau_s", "utility", "success_rate", "mean_duration")
_PLAIN = NO_ROLES.told


class Telling:
    """Stored values as the answer to one request tells them; gathers the roles that have no value there."""

    def __init__(self, roles: Roles) -> None:
        self._roles = roles
        self._unbound: set[str] = set()

    def __call__(self, value: Json) -> Json:
        """The value with the request's values put back."""
        return self._roles.restore(value, self._unbound)

    @property
    def unbound(self) -> list[str]:
        """The roles that were told by their names so far, sorted."""
        return sorted(self._unbound)


def option(value: Option, tau_s: float) -> dict[str, Any]:
    """An option."""
    document = option_document(value, tau_s)
    document["name"] = option_name(value, _PLAIN)
    target = document["target"]
    if "text" in target:
        document["target"] = {"text": target["text"]}
    elif "features" in target:
        document["target"] = _PLAIN(target)
    if value.source is Source.PRIMITIVE:
        document["policy"] = _PLAIN(document["policy"])
    for name in _OPTION_FLOATS:
        if document[name] is not None:
            document[name] = rounded(document[name])
    return document


def recorded(value: Recorded) -> dict[str, Any]:
    """What a run taught."""
    rate = value.option.success_rate
    return {
        "option_id": value.option.option_id,
        "start_prototype": value.start,
        "outcome": _outcome(value.outcome),
        "success": value.success,
        "environment_reward": rounded(value.observed.environment_reward),
        "feature_reward": rounded(value.observed.feature_reward),
        "utility": rounded(value.utility),
        "option": {
            "utility": rounded(value.option.utility),
            "executions": value.option.lifetime.executions,
            "success_rate": None if rate is None else rounded(rate),
        },
        "model_version": value.model_version,
    }


def row(known: KnownRow, states: Mapping[int, State]) -> dict[str, Any]:
    """A row of an option's model."""
    value = known.row
    return {
        "start": prototype(value.start, states[value.start]),
        "outcomes": outcomes(value, states),
        "duration": rounded(value.duration),
        "reward": rounded(value.reward),
        "feature_reward": rounded(value.feature),
        "utility": rounded(known.utility),
        "executions": value.executions,
        "evidence": rounded(known.evidence),
        "source": known.source,
    }


def outcomes(value: ModelRow, states: Mapping[int, State]) -> list[dict[str, Any]]:
    """A row's outcomes, FAIL first."""
    return [
        {
            "outcome": _outcome(y),
            **({} if y == FAIL else _facts(states[y])),
            "probability": rounded(p),
            "discounted_reach": rounded(reach),
        }
        for y, p, reach in zip(value.outcomes, value.probability, value.reach, strict=True)
    ]


def prototype(number: int, state: State, told: Told = _PLAIN) -> dict[str, Any]:
    """An abstract state where it is referred to."""
    return {"prototype": number, **_facts(state, told)}


def state_summary(stored: StoredPrototype) -> dict[str, Any]:
    """An abstract state in a list."""
    known = stored.prototype
    return {
        "prototype": known.number,
        "kind": known.state.kind.value,
        **_facts(known.state),
        "visits": stored.visits,
    }


def plan(answer: Answer, planning_ms: float, roles: Roles) -> dict[str, Any]:
    """A plan, to a request with these roles."""
    found, told = answer.plan, Telling(roles)
    route = found.route
    body = {
        "reached": route is not None,
        "reason": None if found.reason is None else found.reason.value,
        **_route(route, answer, told),
        "policy_probability": rounded(found.policy_probability),
        "cumulative_utility": 0.0 if route is None else rounded(route.utility),
        "start": {"prototype": answer.start, "similarity": rounded(answer.start_similarity)},
        "goal": {
            "matched": answer.matched,
            "best_similarity": None if answer.best_similarity is None else rounded(answer.best_similarity),
        },
        "advice": found.advice.value,
        "alternatives": [_route(other, answer, told) for other in found.alternatives],
        "nearest": [
            {**prototype(near.number, near.state, told), "differs": list(near.differs)} for near in answer.nearest
        ],
        "frontier": [
            {**prototype(one.number, one.state, told), "actions": told(list(one.actions))} for one in answer.frontier
        ],
        "model_version": answer.model_version,
        "planning_ms": rounded(planning_ms),
    }
    return {**body, "unbound": told.unbound}


def planned(answer: Answer) -> tuple[str, str]:
    """The labels of the plan metrics: result and reason."""
    reason = answer.plan.reason
    if reason is None or reason is Reason.ALREADY_AT_TARGET:
        return "reached", "" if reason is None else reason.value
    return "not_reached", reason.value


def _route(route: Route | None, answer: Answer, told: Told) -> dict[str, Any]:
    steps = () if route is None else route.steps
    return {
        "options": [step.option_id for step in steps],
        "steps": [_step(step, answer, told) for step in steps],
        "success_probability": 0.0 if route is None else rounded(route.success_probability),
        "success_probability_lower": 0.0 if route is None else rounded(route.success_probability_lower),
        "expected_duration": 0.0 if route is None else rounded(route.duration),
        "expected_reward": 0.0 if route is None else rounded(route.reward),
        "cost": 0 if route is None else route.cost,
    }


def _step(step: PlanStep, answer: Answer, told: Told) -> dict[str, Any]:
    taken = answer.options[step.option_id]
    return {
        "option_id": step.option_id,
        "name": _name(taken, told),
        "source": taken.source,
        "from": prototype(step.start, answer.states[step.start], told),
        "to": prototype(step.end, answer.states[step.end], told),
        "probability": rounded(step.probability),
        "probability_lower": rounded(step.probability_lower),
        "expected_duration": rounded(step.duration),
        "expected_reward": rounded(step.reward),
        "utility": rounded(step.utility),
        "executions": step.executions,
        "policy": _policy(taken, told),
    }


def _name(value: Named, told: Told) -> str:
    return told_name(
        told,
        option_id=value.option_id,
        name=value.name,
        source=value.source,
        policy=value.policy,
        target=value.target,
    )


def _policy(value: Named, told: Told) -> Mapping[str, Any]:
    """A declared option's policy is its owner's; a primitive's is its action."""
    policy: Mapping[str, Any] = told(value.policy) if value.source == Source.PRIMITIVE else value.policy
    return policy


def doing(value: Doing, roles: Roles) -> dict[str, Any]:
    """What to do now, to a request with these roles."""
    decision, option, told = value.decision, value.option, Telling(roles)
    body = {
        "done": decision.done,
        "action": None if option is None else told(option.action),
        "option_id": None if option is None else option.option_id,
        "name": None if option is None else _name(option, told),
        "source": None if option is None else option.source,
        "policy": None if option is None else _policy(option, told),
        "switched": decision.switched,
        "reason": None if decision.reason is None else decision.reason.value,
        "success_probability": rounded(decision.success_probability),
        "expected_duration": rounded(decision.expected_duration),
        "executions": decision.executions,
        "candidates": [
            {
                "action": told(named.action),
                "option_id": one.option_id,
                "success_probability": rounded(one.success_probability),
                "executions": one.executions,
            }
            for one, named in value.candidates
        ],
        "model_version": value.model_version,
    }
    return {**body, "unbound": told.unbound}


def namespaces(records: Sequence[NamespaceRecord]) -> dict[str, Any]:
    """A tenant's namespaces."""
    return {
        "namespaces": [
            {
                "namespace": record.namespace.value,
                "prototypes": record.prototypes,
                "options": record.options,
                "model_version": record.model_version,
            }
            for record in records
        ]
    }


def event(entry: JournalEntry) -> dict[str, Any]:
    """A journal entry."""
    return {
        "sequence": entry.sequence,
        "event_id": entry.event.event_id,
        "type": entry.event.type,
        "tenant_id": entry.tenant.value,
        "namespace": entry.event.namespace.value,
        "timestamp": timestamp(entry.event.timestamp_ms),
        "option_id": entry.event.option_id,
        "payload": entry.event.payload,
    }


def memory(value: Memory, namespace: str) -> dict[str, Any]:
    """A memory."""
    return {
        **_memory(value, namespace),
        "expires_at": None if value.expires_at_ms is None else timestamp(value.expires_at_ms),
    }


def hit(value: Memory, score: float, namespace: str) -> dict[str, Any]:
    """A memory that was recalled."""
    return {**_memory(value, namespace), "score": rounded(score)}


def _memory(value: Memory, namespace: str) -> dict[str, Any]:
    return {
        "memory_id": value.memory_id,
        "content": value.content,
        "namespace": namespace,
        "metadata": dict(value.metadata),
        "importance": rounded(value.importance),
        "created_at": timestamp(value.created_at_ms),
    }


def _outcome(y: int | None) -> int | str | None:
    return "FAIL" if y == FAIL else y


def _facts(state: State, told: Told = _PLAIN) -> dict[str, Any]:
    if isinstance(state, Facts):
        return {"facts": told(state.values)}
    return {} if state.text is None else {"text": state.text}
