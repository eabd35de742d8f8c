"""What people call options that the service makes by itself. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import rfc8785

from somabrain.oak.model import NAME_MAX, Facts, Json, Option, Source, State

Told = Callable[[Json], Json]
"""A stored JSON value as an answer tells it."""


def action_name(action: Json) -> str:
    """An action by itself, an object in its RFC 8785 form, cut; empty where the action is the empty text."""
    return (action if isinstance(action, str) else rfc8785.dumps(action).decode())[:NAME_MAX]


def facts_name(values: Mapping[str, Json]) -> str:
    """Facts by name, cut."""
    return ", ".join(f"{key}={value}" for key, value in sorted(values.items()))[:NAME_MAX]


def option_name(option: Option, told: Told) -> str:
    """As `told_name`."""
    spec, source = option.spec, option.source.value
    return told_name(
        told, option_id=option.option_id, name=spec.name, source=source, policy=spec.policy, target=spec.target
    )


def told_name(
    told: Told, *, option_id: str, name: str, source: str, policy: Mapping[str, Json], target: State | None
) -> str:
    """An option's name as an answer tells it: a declared one's is its owner's, others are made of what is told.

    A stored name is cut somewhere, perhaps within a mark; so it is made anew.
    """
    if source == Source.PRIMITIVE:
        return action_name(told(policy["action"])) or option_id
    if source == Source.DISCOVERED and isinstance(target, Facts):
        return facts_name(told(target.values))
    return name
