"""Loops over arrays that numba compiles once the process asks for it; until then they run as plain Python.

Both give the same bits: the compiled code is of the same functions, without fast-math. ADR 0010.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from types import FunctionType
from typing import Any, Generic, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

IDS = "Array(int32, 1, 'C', readonly=True)"
PLACES = "Array(int64, 1, 'C', readonly=True)"
REALS = "Array(float64, 1, 'C', readonly=True)"
"""Types of arrays that a kernel only reads, for its signature: numba takes others there as well."""

_NO_CACHE = (
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.PickleError,
)
"""What numba raises where it has no folder that it may write, the disk is full, or a cached file is damaged.

The latter is what `pickle` lists as raised on damaged data.
"""


class Kernel(Generic[P, R]):
    """A function of arrays and numbers in the part of Python that numba compiles; calls only kernels of its module."""

    def __init__(self, function: Callable[P, R], signature: str) -> None:
        """`signature` in numba's notation, such as "float64(float64[::1], int64)"."""
        self.function = function
        self._signature = signature
        self._call = function
        self._compiled = False

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """What the function returns."""
        return self._call(*args, **kwargs)

    @property
    def compiled(self) -> bool:
        """Whether calls run compiled by now: where they don't, other Python may be faster than a loop over arrays."""
        return self._compiled

    def compile(self) -> None:
        """Lets later calls run compiled; the GIL is not held by them.

        The machine code is kept beside the source or in the user's cache folder, and is made anew by each process
        where neither can be written.
        """
        if self._compiled:
            return
        try:
            self._call = self._machine_code(cache=True)
        except _NO_CACHE:
            self._call = self._machine_code(cache=False)
        self._compiled = True

    def _machine_code(self, *, cache: bool) -> Callable[P, R]:
        from numba import njit  # noqa: PLC0415 - a second, and only where speed is wanted

        function = cast("FunctionType", self.function)
        names = {name: function.__globals__.get(name) for name in function.__code__.co_names}
        callees = {name: value for name, value in names.items() if isinstance(value, Kernel)}
        for callee in callees.values():
            callee.compile()
        if callees:
            calls: dict[str, Any] = {name: callee._call for name, callee in callees.items()}  # noqa: SLF001 - this class's
            seen = FunctionType(function.__code__, {**function.__globals__, **calls}, function.__name__)
            seen.__module__, seen.__qualname__ = function.__module__, function.__qualname__
            function = seen
        return cast("Callable[P, R]", njit(self._signature, cache=cache, nogil=True)(function))


_KERNELS: list[Kernel[..., Any]] = []


def kernel(signature: str) -> Callable[[Callable[P, R]], Kernel[P, R]]:
    """Makes a kernel of a function."""

    def made(function: Callable[P, R]) -> Kernel[P, R]:
        one = Kernel(function, signature)
        _KERNELS.append(one)
        return one

    return made


def accelerate() -> None:
    """Compiles every kernel that was imported: some seconds the first time on a machine, then from numba's cache."""
    for one in _KERNELS:
        one.compile()
