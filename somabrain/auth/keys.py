"""AUTH_MODE=keys: bearer keys, known by their SHA-256 in a file that an operator keeps.

A key is 256 random bits, so its plain hash can neither be inverted nor looked up, and the file holds no secret.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_serializer

from somabrain.auth.bearer import bearer_token
from somabrain.errors import ConfigurationError, UnauthenticatedError
from somabrain.ports import Principal
from somabrain.tenancy import NAME_PATTERN, TenantId

KEY_BYTES = 32
"""Random bytes in a key."""

FILE_BYTES_MAX = 16 << 20
"""Largest keys file that is read, about 60,000 keys."""

CHECK_INTERVAL_S = 1.0
"""Least pause between two looks at whether the file has changed."""

_KEY = re.compile(r"sb_[A-Za-z0-9_-]{43}")

_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _instant(value: object) -> object:
    """The time that an RFC 3339 string names; times with an offset are passed through."""
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        return datetime.fromisoformat(value.upper())
    if value is None or (isinstance(value, datetime) and value.utcoffset() is not None):
        return value
    message = "not an RFC 3339 time with an offset"
    raise ValueError(message)


Instant = Annotated[datetime, BeforeValidator(_instant)]


class KeyRecord(BaseModel):
    """One key as the file holds it; a key without `expires_at` is good until it is taken out."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    tenant: str = Field(pattern=NAME_PATTERN)
    subject: str = Field(min_length=1, max_length=255)
    roles: list[Annotated[str, Field(min_length=1, max_length=64)]]
    expires_at: Instant | None
    created_at: Instant

    @field_serializer("expires_at", "created_at")
    def _written(self, value: datetime | None) -> str | None:
        if value is None:
            return None
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class KeysFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    keys: list[KeyRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grant:
    principal: Principal
    expires_at_s: float | None


_Stamp = tuple[int, int, int]
"""What changes when the file does: inode, time of modification, size."""


class KeyAuthenticator:
    """Implements `somabrain.ports.Authenticator` over a keys file. Thread-safe.

    The file is read again when it has changed; a broken one leaves the keys as they were last read whole.
    """

    def __init__(self, path: Path, *, wall: Callable[[], float], monotonic: Callable[[], float]) -> None:
        """`wall` is seconds since the epoch, `monotonic` seconds since any moment.

        Raises `ConfigurationError` where the file is missing or broken.
        """
        self._path = path
        self._wall = wall
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._stamp = _stamp(path)
        self._grants = _grants(_read(path))
        self._checked_at = monotonic()

    def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """The owner of the key in `authorization`. Raises `UnauthenticatedError`."""
        token = bearer_token(headers)
        if not _KEY.fullmatch(token):
            message = "The bearer token is not a key of this server: they look like sb_… with 43 characters."
            raise UnauthenticatedError(message)
        grant = self._current().get(hashlib.sha256(token.encode()).hexdigest())
        if grant is None:
            message = "This server does not know the key."
            raise UnauthenticatedError(message)
        if grant.expires_at_s is not None and grant.expires_at_s <= self._wall():
            message = "The key has expired."
            raise UnauthenticatedError(message)
        return grant.principal

    def _current(self) -> Mapping[str, _Grant]:
        now = self._monotonic()
        if now - self._checked_at >= CHECK_INTERVAL_S:
            with self._lock:
                if now - self._checked_at >= CHECK_INTERVAL_S:
                    self._checked_at = now
                    self._reload()
        return self._grants

    def _reload(self) -> None:
        stamp = _stamp(self._path)
        if stamp is None or stamp == self._stamp:
            return
        with contextlib.suppress(ConfigurationError):
            self._grants = _grants(_read(self._path))
            self._stamp = stamp


def create_key(
    path: Path,
    *,
    tenant: TenantId,
    subject: str,
    roles: Sequence[str],
    expires_at: datetime | None,
    now: datetime,
    entropy: bytes,
) -> str:
    """Add a new key to the file, which is made with mode 0600 where there is none, and return the key.

    The times have an offset; `entropy` is `KEY_BYTES` bytes of a cryptographic random source. The file is
    replaced whole and is on disk when this returns; calls at the same time, of other processes too, wait
    for each other. Raises `ConfigurationError`, with the file as it was.
    """
    if len(entropy) != KEY_BYTES:
        message = f"a key is made of {KEY_BYTES} random bytes"
        raise ConfigurationError(message)
    key = "sb_" + base64.urlsafe_b64encode(entropy).rstrip(b"=").decode()
    target = Path(os.path.realpath(path))
    try:
        record = KeyRecord(
            sha256=hashlib.sha256(key.encode()).hexdigest(),
            tenant=tenant.value,
            subject=subject,
            roles=list(roles),
            expires_at=expires_at,
            created_at=now,
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.parent) as folder:
            known = _read(target).keys if target.exists() else []
            _replace(target, KeysFile(keys=[*known, record]), folder)
    except ValidationError as fault:
        message = f"the key can't be made: {_first(fault)}"
        raise ConfigurationError(message) from fault
    except OSError as fault:
        message = f"SOMABRAIN_KEYS_FILE: {path} can't be written: {fault.strerror}"
        raise ConfigurationError(message) from fault
    return key


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """The descriptor of `folder`, locked against other writers of keys."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _replace(path: Path, content: KeysFile, folder: int) -> None:
    """Put `content` at `path` so that after a crash either the old file is there or the new one."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:  # noqa: PTH123  mkstemp gives a descriptor
            stream.write(content.model_dump_json(indent=2) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
    os.fsync(folder)


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _read(path: Path) -> KeysFile:
    """The file at `path`. Raises `ConfigurationError` with one line."""
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_BYTES_MAX + 1)
    except OSError as fault:
        message = f"SOMABRAIN_KEYS_FILE: {path} can't be read: {fault.strerror} (`somabrain keys create` makes it)"
        raise ConfigurationError(message) from fault
    if len(content) > FILE_BYTES_MAX:
        message = f"SOMABRAIN_KEYS_FILE: {path} is larger than {FILE_BYTES_MAX} bytes"
        raise ConfigurationError(message)
    try:
        parsed = KeysFile.model_validate_json(content)
    except ValidationError as fault:
        message = f"SOMABRAIN_KEYS_FILE: {path}: {_first(fault)}"
        raise ConfigurationError(message) from fault
    if len({record.sha256 for record in parsed.keys}) != len(parsed.keys):
        message = f"SOMABRAIN_KEYS_FILE: {path} holds a key twice"
        raise ConfigurationError(message)
    return parsed


def _grants(content: KeysFile) -> Mapping[str, _Grant]:
    return {
        record.sha256: _Grant(
            principal=Principal(tenant=TenantId(record.tenant), subject=record.subject, roles=tuple(record.roles)),
            expires_at_s=record.expires_at.timestamp() if record.expires_at else None,
        )
        for record in content.keys
    }


def _first(fault: ValidationError) -> str:
    """Place and cause of the first fault, in one line."""
    error = fault.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in error["loc"])
    cause = " ".join(error["msg"].removeprefix("Value error, ").split())
    return f"{place}: {cause}" if place else cause
