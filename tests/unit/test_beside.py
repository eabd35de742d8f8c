"""Work that a request leaves to another thread comes back once, whoever did it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from somabrain.bootstrap.acceleration import Beside

ROOT = Path(__file__).resolve().parents[2]
SOON_S = 30.0

AT_THE_END = """
    import atexit
    from somabrain.bootstrap.acceleration import BESIDE
    print(BESIDE.begin(lambda: "before")())
    atexit.register(lambda: print(BESIDE.begin(lambda: "after")()))
"""


def test_work_goes_on_in_another_thread_while_its_caller_does() -> None:
    begun, let_go = threading.Event(), threading.Event()

    def work() -> int:
        begun.set()
        assert let_go.wait(SOON_S)
        return threading.get_ident()

    result = Beside(1).begin(work)
    assert begun.wait(SOON_S)
    let_go.set()
    assert result() != threading.get_ident()
    assert result() == result()


def test_the_caller_does_what_no_thread_has_begun() -> None:
    beside, let_go, done = Beside(1), threading.Event(), list[int]()
    first = beside.begin(lambda: let_go.wait(SOON_S))
    second = beside.begin(lambda: done.append(threading.get_ident()))
    second()
    assert done == [threading.get_ident()]
    let_go.set()
    assert first()
    assert beside.begin(lambda: len(done))() == 1


@pytest.mark.parametrize("busy", [False, True])
def test_an_error_is_raised_where_the_result_is_wanted(*, busy: bool) -> None:
    beside, let_go = Beside(1), threading.Event()
    first: Callable[[], bool] = beside.begin(lambda: busy is False or let_go.wait(SOON_S))
    result = beside.begin(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        result()
    let_go.set()
    assert first()


def test_a_process_that_ends_still_gets_its_results() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(AT_THE_END)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=SOON_S * 2,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["before", "after"]), done.stderr
