"""What happens when Milvus, or the way to it, fails."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from somabrain.milvus_client import MilvusEngine
from somabrain.ports import Shelf, VectorEngineMismatchError, VectorEngineUnavailableError
from tests.factories import ALICE, HOME
from tests.milvus import MilvusServer
from tests.servers import free_port
from tests.vectors import milvus, parameters, record, vector

SHELF = Shelf.MEMORIES
TIMEOUT_S = 2.0
Call = Callable[[MilvusEngine], object]
CALLS: dict[str, Call] = {
    "upsert": lambda engine: engine.upsert(SHELF, ALICE, [record("x")]),
    "delete": lambda engine: engine.delete(SHELF, ALICE, [(HOME, "y")]),
    "search": lambda engine: engine.search(SHELF, ALICE, HOME, vector(1), limit=3),
    "get": lambda engine: engine.get(SHELF, ALICE, HOME, ["x"]),
    "count": lambda engine: engine.count(SHELF, ALICE),
    "marks": lambda engine: list(engine.marks(SHELF, ALICE)),
    "documents": lambda engine: list(engine.documents(SHELF, ALICE)),
    "tenants": lambda engine: engine.tenants(SHELF),
}


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[MilvusEngine]:
    engine = milvus(str(tmp_path / "milvus.db"))
    engine.open()
    yield engine
    engine.close()


def children(of: int) -> list[int]:
    """The engines among a process's children."""
    pids: set[int] = set()
    for task in Path(f"/proc/{of}/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has just ended
            pids |= {int(pid) for pid in (task / "children").read_text().split()}
    return [pid for pid in pids if "milvus_lite" in Path(f"/proc/{pid}/cmdline").read_text()]


def python(program: str, folder: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.getcwd(), **environment},  # noqa: PTH109 - a string is needed
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


OPENS = """
import sys
from tests.factories import ALICE
from tests.vectors import *
from somabrain.ports import Shelf
assert not {"pymilvus", "grpc", "milvus_lite"} & sys.modules.keys()
engine = milvus("milvus.db")
assert not {"pymilvus", "grpc", "milvus_lite"} & sys.modules.keys()
engine.open()
engine.upsert(Shelf.MEMORIES, ALICE, [record("a")])
print(engine.count(Shelf.MEMORIES, ALICE), flush=True)
"""


def test_opening_works_whatever_the_environment_says_and_leaves_it_alone(tmp_path: Path) -> None:
    program = OPENS + "import os; assert os.environ['MILVUS_URI'] == 'milvus.db'; engine.close()"
    process = python(program, tmp_path, MILVUS_URI="milvus.db")
    assert process.communicate(timeout=60) == ("1\n", "")


def test_nothing_is_left_running_and_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    engine = milvus(str(tmp_path / "milvus.db"))
    before = children(os.getpid())
    engine.open()
    (pid,) = set(children(os.getpid())) - set(before)
    with pytest.raises(ValueError, match="16 components"):
        engine.search(SHELF, ALICE, HOME, vector(1, 3), limit=1)
    connection = engine._connection  # noqa: SLF001 - nobody else can reach the engine's socket
    connection.call("drop", lambda client, s: client.drop_collection("test_memories", timeout=s))
    for call in CALLS.values():
        with pytest.raises(VectorEngineMismatchError, match=r"code 100\); `somabrain reconcile --rebuild`"):
            call(engine)
    engine.close()
    assert pid not in children(os.getpid())
    assert not Path(f"/proc/{pid}").exists()
    assert capfd.readouterr() == ("", "")


def test_before_it_is_open_and_after_it_is_closed_it_is_unavailable(lite: MilvusEngine) -> None:
    lite.close()
    for call in CALLS.values():
        with pytest.raises(VectorEngineUnavailableError, match="not connected"):
            call(lite)


def test_an_embedded_engine_that_is_killed_comes_back_with_what_it_was_given(lite: MilvusEngine) -> None:
    lite.upsert(SHELF, ALICE, [record(str(number)) for number in range(300)])
    for call in CALLS.values():
        for pid in children(os.getpid()):
            os.kill(pid, signal.SIGKILL)
        call(lite)
    assert lite.count(SHELF, ALICE) == 301


def test_an_embedded_engine_that_hangs_is_given_up_in_time(tmp_path: Path) -> None:
    engine = milvus(str(tmp_path / "milvus.db"), timeout_s=TIMEOUT_S)
    engine.open()
    (pid,) = children(os.getpid())
    os.kill(pid, signal.SIGSTOP)
    try:
        for call in CALLS.values():
            gives_up_in_time(engine, call)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert engine.count(SHELF, ALICE) in {0, 1}
    engine.close()


def test_a_file_is_opened_once(tmp_path: Path, lite: MilvusEngine) -> None:
    for _ in range(2):
        start = time.monotonic()
        with pytest.raises(VectorEngineUnavailableError, match="another process has"):
            milvus(str(tmp_path / "milvus.db")).open()
        with pytest.raises(VectorEngineUnavailableError, match="another process has"):
            milvus(str(tmp_path / "milvus.db")).clear(SHELF)
        assert time.monotonic() - start < 5
        lite.upsert(SHELF, ALICE, [record("a")])
    assert lite.count(SHELF, ALICE) == 1


def test_nothing_of_a_killed_process_is_left_when_the_next_one_opened_the_file(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    for _ in range(5):
        process = python(OPENS + "sys.stdin.read()", tmp_path, TMPDIR=str(temporary))
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        (pid,) = children(process.pid)
        (folder,) = temporary.iterdir()
        process.kill()
        process.wait()
        closing = python(OPENS + "engine.close()", tmp_path, TMPDIR=str(temporary))
        assert closing.communicate(timeout=60) == ("1\n", "")
        assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]
        assert not folder.exists()
        process.communicate()
    assert list(temporary.iterdir()) == []


def test_only_what_it_made_itself_is_removed(tmp_path: Path) -> None:
    """Whatever the file of its lock says."""
    mine, others = tmp_path / "somabrain-lite-mine", Path(tempfile.gettempdir()) / f"other-{os.getpid()}"
    for folder in (mine, others):
        folder.mkdir()
        (tmp_path / ".milvus.db.owner").write_text(str(folder))
        engine = milvus(str(tmp_path / "milvus.db"))
        engine.open()
        engine.close()
        assert folder.exists()
        folder.rmdir()


@pytest.mark.parametrize("damage", ["empty", "garbage", "torn", "overwritten"])
def test_a_damaged_file_ends_in_an_error_or_in_a_count_and_clear_mends_it(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "milvus.db"
    engine = milvus(str(path), timeout_s=TIMEOUT_S, connect_timeout_s=10.0)
    engine.open()
    engine.upsert(SHELF, ALICE, [record(str(number)) for number in range(1000)])
    engine.close()
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        {
            "empty": b"",
            "garbage": os.urandom(10_000),
            "torn": whole[:middle],
            "overwritten": whole[:4096] + os.urandom(len(whole) - 4096),
        }[damage]
    )
    start = time.monotonic()
    with suppress(VectorEngineUnavailableError, VectorEngineMismatchError):
        engine.open()
        assert engine.count(SHELF, ALICE) <= 1000
    assert time.monotonic() - start < 30
    for shelf in Shelf:
        engine.clear(shelf)
    engine.open()
    engine.upsert(SHELF, ALICE, [record("a")])
    assert engine.count(SHELF, ALICE) == 1
    engine.close()


@pytest.mark.parametrize(("kind", "instead"), [("BIN_IVF_FLAT", "BIN_FLAT"), ("HNSW", "FLAT")])
def test_an_index_that_milvus_lite_has_not_is_refused(tmp_path: Path, kind: str, instead: str) -> None:
    engine = milvus(str(tmp_path / "milvus.db"), index_type=kind)
    for refused in (engine.open, lambda: engine.clear(SHELF)):
        with pytest.raises(VectorEngineMismatchError, match=f"has no {kind}: set MILVUS_INDEX_TYPE={instead},"):
            refused()


@pytest.mark.parametrize("name", ["a b.db", "x" * 37, "é.db"])
def test_a_file_name_that_milvus_lite_does_not_take_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(VectorEngineMismatchError, match="a file name is 1 to 36 of"):
        milvus(str(tmp_path / name)).open()


def test_a_folder_that_is_missing_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(VectorEngineUnavailableError, match="No such file"):
        milvus(str(tmp_path / "missing" / "milvus.db")).open()


def test_an_address_where_nobody_answers_is_unavailable_in_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for port in (free_port(), silent.getsockname()[1]):
            engine = milvus(f"http://127.0.0.1:{port}", connect_timeout_s=TIMEOUT_S)
            start = time.monotonic()
            with pytest.raises(VectorEngineUnavailableError, match="no connection"):
                engine.open()
            assert time.monotonic() - start < 1.5 * TIMEOUT_S
            engine.close()


def test_what_can_not_be_stored_is_the_callers_fault(lite: MilvusEngine) -> None:
    for wrong in (record("a b"), record("x" * 129), record('x" or id != "'), record("a", text="x" * (2**19 + 1))):
        with pytest.raises(ValueError, match=r"an id is|a document is"):
            lite.upsert(SHELF, ALICE, [record("fine"), wrong])
    with pytest.raises(ValueError, match="an id is"):
        lite.get(SHELF, ALICE, HOME, ['x" or id != "'])
    with pytest.raises(ValueError, match="an id is"):
        lite.delete(SHELF, ALICE, [(HOME, 'x"] or key != "')])
    assert lite.count(SHELF, ALICE) == 0


def test_each_request_is_observed_once(tmp_path: Path) -> None:
    observed: list[tuple[str, str, float]] = []
    engine = milvus(str(tmp_path / "milvus.db"), observed)
    engine.open()
    observed.clear()
    for call in CALLS.values():
        call(engine)
    engine.close()
    with pytest.raises(VectorEngineUnavailableError):
        engine.count(SHELF, ALICE)
    seen = [(operation, result) for operation, result, _ in observed]
    assert seen[0] == ("upsert", "ok")
    assert set(seen[:-1]) == {(operation, "ok") for operation in ("upsert", "delete", "search", "query")}
    assert seen[-1] == ("query", "unavailable")
    assert all(0 <= seconds < TIMEOUT_S for _, _, seconds in observed)


def gives_up_in_time(engine: MilvusEngine, call: Call) -> None:
    start = time.monotonic()
    with pytest.raises(VectorEngineUnavailableError):
        call(engine)
    assert time.monotonic() - start < 1.5 * TIMEOUT_S


def test_a_server_that_hangs_or_dies_is_given_up_in_time_and_used_again(milvus_server: MilvusServer) -> None:
    engine = milvus(milvus_server.uri, prefix="faults", timeout_s=TIMEOUT_S)
    engine.open()
    engine.upsert(SHELF, ALICE, [record(str(number)) for number in range(1000)])
    milvus_server.freeze()
    for call in CALLS.values():
        gives_up_in_time(engine, call)
    milvus_server.thaw()
    milvus_server.stop(signal.SIGKILL)
    for call in CALLS.values():
        gives_up_in_time(engine, call)
    milvus_server.start()
    deadline = time.monotonic() + 90
    while True:
        try:
            assert engine.count(SHELF, ALICE) in {1000, 1001}
            break
        except VectorEngineUnavailableError:
            assert time.monotonic() < deadline
            time.sleep(0.5)
    for call in CALLS.values():
        call(engine)
    engine.clear(SHELF)
    assert engine.count(SHELF, ALICE) == 0
    engine.close()


def test_the_parameters_say_what_is_a_file() -> None:
    assert parameters("http://milvus:19530").lite_path is None
    assert parameters("unix:/run/milvus.sock").lite_path is None
    assert parameters("/data/milvus.db").lite_path == Path("/data/milvus.db")
