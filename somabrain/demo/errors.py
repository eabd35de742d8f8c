"""What can go wrong in the demo."""

from __future__ import annotations


class DemoError(Exception):
    """What keeps the demo from going on, in one line."""
