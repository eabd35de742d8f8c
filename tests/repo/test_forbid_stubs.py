"""Each rule of `scripts/ci/forbid_stubs.py` finds what it is for, and lets pass what it must."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest

from scripts.ci.forbid_stubs import findings

ROOT = Path(__file__).resolve().parents[2]
DOOR = ROOT / "scripts/ci/forbid_stubs.sh"


def found(source: str, *, numbered: bool = True) -> list[tuple[int, str]]:
    return [(finding.line, finding.rule) for finding in findings(dedent(source), numbered=numbered)]


FORBIDDEN = {
    "raise NotImplementedError": "not-implemented",
    "raise NotImplementedError('later')": "not-implemented",
    "import builtins\nraise builtins.NotImplementedError": "not-implemented",
    "try:\n    f()\nexcept NotImplementedError:\n    g()": "not-implemented",
    "x = 1  # TODO: more": "marker",
    "# todo(someone): more": "marker",
    "# FIXME": "marker",
    "#XXX": "marker",
    "x = 1  # noqa: E501 HACK around it": "marker",
    "def f():\n    pass": "stub",
    "def f():\n    ...": "stub",
    "def f():\n    '''Says much.'''\n    pass": "stub",
    "def f():\n    '''Says much.'''\n    ...\n    pass": "stub",
    "async def f():\n    pass": "stub",
    "def f():\n    def g():\n        pass\n    return g": "stub",
    "if x:\n    def f():\n        ...": "stub",
    "class A:\n    pass": "stub",
    "class A:\n    ...": "stub",
    "class AError(Exception):\n    pass": "stub",
    "class A:\n    '''Says much.'''\n    pass": "stub",
    "class A:\n    def f(self):\n        pass": "stub",
    "class A(Base):\n    @property\n    def f(self):\n        ...": "stub",
    "class P(Protocol):\n    class A:\n        def f(self):\n            pass": "stub",
    "class P(NotAProtocol):\n    def f(self): ...": "stub",
    "import mock": "mock",
    "import mock.mock as m": "mock",
    "from mock import Mock": "mock",
    "from mock.mock import Mock": "mock",
    "import unittest.mock": "mock",
    "import os, unittest.mock as m": "mock",
    "from unittest import mock": "mock",
    "from unittest import TestCase, mock as m": "mock",
    "from unittest.mock import MagicMock": "mock",
    "import pytest_mock": "mock",
    "def f():\n    from unittest.mock import patch\n    return patch": "mock",
    "try:\n    f()\nexcept:\n    g()": "bare-except",
    "try:\n    f()\nexcept:\n    raise": "bare-except",
    "try:\n    f()\nexcept:  # noqa: E722 the edge of the process\n    g()": "bare-except",
    "try:\n    f()\nexcept Exception:\n    g()": "broad-except",
    "try:\n    f()\nexcept Exception as e:\n    raise Other from e": "broad-except",
    "try:\n    f()\nexcept BaseException:\n    g()": "broad-except",
    "try:\n    f()\nexcept (OSError, Exception):\n    g()": "broad-except",
    "import builtins\ntry:\n    f()\nexcept builtins.Exception:\n    g()": "broad-except",
    "try:\n    f()\nexcept* Exception:\n    g()": "broad-except",
    "try:\n    f()\nexcept Exception:  # noqa: BLE001\n    g()": "broad-except",
    "try:\n    f()\nexcept Exception:  # noqa: BLE001 -\n    g()": "broad-except",
    "try:\n    f()\nexcept Exception:  # noqa: BLE001, S110\n    g()": "broad-except",
    "try:\n    f()\nexcept Exception:  # noqa\n    g()": "broad-except",
    "try:\n    f()\nexcept Exception:  # noqa: S110 the edge of the process\n    g()": "broad-except",
    "try:\n    f()\nexcept Exception:  # the edge of the process\n    g()": "broad-except",
    "try:\n    f()\nexcept Exception:\n    g()  # noqa: BLE001 the edge of the process": "broad-except",
    "try:\n    f()\nexcept Exception:\n    if x:\n        raise": "broad-except",
    "with suppress(Exception):\n    f()": "broad-except",
    "with contextlib.suppress(OSError, BaseException):\n    f()": "broad-except",
    "def f():\n    return 3": "number",
    "def f():\n    return -2": "number",
    "def f():\n    return -0.5": "number",
    "def f():\n    return 1e-9": "number",
    "def f():\n    return 1j": "number",
    "def f():\n    return x[10]": "number",
    "def f():\n    return 0x10": "number",
    "async def f():\n    await sleep(30)": "number",
    "f = lambda: 100": "number",
    "class A:\n    def f(self):\n        return self.x < 0.85": "number",
    "def f():\n    class A:\n        x: int = 7\n    return A": "number",
    "def f():\n    def g(x=60):\n        return x\n    return g": "number",
    "def f(x):\n    match x:\n        case 4:\n            return x": "number",
    "def f(x):\n    return f'{x + 1000}'": "number",
    "def f(:": "syntax",
    "x = 'a\n": "syntax",
}


@pytest.mark.parametrize("source", FORBIDDEN)
def test_what_is_forbidden_is_found_once(source: str) -> None:
    lines = found(source)
    assert [rule for _, rule in lines] == [FORBIDDEN[source]]
    assert 1 <= lines[0][0] <= len(source.splitlines()) + 1


ALLOWED = [
    "message = 'TODO: FIXME, XXX and HACK'",
    '"""A page about TODO lists.\n\n# FIXME is no comment here.\n"""',
    "x = '''\n# TODO\nraise NotImplementedError\nimport mock\nexcept:\n'''",
    "f'# TODO {x}'",
    "# The hacker's method: todos, hacks and xxx are words too",
    "MESSAGE = 'NotImplementedError'  # NotImplementedErrors are for the unwritten",
    "raise NotImplemented",
    "def f():\n    '''A docstring is the whole of it.'''",
    "def f():\n    return None",
    "def f():\n    return ...",
    "def f(x):\n    if x:\n        pass\n    return x",
    "def f():\n    x = ...\n    return x",
    "class AError(Exception):\n    '''It went wrong.'''",
    "class A:\n    x: int",
    "class P(Protocol):\n    def f(self): ...",
    "class P(typing.Protocol):\n    def f(self):\n        '''Does it.'''\n        ...",
    "class P(Protocol[T]):\n    @property\n    def f(self) -> T:\n        pass",
    "class P(Base, Protocol):\n    async def f(self): ...",
    "class P(Protocol): ...",
    "@overload\ndef f(x: int) -> int: ...\n@typing.overload\ndef f(x: str) -> str: ...\ndef f(x):\n    return x",
    "class A(ABC):\n    @abstractmethod\n    def f(self): ...",
    "class A(ABC):\n    @property\n    @abc.abstractmethod\n    def f(self):\n        pass",
    "import mockingbird",
    "from unittest import TestCase",
    "from .mock import bird",
    "from somabrain import mock_free",
    "try:\n    f()\nexcept ValueError:\n    g()",
    "try:\n    f()\nexcept (OSError, ValueError) as e:\n    g(e)",
    "try:\n    f()\nexcept ExceptionGroup:\n    g()",
    "try:\n    f()\nexcept Exception:  # noqa: BLE001 the edge of the process\n    g()",
    "try:\n    f()\nexcept Exception as e:  # noqa: S110, BLE001 - a plugin may raise anything\n    g(e)",
    "try:\n    f()\nexcept (\n    Exception,  # noqa: BLE001  the edge of the process\n):\n    g()",
    "try:\n    f()\nexcept BaseException:\n    g()\n    raise",
    "with suppress(FileNotFoundError):\n    f()",
    "with suppress():\n    f()",
    "try:\n    f()\nfinally:\n    g()",
    "LIMIT = 4096",
    "class A:\n    limit: int = 4096",
    "x = Field(256, ge=2, le=4096)",
    "def f(x: Literal[3] = 3) -> Annotated[int, 7]:\n    return x",
    "@cache(maxsize=64)\ndef f():\n    return LIMIT",
    "def f():\n    return [-1, 0, 0.5, 1, 2, 1.0, 2.0, 0.0, -1.0, True, False, None]",
    "def f():\n    return '42', b'42', f'{x:.3f}'",
    "",
]


