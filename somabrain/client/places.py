"""Where the service and the queue are, where nobody says."""

from __future__ import annotations

import hashlib
import importlib
import os
import tempfile
import uuid
from pathlib import Path
from typing import Any

from somabrain.client.errors import MissingError

DATA_FOLDER = Path("somabrain-data")
LOCAL_URL = "http://127.0.0.1"
"""What a service in this process is called: it answers to loopback names only."""

_ANY_NAME_BYTES = 16


def queue_folder(url: str, key: str | None) -> Path:
    """One for each address and caller: what one caller recorded is never sent as another."""
    given = os.environ.get("XDG_STATE_HOME")
    try:
        state = Path(given) if given else Path.home() / ".local" / "state"
    except RuntimeError:  # a user without a home
        return Path(tempfile.gettempdir()) / f"somabrain-queue-{uuid.uuid4().hex}"
    whose = hashlib.blake2b(f"{url.rstrip('/')}\n{key or ''}".encode(), digest_size=_ANY_NAME_BYTES)
    return state / "somabrain" / whose.hexdigest()


def started(folder: Path) -> Any:
    """What carries requests to a service in this process. Raises `MissingError`, `ValueError`."""
    try:
        embedded = importlib.import_module("somabrain.embedded")
    except ModuleNotFoundError as error:
        raise MissingError(
            f"Brain() runs the service in this process, which needs it installed ({error.name} is missing): "
            "`pip install somabrain`; Brain(url) needs only somabrain-client"
        ) from error
    return embedded.open_service(folder)
