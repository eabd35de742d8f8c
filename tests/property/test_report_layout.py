"""Where the states of a map stand."""

from __future__ import annotations

from itertools import chain, permutations

from hypothesis import given
from hypothesis import strategies as st

from somabrain.report.layout import WIDTH, crossings, layered, placed

TIMES = st.dictionaries(st.integers(0, 60), st.floats(0, 30), max_size=24)


@given(times=TIMES, data=st.data())
def test_every_state_has_a_place_of_its_own(times: dict[int, float], data: st.DataObject) -> None:
    pairs = [(a, b) for a in times for b in times if a != b]
    moves = data.draw(st.dictionaries(st.sampled_from(pairs), st.integers(1, 50), max_size=40)) if pairs else {}
    places = placed(times, moves)
    assert set(places) == set(times)
    assert len(set(places.values())) == len(places)
    rows = layered(times)
    assert all(1 <= len(row) <= WIDTH for row in rows)
    flat = list(chain.from_iterable(rows))
    assert flat == sorted(times, key=lambda state: (times[state], state))
    assert {state: row for state, (row, _) in places.items()} == {s: k for k, row in enumerate(rows) for s in row}
    put = [sorted(row, key=lambda state: places[state][1]) for row in rows]
    assert crossings(put, moves) <= crossings(rows, moves)
    shuffled = dict(sorted(times.items(), reverse=True))
    assert placed(shuffled, dict(sorted(moves.items(), reverse=True))) == places


def test_states_that_come_at_one_time_share_a_row() -> None:
    assert layered({1: 0.0, 2: 0.0, 3: 5.0, 4: 5.1, 5: 9.0}) == [[1, 2], [3, 4], [5]]
    assert [len(row) for row in layered(dict.fromkeys(range(6), 0.0))] == [3, 3]
    assert layered({}) == []


def test_what_crosses_is_put_straight() -> None:
    times = {0: 0.0, 1: 0.0, 2: 0.0, 10: 1.0, 11: 1.0, 12: 1.0}
    for ends in permutations((10, 11, 12)):
        moves = dict.fromkeys(zip((0, 1, 2), ends, strict=True), 5)
        places = placed(times, moves)
        rows = [sorted((s for s, (row, _) in places.items() if row == k), key=lambda s: places[s][1]) for k in (0, 1)]
        assert crossings(rows, moves) == 0
