"""Roles against their definition: what is stored gives back exactly what was given, whatever it looks like."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from somabrain.errors import InvalidRequestError, NumberOutOfRangeError
from somabrain.oak.model import Json
from somabrain.oak.roles import NO_ROLES, ROLES_MAX, Roles, RoleValue, roles

PARTS = ["a", "b", "a b", "apple", "apple 2", "2", "7", " ", "$", "$$", "{", "}", "x", "é", "_", "-", "\n"]
"""Pieces of texts that collide: prefixes of one another, marks, and characters beside which no word ends."""

texts = st.lists(st.sampled_from(PARTS), max_size=6).map("".join)
names = st.sampled_from(["a", "b", "x", "apple", "_", "A1", "x2"])
numbers = st.one_of(st.sampled_from([0, 2, 7, -7, 1.5, 1e-7, 1e15]), st.floats(-1e15, 1e15))
scalars = st.one_of(texts, numbers, st.booleans(), st.none())
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=12
).map(lambda value: json.loads(rfc8785.dumps(value)))


def text_of(value: RoleValue) -> str:
    return value if isinstance(value, str) else rfc8785.dumps(value).decode()


bindings = st.dictionaries(
    names, st.one_of(texts.filter(bool), st.text(min_size=1, max_size=3), numbers), max_size=4
).filter(lambda one: len({text_of(value) for value in one.values()}) == len(one))


def same(one: Json, other: Json) -> bool:
    """Equal, and of the same types throughout."""
    return json.dumps(one) == json.dumps(other)


def _restored(bound: Roles, value: Json) -> tuple[Json, set[str]]:
    unbound: set[str] = set()
    return bound.restore(value, unbound), unbound


def plainly(text: str, bound: Roles) -> str:
    """The definition: the longest value first, each place of the text claimed once."""
    owner: list[str | None] = [None] * len(text)
    begins: dict[int, tuple[str, int]] = {}
    ordered = sorted(bound.values.items(), key=lambda item: (-len(text_of(item[1])), item[0]))
    for name, value in ordered:
        word = text_of(value)
        for begin in range(len(text) - len(word) + 1):
            end = begin + len(word)
            before, after = text[begin - 1 : begin], text[end : end + 1]
            whole = not re.match(r"\w", before) and not re.match(r"\w", after)
            if text[begin:end] == word and whole and not any(owner[begin:end]):
                owner[begin:end] = [name] * len(word)
                begins[begin] = name, end
    stored, place = "", 0
    while place < len(text):
        if place in begins:
            name, place = begins[place]
            stored += f"${name}"
        else:
            stored += "$$" if text[place] == "$" else text[place]
            place += 1
    return stored


@given(bindings, values)
def test_what_is_bound_comes_back_as_it_was(given_roles: dict[str, RoleValue], value: Json) -> None:
    bound = roles(given_roles)
    told, unbound = _restored(bound, bound.bind(value))
    assert same(told, value)
    assert unbound == frozenset()


@given(bindings, st.text())
def test_any_text_comes_back_as_it_was(given_roles: dict[str, RoleValue], text: str) -> None:
    bound = roles(given_roles)
    assert bound.told(bound.bind(text)) == text


@given(bindings, texts)
def test_texts_are_bound_by_the_definition(given_roles: dict[str, RoleValue], text: str) -> None:
    bound = roles(given_roles)
    alone = [name for name, value in bound.values.items() if not isinstance(value, str) and text_of(value) == text]
    assert bound.bind(text) == (f"${{{alone[0]}}}" if alone else plainly(text, bound))


@given(bindings, values, values)
def test_unlike_values_are_stored_unlike(given_roles: dict[str, RoleValue], one: Json, other: Json) -> None:
    bound = roles(given_roles)
    assert same(bound.bind(one), bound.bind(other)) == same(one, other)


@given(bindings, values)
def test_without_the_values_the_names_stay_and_are_told(given_roles: dict[str, RoleValue], value: Json) -> None:
    bound = roles(given_roles)
    told, unbound = _restored(NO_ROLES, bound.bind(value))
    assert unbound <= set(given_roles)
    assert same(told, value) or unbound
    for name in unbound:
        assert f"${name}" in json.dumps(told) or f"${{{name}}}" in json.dumps(told)


@given(values)
def test_without_roles_only_dollars_change(value: Json) -> None:
    stored = NO_ROLES.bind(value)
    assert same(NO_ROLES.told(stored), value)
    if "$" not in json.dumps(value):
        assert same(stored, value)


@given(bindings, st.dictionaries(texts, scalars, max_size=4))
def test_names_of_facts_stay(given_roles: dict[str, RoleValue], facts: dict[str, Any]) -> None:
    assert list(roles(given_roles).bind(facts)) == list(facts)


def test_two_instances_are_stored_as_one() -> None:
    apple = roles({"object": "apple 2", "place": "fridge 1"})
    mug = roles({"object": "mug 1", "place": "fridge 1"})
    stored = apple.bind({"go": "put apple 2 in fridge 1", "on": ["fridge 1", {"what": "apple 2"}]})
    assert stored == {"go": "put $object in $place", "on": ["$place", {"what": "$object"}]}
    assert stored == mug.bind({"go": "put mug 1 in fridge 1", "on": ["fridge 1", {"what": "mug 1"}]})
    assert mug.told(stored)["go"] == "put mug 1 in fridge 1"
    assert _restored(roles({"place": "shelf 3"}), stored["go"]) == ("put $object in shelf 3", frozenset({"object"}))


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("apple 21", "apple 21"),
        ("pineapple 2", "pineapple 2"),
        ("apple 2's", "$o's"),
        ("(apple 2)", "($o)"),
        ("Apple 2", "Apple 2"),
        ("apple_2", "apple_2"),
        ("éapple 2", "éapple 2"),
        ("$apple 2$", "$$$o$$"),
        ("$o", "$$o"),
        ("${o}", "$${o}"),
    ],
)
def test_whole_words(text: str, stored: str) -> None:
    bound = roles({"o": "apple 2"})
    assert bound.bind(text) == stored
    assert bound.told(stored) == text


def test_the_longest_value_first_wherever_it_stands() -> None:
    bound = roles({"short": "red apple", "long": "apple on table"})
    assert bound.bind("red apple on table, red apple") == "red $long, $short"
    nested = roles({"all": "apple 2", "what": "apple", "n": "2"})
    assert nested.bind("apple 2, apple, 2") == "$all, $what, $n"


def test_numbers_and_their_texts_are_told_apart() -> None:
    bound = roles({"n": 7})
    stored = bound.bind({"number": 7, "text": "7", "within": "floor 7", "float": 7.5, "true": True})
    assert stored == {"number": "$n", "text": "${n}", "within": "floor $n", "float": 7.5, "true": True}
    other = roles({"n": 8})
    assert other.told(stored) == {"number": 8, "text": "8", "within": "floor 8", "float": 7.5, "true": True}
    assert roles({"n": "7"}).bind([7, "7"]) == [7, "$n"]
    assert roles({"n": 1}).bind([True, 1, 1.0]) == [True, "$n", "$n"]
    assert roles({"n": 1.0}).values == {"n": 1}


def test_what_is_no_mark_is_told_as_it_stands() -> None:
    assert _restored(roles({"a": "x"}), ["$5", "$", "${b c}", "$a"]) == (["$5", "$", "${b c}", "x"], frozenset())


@pytest.mark.parametrize(
    "values",
    [
        {"": "x"},
        {"1a": "x"},
        {"a-b": "x"},
        {"é": "x"},
        {"a\n": "x"},
        {"a" * 65: "x"},
        {"a": ""},
        {"a": "x" * 257},
        {"a": True},
        {"a": None},
        {"a": ["x"]},
        {"a": "x", "b": "x"},
        {"a": 7, "b": "7"},
        {"a": 7, "b": 7.0},
        {f"r{number}": str(number) for number in range(ROLES_MAX + 1)},
    ],
)
def test_what_can_be_no_roles_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        roles(values)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 2**53, -1e300])
def test_numbers_that_json_cannot_keep_are_refused(number: float) -> None:
    with pytest.raises(NumberOutOfRangeError):
        roles({"n": number})


def test_as_many_roles_as_there_may_be() -> None:
    most = {f"r{number}": f"v{number}" for number in range(ROLES_MAX)} | {"a" * 64: "x" * 256}
    del most["r0"]
    assert roles(most).bind("v1 v10 v15") == "$r1 $r10 $r15"
