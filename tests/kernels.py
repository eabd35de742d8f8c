"""Kernels, compiled or plain for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from somabrain.oak.kernels import Kernel


@contextmanager
def restored(kernels: Sequence[Kernel[..., Any]]) -> Iterator[None]:
    """Kernels are as they were at the end, so that other tests run the version they ran before."""
    before = [dict(vars(one)) for one in kernels]
    try:
        yield
    finally:
        for one, state in zip(kernels, before, strict=True):
            vars(one).update(state)


@contextmanager
def running(kernels: Sequence[Kernel[..., Any]], *, compiled: bool) -> Iterator[None]:
    """Kernels run compiled, or plain where they were compiled before."""
    with restored(kernels):
        for one in kernels:
            if compiled:
                one.compile()
            else:
                vars(one).update(vars(Kernel(one.function, vars(one)["_signature"])))
        yield
