"""`somabrain report` as its users meet it, and its page in a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from starlette.testclient import TestClient

from common.config.settings import Settings
from somabrain.bootstrap import make_app
from tests.conftest import missing, plain_settings
from tests.property.test_report_page import HOSTILE
from tests.reference.planner_worlds import seeded
from tests.report_worlds import made_run

ROOT = Path(__file__).parents[2]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
PHONE = {"width": 360, "height": 740}
AA = 4.5
"""The least contrast of text (WCAG 2.2, 1.4.3)."""


def report(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    own = {"COLUMNS": "120", "PYTHONPATH": str(ROOT), "SOMABRAIN_DATA_DIR": str(folder / "data"), "EMBEDDER": "hashed"}
    return subprocess.run(
        [sys.executable, "-m", "somabrain.cli", "report", *arguments],
        cwd=folder,
        env={**kept, **own, **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def episodes(count: int, seed: int = 1, **changes: Any) -> list[dict[str, Any]]:
    random, found = seeded(seed), []
    for number in range(count):
        run = made_run(random)
        steps = [
            {"state": fact(at), "action": f"action_{action}", "turn": turn}
            for at, action, turn in zip(run.states, run.actions, run.turns, strict=False)
        ]
        last = {"final": fact(run.states[-1]), "success": run.success, "group": run.group, "agent": run.agent}
        found.append({"episode_id": f"run-{number}", "steps": steps, **last, **changes})
    return found


def fact(number: int) -> dict[str, Any]:
    return {"features": {"room": f"room {number}", "lit": number % 2 == 0, "building": "main"}}


def post(client: TestClient, namespace: str, bodies: list[dict[str, Any]]) -> None:
    for first in range(0, len(bodies), 100):
        some = {"namespace": namespace, "episodes": bodies[first : first + 100]}
        answer = client.post("/oak/episodes", json=some)
        assert answer.status_code == 200, answer.text[:500]


def hostile() -> list[dict[str, Any]]:
    """Episodes whose every word wants out of the page, as far as the service takes them."""
    words = [word[:250] for word in HOSTILE if word and "\ud800" not in word]
    bodies = []
    for number in range(40):
        word, other = words[number % len(words)], words[(number + 1) % len(words)]
        steps = [
            {"state": {"features": {word: other, "n": number % 3}}, "action": word or "x"},
            {"state": {"features": {other: word}}, "action": {"tool": word, "arguments": [other]}},
        ]
        final = {"features": {"end": word}}
        last = {"final": final, "success": number % 2 == 0, "agent": word.replace("\x00", "")[:200] or None}
        bodies.append({"episode_id": f"run-{number}", "steps": steps, **last})
    return bodies


WORLDS = {
    "many": episodes(400),
    "two": episodes(2),
    "unknown": episodes(12, success=None),
    "winners": episodes(40, success=True),
    "losers": episodes(40, success=False, terminated=True),
    "hostile": hostile(),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A database with these worlds, while a server has it open."""
    folder = tmp_path_factory.mktemp("reports")
    settings: Settings = plain_settings(folder)
    with TestClient(make_app(settings), base_url="http://localhost") as client:
        for namespace, bodies in WORLDS.items():
            post(client, namespace, bodies)
        target = {"features": {"room": "room 3"}}
        made = client.post("/oak/option/create", json={"namespace": "many", "name": "to room 3", "target": target})
        assert made.status_code == 201, made.text
        yield folder


@pytest.fixture(scope="module")
def pages(folder: Path) -> dict[str, Path]:
    found = {}
    for namespace in WORLDS:
        found[namespace] = folder / f"{namespace}.html"
        done = report(folder, "-n", namespace, "-o", found[namespace].name)
        assert done.returncode == 0, done.stderr
    return found


