"""Kernels: compiled and plain give the same bits, whatever numba may keep of its work."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

NESTED = """
from somabrain.oak.kernels import kernel

@kernel("float64(float64)")
def twice(x: float) -> float:
    return x + x

@kernel("float64(float64)")
def six_times(x: float) -> float:
    return twice(x) + twice(twice(x))
"""

BUILDS = """
    import hashlib
    from random import Random
    import numpy as np
    from somabrain.oak.consolidation import betweenness, consolidate, targets, to_bytes
    from somabrain.oak.kernels import accelerate
    from somabrain.oak.subtasks import dynamics, solve, solve_sparse
    from tests.reference.processes import GAMMA, LOSS_PRICE, TIME_PRICE, random_table

    def digest() -> str:
        seen = hashlib.sha256()
        random = Random(5)
        for states in (0, 1, 2, 7, 40, 90):
            dyn = dynamics(
                random_table(random, states=states, actions=3), time_price=TIME_PRICE, loss_price=LOSS_PRICE
            )
            marks = np.array([random.choice((0, 0, 0, 1, 2, 4, 8)) for _ in range(states)], dtype=np.uint8)
            seen.update(betweenness(dyn).tobytes())
            chosen = targets(dyn, marks, published=(0, 3, 50), limit=60)
            seen.update(repr(chosen).encode())
            changed = np.zeros(0, dtype=np.int32)
            for radius in (0, 1, 3, 12):
                for work in consolidate(
                    dyn, chosen, None, changed, radius=radius, states_max=30, gamma=GAMMA, option_id_of=str
                ):
                    seen.update(to_bytes(work.model))
                for method in (solve, solve_sparse):
                    subtask = method(dyn, chosen[:3], radius=radius, states_max=60, gamma=GAMMA)
                    for column in (subtask.probability, subtask.reach, subtask.reward, subtask.duration):
                        seen.update(column.tobytes())
        return seen.hexdigest()

    plain = digest()
    accelerate()
    print(plain, digest())
"""


FIRST_PLAN = """
    import sys
    from pathlib import Path
    from starlette.testclient import TestClient
    from somabrain.bootstrap import make_app
    from somabrain.bootstrap.acceleration import ACCELERATOR
    from somabrain.oak.planner.settling import settle_kernel
    from tests.conftest import plain_settings
    from tests.grids import cell, walks

    def answer(client):
        body = {"start_state": cell((0, 0)), "target_feature": cell((4, 4)), "alternatives": 2}
        answered = client.post("/oak/plan", json=body)
        assert answered.status_code == 200, answered.text
        plan = answered.json()
        assert plan.pop("planning_ms") >= 0
        assert plan["reached"]
        return plan

    with TestClient(make_app(plain_settings(Path(sys.argv[1]))), base_url="http://localhost") as client:
        assert client.post("/oak/episodes", json=walks(0, 30)).is_success
        before = "numba" in sys.modules
        first = answer(client)
        meanwhile = settle_kernel.compiled
        ACCELERATOR.wait()
        after, same = settle_kernel.compiled, answer(client) == first
    print(before, meanwhile, after, same)
"""

NOWHERE = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
"""With a cache folder that can't be made, numba has none at all."""


def run(code: str, cache: Path, *arguments: str, **more: str) -> list[str]:
    """What a fresh process prints, whose numba keeps its work in `cache`; it may not fail."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), **more}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def nested(folder: Path) -> list[str]:
    """Six times 2.5 before and after compiling, and whether numba found it in its cache."""
    (folder / "nested.py").write_text(NESTED)
    return run(
        f"""
        import sys
        sys.path.insert(0, {str(folder)!r})
        from nested import six_times
        from somabrain.oak.kernels import accelerate
        print(six_times(2.5))
        accelerate()
        accelerate()
        print(six_times(2.5), sum(six_times._call.stats.cache_hits.values()))
        """,
        folder / "cache",
    )


def test_options_are_the_same_bits_compiled_and_plain(tmp_path: Path) -> None:
    plain, compiled = run(BUILDS, tmp_path)
    assert plain == compiled


def test_a_kernel_calls_kernels_and_the_next_process_finds_both_in_the_cache(tmp_path: Path) -> None:
    assert nested(tmp_path) == ["15.0", "15.0", "0"]
    assert nested(tmp_path) == ["15.0", "15.0", "1"]


def test_a_damaged_cache_only_costs_time(tmp_path: Path) -> None:
    nested(tmp_path)
    kept = [path for path in tmp_path.glob("cache/**/*") if path.suffix in {".nbi", ".nbc"}]
    assert len(kept) == 4
    for damage in (b"", b"garbage\n", b"\x80\x05", None):
        for path in kept:
            path.write_bytes(path.read_bytes()[:-20] if damage is None else damage)
        assert nested(tmp_path)[:2] == ["15.0", "15.0"], damage


def test_a_kernel_that_can_be_kept_nowhere_is_compiled_all_the_same(tmp_path: Path) -> None:
    """Numba refuses to keep what comes from no file; a folder that nobody may write gives the same error."""
    code = f"""
        from somabrain.oak import kernels
        space = {{"__name__": "nowhere"}}
        exec(compile({NESTED!r}, "<nowhere>", "exec"), space)
        kernels.accelerate()
        print(space["six_times"](2.5), space["six_times"]._call is space["six_times"].function)
        """
    assert run(code, tmp_path) == ["15.0", "False"]


def test_the_first_plan_does_not_wait_for_kernels_and_no_cache_is_needed(tmp_path: Path) -> None:
    """They are compiled after somebody first plans, not before, and change no answer."""
    logged_and_printed = run(FIRST_PLAN, Path("/dev/null/cache"), str(tmp_path), **NOWHERE)
    assert logged_and_printed[-4:] == ["False", "False", "True", "True"]
