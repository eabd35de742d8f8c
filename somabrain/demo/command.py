"""The command `somabrain demo`: what must be there, a server, the story, and a clean end whatever happens."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from common.config.settings import Settings
from somabrain.commands.output import EXIT_CONFIGURATION, fail
from somabrain.demo.errors import DemoError
from somabrain.demo.server import own_server

NEEDED = ("gymnasium", "matplotlib")
"""What only the demo needs: the extra `demo` in pyproject.toml."""

EPISODES, EPISODES_DECLARED = 400, 200
"""Random episodes to learn from where no number is given: of actions, of declared options."""

AGAIN_S = 30.0
"""Longer than the clean-up of a server that does not end."""

EXIT_SIGNAL = 128
"""A shell's status of a program that a signal ended, less the signal's number (POSIX 2017, XCU 2.8.2)."""


def run(settings: Settings, *, declared: bool, episodes: int | None, seed: int, rainy: bool, output: Path) -> None:
    """Learns from `episodes` random episodes, solves every start by plans, and draws the learning curve in `output`.

    From raw actions, or with options whose policies are `declared`.

    Ends the program with status 1 and one line where that fails. `settings` say only where `somabrain serve` would
    listen: the demo's server has its own.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        fail(f"the demo needs {' and '.join(missing)}: make install, or pip install 'somabrain[demo]'")
    if not output.parent.is_dir():
        fail(f"--output {output}: there is no folder {output.parent}", EXIT_CONFIGURATION)
    with _ended_by_signals():
        try:
            with own_server() as server:
                from somabrain.demo.newcomer_story import NewcomerStory  # noqa: PLC0415 - while the server starts
                from somabrain.demo.story import Story  # noqa: PLC0415 - as above

                server.wait()
                kind = Story if declared else NewcomerStory
                enough = EPISODES_DECLARED if declared else EPISODES
                kind(server, seed=seed, rainy=rainy).tell(
                    episodes=enough if episodes is None else episodes, output=output, served_at=_address(settings)
                )
        except (DemoError, OSError) as error:
            fail(f"the demo failed: {error}")


def _address(settings: Settings) -> str:
    host = settings.somabrain_host.strip("[]")
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.somabrain_port}"


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP end the program through every clean-up.

    What they raise can be lost where it comes up: in a finalizer, or in a thread that waits for a lock which was held
    just then. So it is raised again until the program has ended.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        def again(_number: int, _frame: FrameType | None) -> None:
            sys.exit(EXIT_SIGNAL + number)

        signal.signal(signal.SIGALRM, again)
        signal.setitimer(signal.ITIMER_REAL, AGAIN_S, AGAIN_S)
        sys.exit(EXIT_SIGNAL + number)

    ended = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, end) for number in ended}
    before[signal.SIGALRM] = signal.getsignal(signal.SIGALRM)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
