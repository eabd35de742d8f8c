"""What a sink can fail with."""

from __future__ import annotations


class SinkUnavailableError(Exception):
    """The sink can't take events now; they stay in the journal and are given to it again."""

    def __init__(self, detail: str | None = None) -> None:
        """`detail` replaces the class's own message, the first line of its docstring."""
        super().__init__(detail or (type(self).__doc__ or "").strip().split("\n", 1)[0])


class EventsFileError(Exception):
    """The file is not an events file, or it is damaged; the message is one line that says where."""
