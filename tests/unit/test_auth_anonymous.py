"""Without authentication only this machine, by a loopback name and from a loopback page, is let in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somabrain.auth.anonymous import LoopbackAuthenticator
from somabrain.errors import BadHostError, BadOriginError
from somabrain.ports import Principal
from somabrain.tenancy import TenantId

LOCAL = Principal(tenant=TenantId("local"), subject="local", roles=("brain_admin",))

LOOPBACK = [
    "localhost",
    "LocalHost",
    "localhost:9696",
    "localhost:",
    "127.0.0.1",
    "127.0.0.1:80",
    "127.255.255.254:1",
    "[::1]",
    "[::1]:9696",
    "[0:0:0:0:0:0:0:1]",
]

FOREIGN = [
    "",
    " ",
    "example.com",
    "example.com:9696",
    "localhost.example.com",
    "127.0.0.1.example.com",
    "notlocalhost",
    "localhost ",
    " localhost",
    "localhost:http",
    "localhost:9696:9696",
    "localhost/",
    "localhost\n",
    "user@localhost",
    "user:pw@localhost",
    "localhost#",
    "localhost,example.com",
    "0.0.0.0",
    "128.0.0.1",
    "127.1",
    "127.0.0.01",
    "2130706433",
    "0x7f.0.0.1",
    "\u0661\u0662\u0667.0.0.1",
    "10.0.0.1",
    "::1",
    "[::]",
    "[::2]",
    "[::1",
    "::1]",
    "[::1]x",
    "[::1%eth0]",
    "[127.0.0.1]",
    "[localhost]",
    "[::ffff:127.0.0.1]",
    ":9696",
]


@pytest.mark.parametrize("host", LOOPBACK)
def test_a_loopback_host_is_the_local_user(host: str) -> None:
    assert LoopbackAuthenticator().authenticate({"host": host}) == LOCAL


@pytest.mark.parametrize("host", FOREIGN)
def test_any_other_host_is_refused(host: str) -> None:
    with pytest.raises(BadHostError):
        LoopbackAuthenticator().authenticate({"host": host})


def test_a_request_without_a_host_is_refused() -> None:
    with pytest.raises(BadHostError):
        LoopbackAuthenticator().authenticate({"authorization": "Bearer x", "x-forwarded-host": "localhost"})


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_page_of_this_machine_may_call(scheme: str, host: str) -> None:
    assert LoopbackAuthenticator().authenticate({"host": "localhost", "origin": f"{scheme}://{host}"}) == LOCAL


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "localhost",
        "//localhost",
        "http:localhost",
        "ftp://localhost",
        "file://",
        "chrome-extension://localhost",
        "http://localhost/",
        "http://localhost/path",
        "http://localhost http://example.com",
        "http://http://localhost",
        *(f"https://{host}" for host in FOREIGN),
    ],
)
def test_a_page_of_another_origin_may_not(origin: str) -> None:
    with pytest.raises(BadOriginError):
        LoopbackAuthenticator().authenticate({"host": "localhost", "origin": origin})


def test_the_host_is_looked_at_before_the_origin() -> None:
    with pytest.raises(BadHostError):
        LoopbackAuthenticator().authenticate({"host": "example.com", "origin": "http://example.com"})


@given(host=st.text() | st.from_regex(r"[\[\]:.0-9a-fx%]{0,20}"), origin=st.none() | st.text())
def test_headers_of_any_text_are_answered_or_refused(host: str, origin: str | None) -> None:
    headers = {"host": host} if origin is None else {"host": host, "origin": origin}
    try:
        assert LoopbackAuthenticator().authenticate(headers) == LOCAL
    except (BadHostError, BadOriginError):
        pass
    else:
        assert host.lower().startswith(("localhost", "127.", "["))
