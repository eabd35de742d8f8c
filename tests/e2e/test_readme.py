"""The commands of the README and of the user manual, run as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers import RunningServer, somabrain

ROOT = Path(__file__).parents[2]


def marked_blocks(page: Path) -> list[str]:
    return re.findall(r"<!-- run -->\n```\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def documents(text: str) -> list[dict[str, Any]]:
    """The JSON objects in a text."""
    found, place, decoder = [], text.find("{"), json.JSONDecoder()
    while place >= 0:
        document, end = decoder.raw_decode(text, place)
        found.append(document)
        place = text.find("{", end)
    return found


def shell(block: str, server: RunningServer, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a block of a page against this server; what it says in both streams, and how it ended."""
    script = block.replace("localhost:9696", f"localhost:{server.port}")
    script = script.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    settings = {"PATH": os.environ["PATH"], "HOME": str(folder), "SOMABRAIN_URL": server.url, "COLUMNS": "160"}
    settings["SOMABRAIN_DATA_DIR"] = str(server.folder / "data")
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=settings,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_first_steps(tmp_path: Path) -> None:
    (block,) = marked_blocks(ROOT / "README.md")
    with somabrain({}, tmp_path) as server:
        done = shell(block, server, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    created, recorded, plan = documents(done.stdout)
    assert (created["option_id"], recorded["outcome"], plan["options"]) == ("to-kitchen", 1, ["to-kitchen"])
    assert "go to the kitchen" in done.stdout
    assert "Advice: follow" in done.stdout


BLOCK = re.compile(r"<!-- (run|shows) -->\n```\n(.*?)```", re.DOTALL)


PAGES = (["quick-start"], ["memory"], ["options", "planning"], ["roles"], ["odds"], ["traces"], ["report"], ["mcp"])


@pytest.mark.parametrize("pages", PAGES)
def test_every_command_of_the_user_manual(tmp_path: Path, pages: list[str]) -> None:
    with somabrain({"EMBEDDER": "auto"}, tmp_path) as server:
        for page in pages:
            said = ""
            blocks = BLOCK.findall((ROOT / "docs" / "user-manual" / f"{page}.md").read_text(encoding="utf-8"))
            assert {kind for kind, _ in blocks} == {"run", "shows"}
            for kind, text in blocks:
                if kind == "run":
                    done = shell(text, server, tmp_path)
                    said = done.stdout + done.stderr
                    assert done.returncode == 0, said
                    assert '"code":' not in said, said
                else:
                    assert all(line in said for line in text.splitlines()), f"{page}: {text}\n{said}"


def test_links_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_tests_that_the_security_page_names_exist() -> None:
    for name in re.findall(r"tests/[\w/]+\.py", (ROOT / "SECURITY.md").read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), name
