"""What must not be in the code, as rules on the syntax tree and the comments.

Prints `path:line: rule: message` for each finding and exits 1 where there is one. Strings are never looked at.
The rules:

- `not-implemented`: the name `NotImplementedError`.
- `marker`: TODO, FIXME, XXX or HACK in a comment.
- `stub`: a function or class with nothing but `pass` or `...`, a docstring apart. Members of a protocol,
  overloads and abstract methods have no body to write; a class that is only a docstring is whole.
- `mock`: the import of a mocking library.
- `bare-except`, `broad-except`: `except:`, and `except` or `suppress` of `Exception` or `BaseException` without
  `# noqa: BLE001` and a reason on the line. A handler that ends by raising again what it caught swallows nothing.
- `number`: below `somabrain/`, a number in the body of a function other than -1, 0, 0.5, 1 and 2: tuning
  belongs in the settings, a definition in a named constant.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDERS = ("common", "libs", "somabrain", "scripts", "tests", "benchmarks")
NUMBERED_FOLDER = "somabrain"
PLAIN_NUMBERS = (-1, 0, 0.5, 1, 2)
BROAD = frozenset({"Exception", "BaseException"})
MOCKS = frozenset({"mock", "pytest_mock", "asyncmock", "flexmock", "mockito"})

MARKER = re.compile(r"\b(?:(?i:todo|fixme)|XXX|HACK)\b")
EXCUSE = re.compile(r"#\s*noqa:\s*(?P<codes>[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*)(?P<reason>.*)")

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Finding(NamedTuple):
    """One broken rule; `line` counts from 1."""

    line: int
    rule: str
    message: str


def findings(source: str, *, numbered: bool) -> list[Finding]:
    """All findings in a module's source, by line; `numbered` where the rule `number` holds."""
    try:
        tree = ast.parse(source)
        comments = _comments(source)
    except (SyntaxError, ValueError, tokenize.TokenError) as fault:
        return [Finding(getattr(fault, "lineno", None) or 1, "syntax", f"not Python: {fault}")]
    found = [
        *_markers(comments),
        *_names(tree),
        *_stubs(tree),
        *_mocks(tree),
        *_excepts(tree, comments),
        *(_numbers(tree) if numbered else ()),
    ]
    return sorted(set(found))


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}


def _markers(comments: dict[int, str]) -> Iterator[Finding]:
    for line, comment in comments.items():
        for match in MARKER.finditer(comment):
            yield Finding(line, "marker", f"{match[0]} in a comment: do it, or open an issue")


def _names(tree: ast.Module) -> Iterator[Finding]:
    name = "NotImplementedError"
    for node in ast.walk(tree):
        if (isinstance(node, ast.Name) and node.id == name) or (isinstance(node, ast.Attribute) and node.attr == name):
            yield Finding(node.lineno, "not-implemented", f"{name}: write the code, or a protocol")


def _stubs(node: ast.AST, *, in_protocol: bool = False) -> Iterator[Finding]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            protocol = any(_last_name(base) == "Protocol" for base in child.bases)
            if not protocol and _is_empty(child):
                yield Finding(child.lineno, "stub", f"class {child.name} has no body: say what it is in a docstring")
            yield from _stubs(child, in_protocol=protocol)
        elif isinstance(child, Function):
            if not in_protocol and _is_empty(child) and not _is_declaration(child):
                yield Finding(child.lineno, "stub", f"{child.name} has no body")
            yield from _stubs(child)
        else:
            yield from _stubs(child, in_protocol=in_protocol)


def _is_empty(node: Function | ast.ClassDef) -> bool:
    """Whether the body, a docstring apart, is one or more of `pass` and `...` and nothing else."""
    rest = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    return bool(rest) and all(
        isinstance(statement, ast.Pass)
        or (
            isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Constant)
            and statement.value.value is ...
        )
        for statement in rest
    )


def _is_declaration(function: Function) -> bool:
    return any(_last_name(decorator) in {"overload", "abstractmethod"} for decorator in function.decorator_list)


def _last_name(node: ast.expr) -> str | None:
    """`c` of the expressions `c`, `a.b.c`, `a.c[T]`."""
    if isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def _mocks(tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in imported:
            package, *below = name.split(".")
            if package in MOCKS or (package == "unittest" and below[:1] == ["mock"]):
                yield Finding(node.lineno, "mock", f"{name}: write a small implementation under tests/reference/")


def _excepts(tree: ast.Module, comments: dict[int, str]) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            if node.type is None:
                yield Finding(node.lineno, "bare-except", "name what is caught")
                continue
            last = node.body[-1]
            caught, raised = [node.type], isinstance(last, ast.Raise) and last.exc is None
        elif isinstance(node, ast.Call) and _last_name(node.func) == "suppress":
            caught, raised = node.args, False
        else:
            continue
        names = {_last_name(part) for expression in caught for part in _parts(expression)}
        lines = range(node.lineno, max(expression.end_lineno or 0 for expression in caught) + 1) if caught else ()
        if names & BROAD and not raised and not any(_is_excused(comments.get(line, "")) for line in lines):
            yield Finding(node.lineno, "broad-except", "name what is caught, or `# noqa: BLE001` and the reason")


def _parts(expression: ast.expr) -> list[ast.expr]:
    return expression.elts if isinstance(expression, ast.Tuple) else [expression]


def _is_excused(comment: str) -> bool:
    match = EXCUSE.search(comment)
    return match is not None and "BLE001" in match["codes"] and re.search(r"[a-z]{2}", match["reason"]) is not None


def _numbers(tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            for statement in node.body:
                yield from _numbers_in(statement)
        elif isinstance(node, ast.Lambda):
            yield from _numbers_in(node.body)


def _numbers_in(node: ast.AST, sign: int = 1) -> Iterator[Finding]:
    if isinstance(node, ast.Constant):
        value = node.value
        if (
            isinstance(value, int | float | complex)
            and not isinstance(value, bool)
            and sign * value not in PLAIN_NUMBERS
        ):
            yield Finding(node.lineno, "number", f"{sign * value}: a setting, or a named constant with its source")
        return
    negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    for child in ast.iter_child_nodes(node):
        yield from _numbers_in(child, -1 if negative and isinstance(child, ast.Constant) else 1)


def _listed(root: Path) -> list[Path]:
    """The Python files that git tracks or would; every one where there is no git, as in an unpacked archive."""
    command = ["git", "-C", str(root), "ls-files", "-z", "-co", "--exclude-standard", "--", *FOLDERS]
    try:
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return sorted(path for folder in FOLDERS for path in (root / folder).rglob("*.py"))
    paths = {root / name for name in output.split("\0") if name.endswith(".py")}
    return sorted(path for path in paths if path.exists())


def main(arguments: list[str]) -> int:
    """The exit status: 1 where there is a finding, else 0."""
    root = Path(__file__).resolve().parents[2]
    paths = [Path(argument) for argument in arguments] or _listed(root)
    status = 0
    for path in paths:
        shown = path.resolve().relative_to(root) if path.resolve().is_relative_to(root) else path
        try:
            with tokenize.open(path) as stream:
                source = stream.read()
        except (OSError, SyntaxError, UnicodeDecodeError) as fault:
            print(f"{shown}:1: syntax: can't be read: {fault}")
            status = 1
            continue
        for finding in findings(source, numbered=NUMBERED_FOLDER in shown.parts[:-1]):
            print(f"{shown}:{finding.line}: {finding.rule}: {finding.message}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
