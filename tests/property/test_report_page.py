"""The page holds hostile text as text, loads nothing, and is a whole document whatever was found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from somabrain.report import Forecast, Names, Skill, findings, labels, page, sentences
from somabrain.report.words import clean, escaped, shortened
from tests.reference.planner_worlds import seeded
from tests.report_worlds import AGENTS, known, made_run, names

VOID = {"meta", "br", "wbr", "link", "img", "input", "hr"}
LONG = "x" * 10_000
HOSTILE = [
    "<script>alert(1)</script>",
    "</style><script src=//evil.example/x.js></script>",
    '" onload="alert(1)',
    "' onmouseover='alert(1)",
    "</title></svg><img src=x onerror=alert(1)>",
    "]]><!--",
    "a\x00b",
    "\u202egnp.exe",
    "\u2066isolated",
    "\ud800",
    "&lt;script&gt;&#x3c;",
    "{{7*7}}${7*7}",
    "javascript:alert(1)",
    "\u2028line",
    "",
    "   ",
    LONG,
    "<" * 5_000,
]
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=60))
SCALARS = st.one_of(TEXTS, st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False))
STATES = st.one_of(TEXTS, st.dictionaries(TEXTS, SCALARS, max_size=5))
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]")


class Reader(HTMLParser):
    """Collects what a page is made of, and holds that it is well nested."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def check(text: str) -> Reader:
    """A page loads nothing and runs nothing."""
    assert not UNSEEN.search(text)
    text.encode()
    reader = read(text)
    assert {tag for tag, _ in reader.tags} <= TAGS
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in reader.tags:
        assert not any(name.startswith("on") or name in {"src", "style", "xlink:href"} for name in attributes)
        if "href" in attributes:
            assert tag == "a"
            assert str(attributes["href"]).removeprefix("#") in ids
    assert "url(" not in text.replace("url(#to-", "")
    assert "@import" not in text
    return reader


PLAIN = page(findings(known([made_run(seeded(k)) for k in range(300)])), names(), made_at="2026-01-01 00:00 UTC")
TAGS = {tag for tag, _ in read(PLAIN).tags} | {
    "details",
    "summary",
    "ul",
    "li",
    "article",
    "h3",
    "em",
    "i",
    "circle",
    "wbr",
}


def test_a_plain_page_loads_and_runs_nothing() -> None:
    reader = check(PLAIN)
    assert "script" not in TAGS
    heads = [tag for tag, _ in reader.tags if re.fullmatch("h[1-6]", tag)]
    assert heads.count("h1") == 1
    tables = sum(tag == "table" for tag, _ in reader.tags)
    assert tables == sum(tag == "caption" for tag, _ in reader.tags) > 4
    pictures = [attributes for tag, attributes in reader.tags if tag == "svg"]
    assert all(one.get("role") == "img" or one.get("aria-hidden") == "true" for one in pictures)
    policies = [a["content"] for _, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    assert str(policies[0]).startswith("default-src 'none'; style-src 'sha256-")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    states=st.lists(STATES, min_size=6, max_size=6),
    actions=st.lists(TEXTS, min_size=3, max_size=3),
    others=st.lists(TEXTS, min_size=5, max_size=5),
    seed=st.integers(0, 1_000),
)
def test_what_users_wrote_stays_text_and_short(
    states: list[Mapping[str, object] | str], actions: list[str], others: list[str], seed: int
) -> None:
    random = seeded(seed)
    agent, namespace, name, goal, when = others
    runs = [replace(run, agent=agent if run.agent == AGENTS[1] else None) for run in map(made_run, [random] * 40)]
    skill = Skill(
        option_id=name,
        name=name,
        source="declared",
        target=states[0],
        executions=3,
        evidence=2.9,
        success_rate=0.5,
        lower=0.1,
        upper=0.9,
        duration=2.0,
        forecast=Forecast(target=0, starts=2, visits=9, probability=0.5, duration=1e9),
    )
    world = replace(known(runs, namespace=namespace), skills=[skill], goal=goal)
    found = findings(world)
    told = Names(states=labels(dict(enumerate(states))), actions=dict(enumerate(actions)))
    reader = check(page(found, told, made_at=when))
    style = next(text for text in reader.texts if ":root" in text)
    assert max(len(text) for text in reader.texts if text is not style) < 2_000
    for attributes in (attributes for _, attributes in reader.tags):
        assert all(len(value or "") < 1_000 for value in attributes.values())
    assert all(len(one) < 1_000 and not UNSEEN.search(one) and "\n" not in one for one in sentences(found, told))


@given(text=TEXTS, most=st.integers(2, 80))
def test_names_are_cut_in_the_middle_and_escaped(text: str, most: int) -> None:
    short = shortened(text, most)
    assert len(short) <= most
    assert not UNSEEN.search(short)
    assert "\n" not in short
    assert not set("<>\"'") & set(escaped(text, most))
    whole = clean(text)
    if len(whole) <= most and len(text) <= most:
        assert short == whole


@given(states=st.dictionaries(st.integers(0, 50), STATES, max_size=12))
def test_labels_tell_apart_what_facts_tell_apart(states: dict[int, Mapping[str, object] | str]) -> None:
    found = labels(states)
    assert set(found) == set(states)
    for number, label in found.items():
        state = states[number]
        if not isinstance(state, str):
            assert len(label.facts) <= min(4, len(state))
            assert bool(label.facts) == bool(state)
            assert {name for name, _ in label.facts} <= set(state)
    plain = {number: {"at": f"room {number}", "day": "Monday"} for number in range(9)}
    assert {one.facts for one in labels(plain).values()} == {(("at", f"room {number}"),) for number in range(9)}