def test_it_tells_the_most_useful_and_where_the_page_is(folder: Path) -> None:
    done = report(folder, "--namespace", "many")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stdout
    assert lines[0].startswith("400 runs: ")
    assert re.search(r"“action_\d”", lines[1])
    assert "of the turns" in lines[2]
    assert lines[3] == f"The page: {folder / 'report.html'}"
    assert "reading and scoring runs" in done.stderr
    assert (folder / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_same_as_json(folder: Path) -> None:
    done = report(folder, "-n", "many", "-o", "again.html", "--json")
    told = json.loads(done.stdout)
    assert told["path"] == str(folder / "again.html")
    assert len(told["summary"]) == 3
    assert told["findings"]["runs"] == 400
    assert told["findings"]["deaths"]["forks"][0]["state"] is not None
    first = str(told["findings"]["deaths"]["forks"][0]["state"])
    assert told["states"][first]["building"] == "main"
    assert set(told["actions"].values()) == {"action_0", "action_1", "action_2"}


def test_a_goal_is_what_success_means(folder: Path) -> None:
    done = report(folder, "-n", "unknown", "--goal", "room=room 2", "--goal", "lit=true", "--json", "-o", "goal.html")
    told = json.loads(done.stdout)["findings"]
    assert (told["unknown"], told["goal"]) == (0, "lit=True, room=room 2")
    assert 0 < told["overall"]["successes"] < 12
    assert report(folder, "-n", "unknown", "--goal", "room").returncode == 2


def test_what_is_wrong_is_told_in_one_line(folder: Path, tmp_path: Path) -> None:
    cases: list[tuple[int, str, tuple[str, ...], Mapping[str, str]]] = [
        (1, "tenant local has no namespace nowhere", ("-n", "nowhere"), {}),
        (1, "tenant nobody has no namespace default", ("--tenant", "nobody"), {}),
        (2, "no database", (), {"SOMABRAIN_DATA_DIR": str(tmp_path / "none")}),
        (2, "no/such/folder.html", ("-n", "two", "-o", "no/such/folder.html"), {}),
        (2, "namespace is 1 to 64", ("-n", "no name"), {}),
    ]
    for status, said, arguments, settings in cases:
        done = report(folder, *arguments, **settings)
        lines = [line for line in done.stderr.splitlines() if line.startswith("somabrain: ")]
        assert (done.returncode, len(lines)) == (status, 1), (arguments, done.stdout, done.stderr)
        assert said in lines[0]
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "none").exists()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("SOMABRAIN_REQUIRE_SERVERS") == "1":
            pytest.fail("no chromium to look at pages with")
        missing("no chromium to look at pages with")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@dataclass(slots=True)