@pytest.mark.parametrize("source", ALLOWED)
def test_what_is_allowed_is_not_found(source: str) -> None:
    assert found(source) == []


def test_numbers_are_free_where_the_rule_does_not_hold() -> None:
    assert found("def f():\n    return 3", numbered=False) == []


def test_findings_tell_their_lines_in_order() -> None:
    source = """\
    # TODO one
    def f():
        try:
            return 12
        except:
            raise NotImplementedError


    class A:
        def g(self):
            '''Nothing yet.'''
            ...
    """
    assert found(source) == [
        (1, "marker"),
        (4, "number"),
        (5, "bare-except"),
        (6, "not-implemented"),
        (10, "stub"),
    ]


def run(*arguments: str | Path, door: Path = DOOR, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([door, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def planted(folder: Path) -> Path:
    """A checkout with the tool and a few files of each standing: good, bad, ignored and outside of its folders."""
    (folder / "scripts/ci").mkdir(parents=True)
    for name in ("forbid_stubs.sh", "forbid_stubs.py"):
        shutil.copy(ROOT / "scripts/ci" / name, folder / "scripts/ci" / name)
    files = {
        "somabrain/good.py": "X = 3\n",
        "somabrain/deep/bad.py": "def f():\n    return 3\n",
        "tests/free.py": "def f():\n    return 3\n",
        "tests/bad.py": "import mock\n",
        "benchmarks/notes.txt": "# TODO\n",
        "elsewhere/bad.py": "import mock\n",
        ".gitignore": "made/\n__pycache__/\n",
        "libs/made/bad.py": "import mock\n",
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder / "scripts/ci/forbid_stubs.sh"


NUMBER = "somabrain/deep/bad.py:2: number: 3: a setting, or a named constant with its source"
MOCK = "tests/bad.py:1: mock: mock: write a small implementation under tests/reference/"


def git(folder: Path, *arguments: str) -> None:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["git", "-C", folder, *arguments], env=environment, capture_output=True, check=True)


def test_it_looks_at_what_git_tracks_or_would_and_tells_where(tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    door = planted(tmp_path / "somabrain")
    git(tmp_path / "somabrain", "init", "-q")
    git(tmp_path / "somabrain", "add", "tests", "somabrain")
    (tmp_path / "somabrain/somabrain/gone.py").write_text("import mock\n", encoding="utf-8")
    git(tmp_path / "somabrain", "add", "somabrain/gone.py")
    (tmp_path / "somabrain/somabrain/gone.py").unlink()
    result = run(door=door, cwd=tmp_path)
    assert (result.stdout.splitlines(), result.stderr, result.returncode) == ([NUMBER, MOCK], "", 1)


def test_without_a_repository_it_looks_at_every_file_of_its_folders(tmp_path: Path) -> None:
    result = run(door=planted(tmp_path), cwd=tmp_path)
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == [
        "libs/made/bad.py",
        "somabrain/deep/bad.py",
        "tests/bad.py",
    ]
    assert result.returncode == 1


def test_arguments_are_the_files_to_look_at(tmp_path: Path) -> None:
    planted(tmp_path)
    result = run("tests/bad.py", tmp_path / "somabrain/deep/bad.py", tmp_path / "tests/free.py", cwd=tmp_path)
    assert result.stdout.splitlines() == [MOCK, f"{tmp_path}/{NUMBER}"]
    assert result.returncode == 1
    result = run("tests/free.py", "somabrain/good.py", cwd=tmp_path)
    assert (result.stdout, result.stderr, result.returncode) == ("", "", 0)


def test_a_file_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "latin.py").write_bytes(b"x = '\xe4'\n")
    result = run(tmp_path / "latin.py", tmp_path / "missing.py")
    assert [line.split(": ")[1] for line in result.stdout.splitlines()] == ["syntax", "syntax"]
    assert result.returncode == 1
