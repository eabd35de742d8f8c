"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("common", "libs", "somabrain")

FUNCTION_LINES = 70
LONG_SHARE = 0.02
"""Functions of more than `FUNCTION_LINES` lines, as a share of all."""

PROCESS_EDGES = {"somabrain/api/edge.py", "somabrain/cli.py", "somabrain/outbox/relay.py"}
"""Where anything that was not foreseen is caught: a request, a command, a round of the relay."""

REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("repo1", "maven", "org"),
        ("repo", "maven", "apache", "org"),
        ("proxy", "golang", "org"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("anaconda", "org"),
    )
]
"""Hosts of package registries: which one is used is the business of whoever installs."""

LEFT_OUT = {"__pycache__", "build", "dist", "node_modules", "var"}


def files(folder: Path = ROOT) -> Iterator[Path]:
    """Every file of the checkout that is not made by a tool; of hidden folders those of continuous integration."""
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            hidden = entry.name.startswith(".") and entry.name not in {".ci", ".github"}
            if not hidden and entry.name not in LEFT_OUT:
                yield from files(entry)
        else:
            yield entry


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Path from the root, and syntax tree, of every module that is shipped."""
    for package in PACKAGES:
        for path in files(ROOT / package):
            if path.suffix == ".py":
                yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_hardly_a_function_is_long() -> None:
    lengths = {
        f"{path}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    long = {place: lines for place, lines in lengths.items() if lines > FUNCTION_LINES}
    assert lengths
    assert len(long) < LONG_SHARE * len(lengths), long


def test_everything_is_caught_at_the_edges_of_the_process_only() -> None:
    broad = {
        path
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        for name in ast.walk(node.type or ast.Name("BaseException"))
        if isinstance(name, ast.Name) and name.id in {"Exception", "BaseException"}
    }
    assert broad <= PROCESS_EDGES


@pytest.mark.parametrize("host", REGISTRIES)
def test_no_file_names_a_package_registry(host: str) -> None:
    needle = host.encode()
    assert [str(path.relative_to(ROOT)) for path in files() if needle in path.read_bytes().lower()] == []


def test_every_pinned_package_has_hashes_and_no_address() -> None:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    entries = [line.split() for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    assert entries
    for entry in entries:
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*(\[[a-z0-9,-]+\])?==[0-9][A-Za-z0-9.+!]*", entry[0]), entry[0]
        assert entry[-1].startswith("--hash="), entry[0]
        hashes = [word for word in entry if word.startswith("-")]
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", word) for word in hashes), entry[0]
    assert "://" not in text


def test_the_schemas_folder_is_data() -> None:
    """An `__init__.py` there would make the folder a package that hides the installed `proto`."""
    assert [path for path in files(ROOT / "proto") if path.suffix == ".py"] == []
