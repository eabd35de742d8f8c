"""The commands of the README, run as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.servers import somabrain

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


def test_the_first_steps(tmp_path: Path) -> None:
    (block,) = marked_blocks(ROOT / "README.md")
    with somabrain({}, tmp_path) as server:
        script = block.replace("localhost:9696", f"localhost:{server.port}")
        script = script.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
        settings = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SOMABRAIN_URL": server.url, "COLUMNS": "160"}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env=settings,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    created, recorded, plan = documents(done.stdout)
    assert (created["option_id"], recorded["outcome"], plan["options"]) == ("to-kitchen", 1, ["to-kitchen"])
    assert "go to the kitchen" in done.stdout
    assert "Advice: follow" in done.stdout


def test_links_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_tests_that_the_security_page_names_exist() -> None:
    for name in re.findall(r"tests/[\w/]+\.py", (ROOT / "SECURITY.md").read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), name
