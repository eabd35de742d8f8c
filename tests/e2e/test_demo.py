"""`somabrain demo` as a user runs it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

ROOT = Path(__file__).resolve().parents[2]
SOMABRAIN = [str(Path(sys.executable).parent / "somabrain")]
WITHOUT_GYMNASIUM = [
    sys.executable,
    "-c",
    "import sys; sys.modules['gymnasium'] = None; from somabrain.cli import main; main()",
]
PNG = b"\x89PNG\r\n\x1a\n"
"""PNG specification, second edition, 5.2."""
TIMEOUT_S = 120.0


def environment(folder: Path, changes: Mapping[str, str]) -> dict[str, str]:
    """Little but what is asked for; temporary files in a folder of their own."""
    (folder / "tmp").mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "LANG": "C.UTF-8", "TMPDIR": str(folder / "tmp"), "PYTHONWARNINGS": "error", **changes}


def demo(
    folder: Path, *arguments: str, program: list[str] = SOMABRAIN, **changes: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*program, "demo", *arguments],
        cwd=folder,
        env=environment(folder, changes),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@contextmanager
def working_demo(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A long demo that has said its first words."""
    with subprocess.Popen(
        [*SOMABRAIN, "demo", "--episodes", "100000"],
        cwd=folder,
        env=environment(folder, {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("Somabrain demo")
            yield process
        finally:
            process.kill()


def processes_in(folder: Path) -> list[int]:
    """Ids of the processes that name `folder` in their environment."""
    listed = subprocess.run(["ps", "-A", "-E", "-o", "pid=,command="], capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return [int(line.split()[0]) for line in listed.stdout.splitlines() if str(folder) in line]
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            text = path.read_bytes()
        except OSError:
            continue
        if str(folder).encode() in text:
            found.append(int(path.parent.name))
    return found


def left_over(folder: Path) -> list[Path]:
    return list((folder / "tmp").iterdir())


def test_it_learns_skills_from_raw_actions(tmp_path: Path) -> None:
    done = demo(tmp_path, "--episodes", "120", "--output", "skills.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "skills.png").read_bytes().startswith(PNG)
    assert (tmp_path / "skills-map.png").read_bytes().startswith(PNG)
    assert "no option is declared by anybody" in done.stdout
    curve = [line.split()[1] for line in done.stdout.splitlines() if line.endswith("│") and "%" in line]
    assert curve == ["10", "25", "50", "100", "120"]
    found = re.search(r"(\d+) options were discovered", done.stdout)
    assert found is not None
    assert int(found[1]) > 50
    assert "passenger=delivered" in done.stdout
    assert "Delivered after" in done.stdout
    mean, best = re.findall(r"(?:mean return|optimum is) (-?[0-9.]+), computed", done.stdout)
    assert best == "7.93"
    assert float(mean) == pytest.approx(7.93, abs=0.5)
    assert left_over(tmp_path) == []


def test_it_learns_solves_every_start_and_draws_the_curve(tmp_path: Path, sqlite_client: TestClient) -> None:
    (tmp_path / ".env").write_text("ENABLE_OAK=false\n", encoding="utf-8")
    done = demo(
        tmp_path,
        *("--declared", "--episodes", "60", "--output", "curve.png"),
        MEMORY_DIM="16",
        OAK_ALPHA="1",
        SOMABRAIN_PORT="12345",
        HTTP_PROXY="http://127.0.0.1:9",
        ALL_PROXY="http://127.0.0.1:9",
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "curve.png").read_bytes().startswith(PNG)
    assert "Solved 300 of 300 starts" in done.stdout
    assert "the optimum is 7.93, computed" in done.stdout
    assert float(re.findall(r"mean return (-?[0-9.]+) here", done.stdout)[0]) == pytest.approx(7.93, abs=0.5)
    assert [line.split()[1] for line in done.stdout.splitlines() if line.endswith("│") and "%" in line] == [
        *("0", "5", "10", "15", "20", "30", "40", "50", "60")
    ]
    assert "put down │ passenger=delivered" in done.stdout
    assert left_over(tmp_path) == []
    assert "make serve" in done.stdout
    assert "http://127.0.0.1:12345/docs" in done.stdout
    command = shlex.split(next(line for line in done.stdout.splitlines() if line.lstrip().startswith("curl")))
    answer = sqlite_client.post(
        urlsplit(command[2]).path,
        content=command[command.index("-d") + 1],
        headers=dict([command[command.index("-H") + 1].split(": ")]),
    )
    assert answer.status_code == 201


def test_too_few_episodes_are_told_as_they_are(tmp_path: Path) -> None:
    done = demo(tmp_path, "--episodes", "30", "--rainy", "--seed", "0")
    assert done.returncode == 0, done.stderr
    solved = float(re.findall(r"([0-9.]+)% of 300 starts solved", done.stdout)[0])
    assert 0 < solved < 100
    assert "the optimum is 3.95, computed" in done.stdout
    assert (tmp_path / "taxi.png").exists()


def test_a_server_that_nobody_should_reach_is_refused(tmp_path: Path) -> None:
    done = demo(tmp_path, AUTH_MODE="none", SOMABRAIN_HOST="0.0.0.0")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "AUTH_MODE" in done.stderr
    assert "SOMABRAIN_HOST" in done.stderr


def test_what_is_not_installed_is_named(tmp_path: Path) -> None:
    done = demo(tmp_path, program=WITHOUT_GYMNASIUM)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "gymnasium" in done.stderr
    assert "make install" in done.stderr


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = demo(tmp_path, "--output", "nowhere/taxi.png")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "nowhere" in done.stderr


def test_a_server_that_does_not_start_fails_the_demo(tmp_path: Path) -> None:
    (tmp_path / "uvicorn.py").write_text("raise SystemExit('no uvicorn today')\n", encoding="utf-8")
    done = demo(tmp_path, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "the server did not start: no uvicorn today" in done.stderr
    assert left_over(tmp_path) == []


def test_the_benchmark_says_where_a_bar_is_missed() -> None:
    benchmark = [sys.executable, "-m", "benchmarks.environments.taxi", "--declared"]
    command = [*benchmark, "--in-process", "--seeds", "1", "--check"]
    runs = {
        episodes: subprocess.run(
            [*command, "--episodes", episodes], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        for episodes in ("5", "100")
    }
    assert runs["5"].returncode == 1
    assert "missed after 5 episodes" in runs["5"].stderr
    assert runs["100"].returncode == 0, runs["100"].stderr
    assert "300 of 300" in runs["100"].stdout


def test_a_signal_leaves_nothing_behind(tmp_path: Path) -> None:
    for number, status in ((signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)):
        with working_demo(tmp_path) as process:
            assert len(left_over(tmp_path)) == 1
            process.send_signal(number)
            assert process.wait(TIMEOUT_S) == status
        assert left_over(tmp_path) == []
        assert processes_in(tmp_path) == []


@pytest.mark.skipif(shutil.which("ps") is None and not Path("/proc").exists(), reason="no way to find the server")
def test_a_server_that_dies_fails_the_demo(tmp_path: Path) -> None:
    with working_demo(tmp_path) as process:
        (server,) = [found for found in processes_in(tmp_path) if found != process.pid]
        os.kill(server, signal.SIGKILL)
        _, stderr = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 1
        assert re.search(r"^somabrain: the demo failed: POST /oak/[a-z/]+: no answer: .+$", stderr, re.MULTILINE)
    assert left_over(tmp_path) == []
