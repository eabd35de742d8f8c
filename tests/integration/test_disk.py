"""A full disk and a data directory that can't be written: told plainly, and nothing half-written."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import missing, plain_settings
from tests.integration.test_replay import replayed
from tests.servers import RunningServer, free_port, somabrain

FULL_AT_KIB = 1024
BATCH = 20
DISK_KIB = 4096


def batch(number: int) -> dict[str, Any]:
    return {
        "executions": [
            {
                "option_id": "go",
                "start": {"features": {"note": "x" * 2000, "n": number * BATCH + place}},
                "final": {"features": {"at": "goal"}},
                "rewards": [1],
            }
            for place in range(BATCH)
        ]
    }


def test_a_full_disk_refuses_writes_whole_and_recovers(tmp_path: Path) -> None:
    """Files may grow to a limit, as on a disk that fills; later there is room again."""
    limited = ["bash", "-c", f'ulimit -S -f {FULL_AT_KIB}; exec "$0" "$@"']
    server = RunningServer({}, tmp_path, within=limited)
    server.start()
    try:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            body = {"option_id": "go", "name": "go", "target": {"features": {"at": "goal"}}}
            assert client.post("/oak/option/create", json=body).status_code == 201
            acknowledged = 0
            for number in range(200):
                response = client.post("/oak/executions", json=batch(number))
                if response.status_code != 200:
                    break
                acknowledged += BATCH
            assert (response.status_code, response.json()["code"]) == (503, "store_unavailable")
            assert response.headers["retry-after"]
            assert acknowledged > 0
            assert client.get("/oak/option/go").json()["executions"] == acknowledged
            assert client.get("/readyz").status_code in {200, 503}
            assert server.process is not None
            no_limit = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, no_limit)
            assert client.post("/oak/executions", json=batch(500)).status_code == 200
            assert client.get("/oak/option/go").json()["executions"] == acknowledged + BATCH
            assert client.get("/events").status_code == 200
        assert '"code": "store_unavailable"' in server.log
        assert "Traceback" not in server.log
    finally:
        server.stop()
    stored, again = replayed(plain_settings(tmp_path), tmp_path / "scratch")
    assert again == stored


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with `DISK_KIB` of room."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_KIB}k", "somabrain-test", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        missing("right to mount a file system: run as root to see a real disk fill")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_others_fill(tmp_path: Path, small_disk: Path) -> None:
    filler = small_disk / "filler"
    with somabrain({"SOMABRAIN_DATA_DIR": str(small_disk / "data")}, tmp_path) as server:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            body = {"option_id": "go", "name": "go", "target": {"features": {"at": "goal"}}}
            assert client.post("/oak/option/create", json=body).status_code == 201
            fill(filler)
            refused = client.post("/oak/executions", json=batch(0), headers={"Idempotency-Key": "again"})
            assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
            assert client.get("/oak/option/go").json()["executions"] == 0
            assert client.get("/oak/states").json()["states"] == []
            filler.unlink()
            for _ in range(2):
                taken = client.post("/oak/executions", json=batch(0), headers={"Idempotency-Key": "again"})
                assert taken.status_code == 200
            assert client.get("/oak/option/go").json()["executions"] == BATCH
        assert "full" in server.log
        assert "Traceback" not in server.log


def fill(path: Path) -> None:
    """Lets the file grow until there is no room for more."""
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))


def started(data: Path, folder: Path, *, user: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    settings = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    settings |= {"SOMABRAIN_DATA_DIR": str(data), "SOMABRAIN_PORT": str(free_port()), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*(user or []), str(Path(sys.executable).parent / "somabrain"), "serve"]
    return subprocess.run(command, env=settings, cwd="/", capture_output=True, text=True, timeout=60, check=False)


def told_in_one_line(done: subprocess.CompletedProcess[str], named: str) -> None:
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("somabrain: ")]
    assert len(lines) == 1, done.stderr
    assert named in lines[0]
    assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told_in_one_line(started(tmp_path / "file" / "data", tmp_path), "can't be opened")


def test_a_file_that_is_no_database_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "somabrain.sqlite3").write_bytes(b"not a database" * 1000)
    told_in_one_line(started(tmp_path / "data", tmp_path), "not a database")


def test_a_database_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    """Root may write anything, so as root the server is started with that power taken away."""
    server = RunningServer({}, tmp_path)
    server.start()
    server.stop()
    data = tmp_path / "data"
    for file in data.iterdir():
        file.chmod(0o444)
    data.chmod(0o555)
    powerless = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"] if os.geteuid() == 0 else []
    try:
        if powerless and subprocess.run([*powerless, "true"], check=False, capture_output=True).returncode != 0:
            missing("setpriv that can drop root's power to write anything")
        told_in_one_line(started(data, tmp_path, user=powerless), "can't be opened")
    finally:
        data.chmod(0o755)
