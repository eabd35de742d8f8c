"""Observations and actions of environments (Gymnasium's spaces) as facts and actions. Pure; knows no library of arrays.

An array or a number of one is whatever has `tolist`. Part of the client and of the service, so that an observation has
the same facts whoever tells of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

Fact = str | int | float | bool

WHOLE = "observation"
"""What the facts of an observation without names are called."""
FACTS_MAX = 64
"""Most facts of a state (DESIGN §5.1)."""
SUCCESS_INFO = ("is_success", "success")
"""What environments that know of success call it in what they tell beside the last observation."""
SAFE_INTEGER = 2**53 - 1
"""Integers beyond it are not the same in every JSON reader (RFC 8785 §3.2.2.3)."""


def facts_of_observation(observation: Any) -> dict[str, Fact]:
    """An observation's texts, booleans and numbers: each a fact whose name is its place, as in `observation.2`.

    Names of a dict's entries stand for themselves: `{"at": [1, 2]}` has the facts `at.0` and `at.1`. Raises
    `ValueError` for more than 64 facts, for none, for two of one name, and for what JSON does not have.
    """
    facts: dict[str, Fact] = {}
    for name, value in _leaves(observation, ""):
        if name in facts:
            message = f"two values of an observation are called {name!r}"
            raise ValueError(message)
        if len(facts) == FACTS_MAX:
            message = f"an observation of more than {FACTS_MAX} values: say which facts of it matter"
            raise ValueError(message)
        facts[name] = value
    if not facts:
        raise ValueError("an observation without any value")
    return facts


def action_of_environment(action: Any) -> str:
    """An action as text: a text as it is, else its JSON, so that `json.loads` gives it back: `"3"`, `"[0.5, -1.0]"`.

    Raises `ValueError` for what JSON does not have.
    """
    plain = _plain(action)
    return plain if isinstance(plain, str) else json.dumps(_checked(plain), allow_nan=False)


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Fact]]:
    plain = _plain(value)
    if isinstance(plain, Mapping):
        for key, item in plain.items():
            yield from _leaves(item, f"{name}.{key}" if name else str(key))
    elif isinstance(plain, list | tuple):
        for place, item in enumerate(plain):
            yield from _leaves(item, f"{name or WHOLE}.{place}")
    else:
        yield name or WHOLE, _checked(plain)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _checked(value: Any) -> Any:
    """The value, where it or what is in it is a text, a boolean or a number that JSON has."""
    if isinstance(value, list | tuple):
        return [_checked(_plain(item)) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _checked(_plain(item)) for name, item in value.items()}
    if isinstance(value, str | bool):
        return value
    if isinstance(value, int) and abs(value) <= SAFE_INTEGER:
        return value
    if isinstance(value, float) and math.isfinite(value) and abs(value) <= SAFE_INTEGER:
        return value
    message = f"{value!r} is neither a text, a boolean nor a finite number below 2^53"
    raise ValueError(message)
