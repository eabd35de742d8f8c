"""The inverted index against the textbook, and against itself built otherwise."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somabrain.memory.fusion import relevance
from somabrain.memory.lexical import LexicalIndex, add_shares, count_living
from somabrain.memory.terms import TERM_CHARS_MAX, terms
from tests.kernels import running
from tests.reference.bm25 import bm25

KERNELS = (add_shares, count_living)

WORDS = st.sampled_from(["mug", "mugs", "desk", "safe", "open", "getUserDetails", "user_id", "東京都", "42", "ß", "-"])
TEXTS = st.lists(st.one_of(st.lists(WORDS, max_size=9).map(" ".join), st.text(max_size=12)), max_size=12)
QUERIES = st.one_of(st.lists(WORDS, max_size=6).map(" ".join), st.text(max_size=12))


def index_of(texts: list[str]) -> LexicalIndex:
    index = LexicalIndex()
    index.append(texts)
    return index


@given(TEXTS, QUERIES, st.data())
def test_scores_are_the_textbooks(texts: list[str], query: str, data: st.DataObject) -> None:
    index = index_of(texts)
    gone = data.draw(st.sets(st.integers(0, len(texts) - 1))) if texts else set()
    for row in sorted(gone):
        index.remove(row)
        index.remove(row)
    expected = bm25([None if row in gone else text for row, text in enumerate(texts)], query)
    assert index.scores(query).tolist() == pytest.approx(expected, rel=1e-12, abs=0)


@given(TEXTS, QUERIES, st.data())
def test_what_is_gone_leaves_no_trace(texts: list[str], query: str, data: st.DataObject) -> None:
    """Appended in parts, with removals and compaction between, or built of the living: the same bits."""
    index = LexicalIndex()
    rows: list[str | None] = []
    left = list(texts)
    while left:
        count = data.draw(st.integers(1, len(left)))
        index.append(left[:count])
        rows += left[:count]
        del left[:count]
        for row in data.draw(st.sets(st.integers(0, len(rows) - 1))):
            index.remove(row)
            rows[row] = None
        if data.draw(st.booleans()):
            keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), dtype=np.bool_)
            index.compact(keep)
            rows = [text for text, kept in zip(rows, keep, strict=True) if kept]
    living = [text for text in rows if text is not None]
    scores = index.scores(query)
    assert len(index) == len(rows)
    assert scores[[text is not None for text in rows]].tolist() == index_of(living).scores(query).tolist()
    assert not scores[[text is None for text in rows]].any()


@given(TEXTS, QUERIES)
def test_scores_lie_between_nothing_and_all(texts: list[str], query: str) -> None:
    scores = index_of(texts).scores(query)
    assert scores.shape == (len(texts),)
    assert ((scores >= 0) & (scores < 1)).all()


@given(TEXTS, QUERIES, st.lists(WORDS, max_size=3))
def test_a_query_scores_what_has_its_words_and_nothing_else(texts: list[str], query: str, more: list[str]) -> None:
    asked = set(terms(query))
    assert [score > 0 for score in index_of(texts).scores(query)] == [bool(asked & set(terms(text))) for text in texts]


@given(st.text())
def test_terms_are_bounded_and_never_empty(text: str) -> None:
    assert all(0 < len(term) <= TERM_CHARS_MAX for term in terms(text))


@given(st.text(alphabet="abcXYZ019_ éßΣ"))
def test_case_and_form_do_not_matter(text: str) -> None:
    """Humps apart, which only case shows."""
    lowered = text.lower()
    assert terms(lowered) == terms(lowered.replace("é", "e\u0301")) == terms(lowered.replace("a", "\uff41"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mugs, boxes and berries", ["mug", "box", "and", "berry"]),
        ("glass bus gas classes houses", ["glass", "bus", "gas", "class", "house"]),
        ("getUserDetails(user_id)", ["getuserdetail", "get", "user", "detail", "user_id", "user", "id"]),
        (
            "HTTPServer v2 snake__case_",
            ["httpserver", "http", "server", "v2", "v", "2", "snake__case", "snake", "case"],
        ),
        ("東京都 に", ["東京", "京都", "に"]),
        ("ภาษาไทย", ["ภา", "าษ", "ษา", "าไ", "ไท", "ทย"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("ﬁne ①", ["fine", "1"]),
        ("don't", ["don", "t"]),
        ("résumé — e\u0301t\u00e9", ["résumé", "été"]),
        ("😀 \x00 --- ___", []),
        ("a" * 70, ["a" * 64]),
    ],
)
def test_terms_by_example(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


def test_nothing_gives_nothing() -> None:
    assert index_of([]).scores("mug").tolist() == []
    assert index_of(["", "---"]).scores("mug").tolist() == [0.0, 0.0]
    assert index_of(["mug"]).scores("").tolist() == [0.0]


def test_a_row_that_never_was_can_not_be_removed() -> None:
    with pytest.raises(IndexError):
        index_of(["mug"]).remove(1)


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 1)), max_size=20), st.floats(0, 1))
def test_relevance_is_bounded_and_grows_with_both(pairs: list[tuple[float, float]], weight: float) -> None:
    cosine, lexical = np.array([one for one, _ in pairs]), np.array([two for _, two in pairs])
    found = relevance(cosine, lexical, weight)
    assert ((found >= weight - 1 - sys.float_info.epsilon) & (found <= 1)).all()
    assert (relevance(np.minimum(cosine + 0.5, 1), lexical, weight) >= found).all()
    assert (relevance(cosine, np.minimum(lexical + 0.5, 1), weight) >= found).all()
    assert relevance(cosine, lexical, 0).tolist() == cosine.tolist()
    assert relevance(cosine, lexical, 1).tolist() == lexical.tolist()


@settings(deadline=None)
@given(TEXTS, QUERIES)
def test_compiled_scores_have_the_same_bits(texts: list[str], query: str) -> None:
    index = index_of([*texts, "mug"])
    index.remove(len(texts))
    with running(KERNELS, compiled=False):
        plain = index.scores(query).tolist()
    with running(KERNELS, compiled=True):
        assert index.scores(query).tolist() == plain
