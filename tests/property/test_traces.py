"""Claims about traces of tool calls that hold whatever was called."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from somabrain.traces import Format, converted
from somabrain.traces.facts import CALLED, CALLED_MAX

Json = dict[str, Any]
Turn = list[tuple[str, bool | None]]

turns: st.SearchStrategy[list[Turn]] = st.lists(
    st.lists(st.tuples(st.sampled_from(("look", "book", "pay")), st.sampled_from((True, False, None))), max_size=4),
    max_size=6,
).filter(any)


def talk(found: list[Turn], order: st.DataObject | None = None) -> list[Json]:
    """The messages of these calls; ids repeat from turn to turn. `order` shuffles the results of each turn."""
    messages: list[Json] = []
    for turn in found:
        calls = [
            {"id": str(place), "function": {"name": name, "arguments": ""}} for place, (name, _) in enumerate(turn)
        ]
        messages.append({"role": "assistant", "tool_calls": calls})
        results: list[Json] = [
            {"role": "tool", "tool_call_id": str(place), "content": "fine" if ok else "Error: no"}
            for place, (_, ok) in enumerate(turn)
            if ok is not None
        ]
        messages += results if order is None else order.draw(st.permutations(results))
    return messages


def body(messages: list[Json]) -> Json:
    (one,) = converted({"id": "x", "messages": messages})
    assert one.body is not None, one.refusal
    return one.body


@given(turns)
def test_each_call_is_a_step_with_what_its_result_says(found: list[Turn]) -> None:
    steps = body(talk(found))["steps"]
    assert [(step["action"], step.get("ok")) for step in steps] == [call for turn in found for call in turn]


@given(turns, st.data())
def test_the_order_of_results_within_a_turn_says_nothing(found: list[Turn], data: st.DataObject) -> None:
    assert body(talk(found, data)) == body(talk(found))


@given(turns, st.data())
def test_a_result_that_is_lost_makes_no_call_fail(found: list[Turn], data: st.DataObject) -> None:
    messages = talk(found)
    results = [place for place, message in enumerate(messages) if message["role"] == "tool"]
    lost = data.draw(st.sets(st.sampled_from(results))) if results else set()
    kept = body([message for place, message in enumerate(messages) if place not in lost])["steps"]
    for before, after in zip(body(messages)["steps"], kept, strict=True):
        assert after.get("ok") in {None, before.get("ok")}


@given(turns)
def test_counts_never_fall_and_stay_small_and_a_state_is_what_came_before(found: list[Turn]) -> None:
    whole = body(talk(found))
    states = [step["state"]["features"] for step in whole["steps"]] + [whole["final"]["features"]]
    for before, after in pairwise(states):
        counts = {name: value for name, value in after.items() if name.startswith(CALLED)}
        assert all(before.get(name, 0) <= value <= CALLED_MAX for name, value in counts.items())
    for number in range(1, len(found) + 1):
        if any(found[:number]):
            start = body(talk(found[:number]))
            steps = len(start["steps"])
            assert start["steps"] == whole["steps"][:steps]
            assert start["final"]["features"] == states[steps]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = (
    "id messages traj resourceSpans steps final final_state observations actions rewards terminations success roles "
    "goal agent target dest terminate reward task_id"
)
fields = st.sampled_from(NAMES.split())


@given(values | st.dictionaries(fields, values), st.sampled_from((None, *Format)))
def test_whatever_a_document_is_it_is_converted_or_refused(document: Any, form: Format | None) -> None:
    for one in converted(document, form):
        assert (one.body is None) != (one.refusal is None)


walks = st.integers(1, 4).flatmap(
    lambda count: st.fixed_dictionaries(
        {
            "observations": st.lists(st.integers(-9, 9) | st.lists(values, max_size=2), min_size=count, max_size=6),
            "actions": st.lists(values, min_size=count, max_size=count),
            "rewards": st.lists(st.floats() | st.integers(), min_size=count, max_size=count),
            "terminations": st.lists(st.booleans(), min_size=count, max_size=count),
        }
    )
)


@given(walks)
def test_a_walk_keeps_every_step_or_is_refused(walk: Json) -> None:
    (one,) = converted(walk, Format.MINARI)
    if one.body is not None:
        assert [step["reward"] for step in one.body["steps"]] == [float(reward) for reward in walk["rewards"]]
        assert len(walk["observations"]) == len(one.body["steps"]) + 1
        assert one.body["terminated"] is walk["terminations"][-1]
