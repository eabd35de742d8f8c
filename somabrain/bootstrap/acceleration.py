"""When the process compiles its kernels."""

from __future__ import annotations

import gc
import threading

from somabrain.oak.kernels import accelerate


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


ACCELERATOR = Accelerator()
"""The kernels are the process's."""
