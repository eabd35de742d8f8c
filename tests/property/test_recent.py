"""The bounded cache against a list that is gone through."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from somabrain.recent import Recent

KEYS = st.integers(0, 5)
WEIGHTS = st.integers(0, 9)
STEPS = st.one_of(
    st.tuples(st.just("get"), KEYS, WEIGHTS),
    st.tuples(st.just("reweigh"), KEYS, WEIGHTS),
    st.tuples(st.just("drop"), KEYS, st.just(0)),
)


@given(
    steps=st.lists(STEPS, max_size=40),
    most=st.integers(1, 4),
    heaviest=st.one_of(st.none(), st.integers(0, 20)),
)
def test_it_forgets_what_was_used_longest_ago(
    steps: list[tuple[str, int, int]], most: int, heaviest: int | None
) -> None:
    cache: Recent[int, int] = Recent(most, weigh=lambda value: value, heaviest=heaviest)
    kept: list[tuple[int, int, int]] = []
    for verb, key, weight in steps:
        mine = [one for one in kept if one[0] == key]
        others = [one for one in kept if one[0] != key]
        if verb == "get":
            made = cache.get(key, lambda weight=weight: weight)  # type: ignore[misc]
            assert made == (mine[0][1] if mine else weight)
            kept = [*others, mine[0] if mine else (key, weight, weight)]
        elif verb == "reweigh":
            cache.reweigh(key, weight)
            if mine and mine[0][2] != weight:
                kept = [*others, (key, mine[0][1], weight)]
        else:
            cache.drop(key)
            kept = others
        while len(kept) > most or (heaviest is not None and len(kept) > 1 and sum(one[2] for one in kept) > heaviest):
            kept.pop(0)
        assert len(cache) == len(kept)
        assert cache.weight == sum(one[2] for one in kept)
    for key, value, _ in kept:
        assert cache.get(key, _absent) == value


def _absent() -> int:
    raise AssertionError
