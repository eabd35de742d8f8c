"""The policy evaluated in process by regorus, a Rego engine written in Rust.

The engine's objects belong to the thread that made them, so the compiled program is kept as bytes and
each thread loads its own machine from it.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import regorus

from somabrain.errors import ConfigurationError, PolicyUnavailableError
from somabrain.policy.document import ENTRY_POINT, read_decision
from somabrain.ports import Decision, Question

FILE_NAME = "option.rego"

UNASKABLE = "the request can't be put to the policy: it holds a value that JSON can't carry"
"""The reason where the input is no document, as with NaN or a lone surrogate (RFC 8259 §6, §8.2)."""

_OWN = threading.local()
"""Each thread's machine and the program in it. It belongs to no policy: one that is collected by another thread would
take the machines along there, which the engine does not let go of but in their own threads."""

_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False)

_NO_DATA = "{}"
"""The policy's `data` beside its own rules: nothing, so input alone decides."""


def policy_source(path: Path | None) -> str:
    """The Rego text at `path`, or of the policy shipped: in a wheel beside this module, in a checkout in the chart.

    Raises `ConfigurationError`.
    """
    if path is None:
        path = _shipped()
    try:
        return path.read_text(encoding="utf-8")
    except OSError as fault:
        message = f"POLICY_PATH: the policy {path} can't be read: {fault.strerror}"
        raise ConfigurationError(message) from fault
    except UnicodeDecodeError as fault:
        message = f"POLICY_PATH: the policy {path} is not UTF-8 text"
        raise ConfigurationError(message) from fault


def _shipped() -> Path:
    here = Path(__file__).resolve().parent
    installed = here / FILE_NAME
    if installed.exists():
        return installed
    return here.parent.parent / "infra" / "helm" / "charts" / "opa" / "policies" / FILE_NAME


class _EngineFault(Exception):  # noqa: N818  it never leaves this module
    """The engine failed; the message is one line."""


class _Panics:
    """Turns a panic of the engine into `_EngineFault`.

    A panic derives from `BaseException`, and its class can't be imported to be named in an `except`.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        if kind is not None and kind.__name__ == "PanicException":
            raise _EngineFault(_one_line(str(fault))) from fault


class EmbeddedPolicy:
    """Implements `somabrain.ports.Policy` in process. Thread-safe."""

    def __init__(self, source: str) -> None:
        """`source` is Rego of package `somabrain.option`. Raises `ConfigurationError` where it does not compile."""
        try:
            self._program = _compiled(source)
            self._machine()
        except _EngineFault as fault:
            message = f"POLICY_PATH: the policy does not compile: {fault}"
            raise ConfigurationError(message) from fault

    def decide(self, question: Question) -> Decision:
        """The decision; anything but a clear allow is a denial.

        Raises `PolicyUnavailableError` where the engine fails.
        """
        return self.decide_input(question.as_input())

    def decide_input(self, document: Any) -> Decision:
        """The decision on an input document, which may be any JSON value.

        Raises `PolicyUnavailableError` where the engine fails.
        """
        try:
            return self._evaluated(document)
        except _EngineFault as fault:
            _OWN.loaded = None
            raise PolicyUnavailableError from fault

    def _evaluated(self, document: Any) -> Decision:
        machine = self._machine()
        with _Panics():
            try:
                machine.set_input_json(_ENCODER.encode(document))
            except (RuntimeError, ValueError):
                return Decision(allowed=False, reasons=(UNASKABLE,))
            try:
                answer = json.loads(machine.execute_entry_point(ENTRY_POINT))
            except (RuntimeError, ValueError) as fault:
                raise _EngineFault(_one_line(str(fault))) from fault
        return read_decision(answer)

    def _machine(self) -> Any:
        """The machine of the calling thread, with this policy in it."""
        program, machine = getattr(_OWN, "loaded", None) or (None, None)
        if program is not self._program:
            machine = _loaded(self._program)
            _OWN.loaded = (self._program, machine)
        return machine


def _compiled(source: str) -> bytes:
    """The program, serialised: unlike the program itself it may be used in any thread. Raises `_EngineFault`."""
    try:
        with _Panics():
            modules = [(FILE_NAME, source)]
            program: bytes = regorus.Program.compile_from_modules(_NO_DATA, modules, [ENTRY_POINT]).serialize_binary()
            return program
    except (RuntimeError, ValueError) as fault:
        raise _EngineFault(_one_line(str(fault))) from fault


def _loaded(program: bytes) -> Any:
    """A machine of the calling thread with `program` in it. Raises `_EngineFault`."""
    try:
        with _Panics():
            machine = regorus.Rvm()
            machine.load_program(regorus.Program.deserialize_binary(program)[0])
            machine.set_data_json(_NO_DATA)
            return machine
    except (RuntimeError, ValueError) as fault:
        raise _EngineFault(_one_line(str(fault))) from fault


def _one_line(report: str) -> str:
    """Place and cause out of the engine's report of several lines, which ends in a stack trace."""
    lines = [line.strip() for line in report.partition("Stack backtrace:")[0].splitlines()]
    place = next((line.removeprefix("--> ") for line in lines if line.startswith("--> ")), None)
    cause = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), None)
    if cause is None:
        cause = next((line for line in lines if line), "the engine gave no reason")
    return f"{place}: {cause}" if place else cause