class Seen:
    """A page that is open, and what it asked for and complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@contextmanager
def opened(browser: Browser, path: Path, **options: Any) -> Iterator[Seen]:
    """The page, with nothing to be had from anywhere."""
    context = browser.new_context(**options)
    try:
        seen = Seen(context.new_page())
        context.route(re.compile("^(?!file:)"), lambda route: route.abort())
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        seen.page.on("console", lambda message: seen.complaints.append(message.text))
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        seen.page.on("dialog", lambda dialog: seen.complaints.append(dialog.message))
        seen.page.goto(path.as_uri())
        yield seen
    finally:
        context.close()


CONTRASTS = """() => {
  const numbers = text => (text.match(/[\\d.]+/g) || []).map(Number)
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [.2126, .7152, .0722][k], 0)
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const found = numbers(getComputedStyle(at).backgroundColor)
      if (found.length === 3 || found[3] > 0) return found
    }
    return [255, 255, 255]
  }
  const found = []
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())
    if (!own || !element.getClientRects().length) continue
    const style = getComputedStyle(element)
    let back = ground(element), ink = numbers(style.color)
    if (element.closest('svg')) {
      if (!element.matches('text')) continue
      ink = numbers(style.fill)
      const box = element.closest('g.node')
      if (box) back = numbers(getComputedStyle(box.querySelector('rect')).fill)
    }
    const [a, b] = [light(ink), light(back)]
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05)
    found.push([ratio, element.tagName + '.' + element.getAttribute('class') + ': ' + element.textContent.slice(0, 40)])
  }
  return found.sort((one, other) => one[0] - other[0])
}"""

SPILT = """() => [...document.querySelectorAll('table, p, svg, h3')].filter(one => {
  const box = one.closest('.box')
  if (!box || one.closest('.scroll')) return false
  const edge = box.getBoundingClientRect().right - parseFloat(getComputedStyle(box).paddingRight)
  return one.getBoundingClientRect().right > edge + 1
}).map(one => one.outerHTML.slice(0, 200))"""

OVERFLOW = "[document.documentElement.scrollWidth, window.innerWidth]"


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_asks_for_nothing_and_can_be_read(
    browser: Browser, pages: dict[str, Path], world: str, scheme: str
) -> None:
    with opened(browser, pages[world], color_scheme=scheme, viewport={"width": 1280, "height": 900}) as seen:
        assert seen.requests == [pages[world].as_uri()]
        assert seen.complaints == []
        wide, window = seen.page.evaluate(OVERFLOW)
        assert wide <= window
        ground = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        shade = sum(int(number) for number in re.findall(r"\d+", ground)[:3])
        assert (shade < 150) == (scheme == "dark"), ground
        contrasts = seen.page.evaluate(CONTRASTS)
        assert len(contrasts) > 40
        assert contrasts[0][0] >= AA, contrasts[:5]
        assert seen.page.locator("h1").count() == 1
        assert seen.page.evaluate("document.scripts.length") == 0


@pytest.mark.parametrize("world", WORLDS)
def test_on_a_phone_only_boxes_scroll(browser: Browser, pages: dict[str, Path], world: str) -> None:
    with opened(browser, pages[world], viewport=PHONE, is_mobile=True, device_scale_factor=2) as seen:
        wide, window = seen.page.evaluate(OVERFLOW)
        assert wide <= window == PHONE["width"]
        assert seen.page.evaluate(SPILT) == []
        sizes = seen.page.evaluate(
            "[...document.querySelectorAll('p')].map(e => parseFloat(getComputedStyle(e).fontSize))"
        )
        assert min(sizes) >= 13
        assert seen.page.locator("h1").bounding_box()["y"] < PHONE["height"] / 2  # type: ignore[index]
        assert seen.page.locator(".key li").first.bounding_box()["y"] < PHONE["height"]  # type: ignore[index]


@pytest.mark.parametrize("world", ["many", "hostile"])
def test_it_prints_dark_on_white_within_the_paper(browser: Browser, pages: dict[str, Path], world: str) -> None:
    with opened(browser, pages[world], color_scheme="dark", viewport={"width": 702, "height": 1000}) as seen:
        seen.page.emulate_media(media="print")
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert seen.page.evaluate(CONTRASTS)[0][0] >= AA
        assert not seen.page.locator("nav").is_visible()
        wide, window = seen.page.evaluate(OVERFLOW)
        assert wide <= window
        assert seen.page.pdf(format="A4").startswith(b"%PDF-")


def test_the_contents_lead_to_their_sections(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["many"]) as seen:
        links = seen.page.locator("nav a")
        assert links.count() == 7
        for place in range(links.count()):
            links.nth(place).click()
            name = seen.page.evaluate("location.hash.slice(1)")
            assert seen.page.locator(f"section#{name} h2").is_visible()
        seen.page.locator("details summary").first.click()
        assert seen.page.locator("details p").first.is_visible()


def test_the_pages_say_what_there_is(browser: Browser, pages: dict[str, Path]) -> None:
    said = {}
    for world, path in pages.items():
        with opened(browser, path) as seen:
            said[world] = seen.page.locator("header").inner_text()
    assert "400 runs" in said["many"]
    assert "Only 2 runs with a known outcome" in said["two"]
    assert "12 runs, no known outcome" in said["unknown"]
    assert "Every run succeeded" in said["winners"]
    assert "No run succeeded" in said["losers"]
