"""What a sink can fail with."""

from __future__ import annotations


class EventsFileError(Exception):
    """The file is not an events file, or it is damaged; the message is one line that says where."""
