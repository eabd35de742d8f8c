"""Keys: what a file of them grants, how it may change, and that making one loses nothing."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somabrain.auth.bearer import TOKEN_BYTES_MAX, bearer_token
from somabrain.auth.keys import CHECK_INTERVAL_S, FILE_BYTES_MAX, KeyAuthenticator, create_key
from somabrain.errors import ConfigurationError, UnauthenticatedError
from somabrain.ports import Principal
from somabrain.tenancy import TenantId

NOW = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
ACME = TenantId("acme")


@dataclass(slots=True)
class Clock:
    """Seconds that pass only when told to."""

    seconds: float

    def __call__(self) -> float:
        return self.seconds


def make(path: Path, number: int, *, subject: str = "agent", expires_at: datetime | None = None) -> str:
    entropy = hashlib.sha256(str(number).encode()).digest()
    return create_key(
        path,
        tenant=ACME,
        subject=subject,
        roles=("brain_reader", "brain_writer"),
        expires_at=expires_at,
        now=NOW,
        entropy=entropy,
    )


def opened(path: Path, *, wall: Clock | None = None, monotonic: Clock | None = None) -> KeyAuthenticator:
    return KeyAuthenticator(path, wall=wall or Clock(NOW.timestamp()), monotonic=monotonic or Clock(0.0))


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "keys.json"


def test_a_made_key_is_its_owner(path: Path) -> None:
    key = make(path, 1)
    assert opened(path).authenticate(bearer(key)) == Principal(
        tenant=ACME, subject="agent", roles=("brain_reader", "brain_writer")
    )


def test_a_key_looks_as_told_and_the_file_holds_its_hash_alone(path: Path) -> None:
    key = create_key(
        path, tenant=ACME, subject="a", roles=(), expires_at=NOW + timedelta(days=1), now=NOW, entropy=b"\xff" * 32
    )
    assert key == "sb_" + "_" * 42 + "8"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "keys": [
            {
                "sha256": hashlib.sha256(key.encode()).hexdigest(),
                "tenant": "acme",
                "subject": "a",
                "roles": [],
                "expires_at": "2026-01-03T03:04:05.678Z",
                "created_at": "2026-01-02T03:04:05.678Z",
            }
        ]
    }
    assert [entry.name for entry in path.parent.iterdir()] == ["keys.json"]


def test_an_open_mode_is_narrowed_and_a_link_is_followed(path: Path, tmp_path: Path) -> None:
    make(path, 1)
    path.chmod(0o644)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    make(link, 2)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(json.loads(path.read_text(encoding="utf-8"))["keys"]) == 2


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "bEaReR   "])
def test_the_scheme_is_read_in_any_case(path: Path, scheme: str) -> None:
    key = make(path, 1)
    assert opened(path).authenticate({"authorization": scheme + key}).subject == "agent"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer\t{key}",
        "Basic {key}",
        "Bearer{key}",
        " Bearer {key}",
        "Bearer {key} ",
        "Bearer {key}\n",
        "Bearer {key},{key}",
        "Bearer {key} {key}",
        'Bearer "{key}"',
        "{key}",
        "Token {key}",
    ],
)
def test_any_other_credential_is_refused(path: Path, value: str) -> None:
    key = make(path, 1)
    with pytest.raises(UnauthenticatedError):
        opened(path).authenticate({"authorization": value.format(key=key)})


def test_a_request_without_credentials_is_refused(path: Path) -> None:
    key = make(path, 1)
    with pytest.raises(UnauthenticatedError):
        opened(path).authenticate({"x-api-key": key, "cookie": key})


def test_a_token_above_the_limit_is_refused_and_one_at_it_is_read() -> None:
    assert bearer_token(bearer("a" * TOKEN_BYTES_MAX)) == "a" * TOKEN_BYTES_MAX
    with pytest.raises(UnauthenticatedError, match="16384"):
        bearer_token(bearer("a" * (TOKEN_BYTES_MAX + 1)))


@given(value=st.text(max_size=60))
def test_an_authorization_of_any_text_is_read_or_refused(value: str) -> None:
    try:
        token = bearer_token({"authorization": value})
    except UnauthenticatedError:
        return
    assert token.isascii()
    assert value.endswith(token)


def test_a_key_that_differs_in_one_character_is_refused(path: Path) -> None:
    key = make(path, 1)
    subject = opened(path)
    for index in range(len(key)):
        other = key[:index] + ("A" if key[index] != "A" else "B") + key[index + 1 :]
        with pytest.raises(UnauthenticatedError):
            subject.authenticate(bearer(other))
    for other in (key[:-1], key + "A", key.lower(), hashlib.sha256(key.encode()).hexdigest()):
        with pytest.raises(UnauthenticatedError):
            subject.authenticate(bearer(other))


def test_a_key_is_good_until_the_moment_it_expires(path: Path) -> None:
    wall = Clock(NOW.timestamp())
    key = make(path, 1, expires_at=NOW.astimezone(timezone(timedelta(hours=9))) + timedelta(seconds=10))
    subject = opened(path, wall=wall)
    wall.seconds = datetime(2026, 1, 2, 3, 4, 15, 677999, tzinfo=UTC).timestamp()
    assert subject.authenticate(bearer(key)).tenant == ACME
    wall.seconds = datetime(2026, 1, 2, 3, 4, 15, 678000, tzinfo=UTC).timestamp()
    with pytest.raises(UnauthenticatedError, match="expired"):
        subject.authenticate(bearer(key))


def test_a_changed_file_is_read_at_the_next_check(path: Path) -> None:
    monotonic = Clock(0.0)
    first = make(path, 1)
    subject = opened(path, monotonic=monotonic)
    second = make(path, 2, subject="second")
    with pytest.raises(UnauthenticatedError):
        subject.authenticate(bearer(second))
    monotonic.seconds += CHECK_INTERVAL_S
    assert subject.authenticate(bearer(second)).subject == "second"
    assert subject.authenticate(bearer(first)).subject == "agent"
    path.write_text('{"keys": []}', encoding="utf-8")
    monotonic.seconds += CHECK_INTERVAL_S
    with pytest.raises(UnauthenticatedError):
        subject.authenticate(bearer(first))


def test_a_file_that_breaks_later_leaves_the_keys_as_they_were(path: Path) -> None:
    monotonic = Clock(0.0)
    key = make(path, 1)
    whole = path.read_bytes()
    subject = opened(path, monotonic=monotonic)
    for broken in (b"", b"{", b"[]", b"\xff", whole[:-20], b'{"keys": 1}', b" " * (FILE_BYTES_MAX + 1)):
        path.write_bytes(broken)
        monotonic.seconds += CHECK_INTERVAL_S
        assert subject.authenticate(bearer(key)).subject == "agent"
        with pytest.raises(UnauthenticatedError):
            subject.authenticate(bearer("sb_" + "A" * 43))
    path.unlink()
    monotonic.seconds += CHECK_INTERVAL_S
    assert subject.authenticate(bearer(key)).subject == "agent"
    second = make(path, 2, subject="second")
    monotonic.seconds += CHECK_INTERVAL_S
    assert subject.authenticate(bearer(second)).subject == "second"
    with pytest.raises(UnauthenticatedError):
        subject.authenticate(bearer(key))


RECORD: dict[str, Any] = {
    "sha256": "0" * 64,
    "tenant": "acme",
    "subject": "a",
    "roles": ["brain_reader"],
    "expires_at": None,
    "created_at": "2026-01-02T03:04:05Z",
}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"sha256": "0" * 63}, "sha256"),
        ({"sha256": "A" * 64}, "sha256"),
        ({"sha256": "0" * 64 + "\n"}, "sha256"),
        ({"sha256": 0}, "sha256"),
        ({"tenant": ""}, "tenant"),
        ({"tenant": "a/b"}, "tenant"),
        ({"tenant": "acme\n"}, "tenant"),
        ({"tenant": None}, "tenant"),
        ({"subject": ""}, "subject"),
        ({"subject": 7}, "subject"),
        ({"roles": "brain_admin"}, "roles"),
        ({"roles": {"brain_admin": True}}, "roles"),
        ({"roles": [1]}, "roles"),
        ({"expires_at": "2026-01-02"}, "expires_at"),
        ({"expires_at": "2026-01-02T03:04:05"}, "expires_at"),
        ({"expires_at": "2026-13-02T03:04:05Z"}, "expires_at"),
        ({"expires_at": "1767323045"}, "expires_at"),
        ({"expires_at": 1767323045}, "expires_at"),
        ({"expires_at": ""}, "expires_at"),
        ({"expires_at": False}, "expires_at"),
        ({"created_at": None}, "created_at"),
        ({"expire_at": "2026-01-02T03:04:05Z"}, "expire_at"),
    ],
)
def test_a_broken_record_stops_the_start_and_is_named(path: Path, change: dict[str, Any], named: str) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps({"keys": [RECORD, RECORD | change]}), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=rf"^SOMABRAIN_KEYS_FILE: [^\n]*keys\.1\.{named}\b[^\n]*$"):
        opened(path)


@pytest.mark.parametrize("missing", sorted(RECORD))
def test_a_record_has_every_field(path: Path, missing: str) -> None:
    path.parent.mkdir()
    record = {name: value for name, value in RECORD.items() if name != missing}
    path.write_text(json.dumps({"keys": [record]}), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=missing):
        opened(path)


def test_a_key_that_is_listed_twice_stops_the_start(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps({"keys": [RECORD, RECORD | {"tenant": "globex"}]}), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="twice"):
        opened(path)


def test_a_missing_file_stops_the_start_with_one_line(path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^SOMABRAIN_KEYS_FILE: [^\n]+$"):
        opened(path)


@pytest.mark.parametrize(
    "change",
    [
        {"entropy": b"short"},
        {"subject": ""},
        {"subject": "\ud800"},
        {"subject": "x" * 256},
        {"roles": ("",)},
        {"expires_at": datetime(2027, 1, 1)},  # noqa: DTZ001  the missing offset is what is refused
        {"now": datetime(2027, 1, 1)},  # noqa: DTZ001
    ],
)
def test_a_key_that_cannot_be_written_is_refused_and_the_file_is_as_before(path: Path, change: dict[str, Any]) -> None:
    make(path, 1)
    before = path.read_bytes()
    fields: dict[str, Any] = {
        "tenant": ACME,
        "subject": "a",
        "roles": (),
        "expires_at": None,
        "now": NOW,
        "entropy": b"\0" * 32,
    }
    with pytest.raises(ConfigurationError):
        create_key(path, **(fields | change))
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["keys.json"]


def test_a_broken_file_is_never_replaced(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"keys": [', encoding="utf-8")
    with pytest.raises(ConfigurationError):
        make(path, 1)
    assert path.read_text(encoding="utf-8") == '{"keys": ['


MAKER = """
import hashlib, sys
from datetime import UTC, datetime
from pathlib import Path
from somabrain.auth.keys import create_key
from somabrain.tenancy import TenantId
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    create_key(Path(sys.argv[1]), tenant=TenantId("acme"), subject=str(number), roles=(), expires_at=None,
               now=datetime.now(UTC), entropy=hashlib.sha256(str(number).encode()).digest())
"""


def test_keys_made_at_the_same_time_are_all_kept(path: Path) -> None:
    """Two processes and, in this one, four threads write to one file."""
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    ranges = [(0, 20), (20, 40)]
    others = [
        subprocess.Popen([sys.executable, "-c", MAKER, str(path), str(start), str(stop)], env=environment)
        for start, stop in ranges
    ]
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda number: make(path, number, subject=str(number)), range(40, 80)))
    assert [other.wait(timeout=60) for other in others] == [0, 0]
    assert len(set(made)) == 40
    records = json.loads(path.read_text(encoding="utf-8"))["keys"]
    assert sorted(int(record["subject"]) for record in records) == list(range(80))
    assert [entry.name for entry in path.parent.iterdir()] == ["keys.json"]


def test_readers_never_see_half_a_file(path: Path) -> None:
    key = make(path, 0)

    def reading() -> int:
        for _ in range(100):
            assert opened(path).authenticate(bearer(key)).tenant == ACME
        return 1

    with ThreadPoolExecutor(3) as threads:
        readers = [threads.submit(reading) for _ in range(2)]
        for number in range(1, 30):
            make(path, number)
    assert [reader.result() for reader in readers] == [1, 1]
