"""When the process compiles its kernels, and the threads that they run in beside a request's own."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from somabrain.oak.kernels import accelerate

R = TypeVar("R")


class Accelerator:
    """Compiles the kernels once, in a thread of its own, when somebody first has use for them."""

    def __init__(self) -> None:
        """Compiles nothing yet."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def want(self) -> None:
        """Begins to compile, unless that was begun."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=_compile, name="kernels", daemon=True)
                self._thread.start()

    def wait(self) -> None:
        """Returns once the kernels are compiled."""
        self.want()
        if self._thread is not None:
            self._thread.join()


def _compile() -> None:
    """Compiles, and leaves what numba has made out of later collections: it stays."""
    accelerate()
    gc.freeze()


class Beside:
    """Threads for what a request needs later: while one of them works it out, the request goes on with the rest.

    That gains time where it runs compiled, without the GIL, and a core is free.
    """

    def __init__(self, threads: int) -> None:
        """At most so many; each is started when there is work for it."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="beside")

    def begin(self, work: Callable[[], R]) -> Callable[[], R]:
        """Gives what returns the result of `work`, or raises as it does; it works itself where no thread has begun to.

        So it does where no thread can be started any more, as when the interpreter shuts down.
        """
        try:
            begun = self._pool.submit(work)
        except RuntimeError:
            return work
        return lambda: work() if begun.cancel() else begun.result()


BESIDE = Beside(os.cpu_count() or 1)
"""The process's, as the cores are."""

ACCELERATOR = Accelerator()
"""The kernels are the process's."""
