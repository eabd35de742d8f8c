"""AUTH_MODE=none: whoever reaches the loopback interface is the local user.

A page in the user's browser reaches it too, by its own name bound to 127.0.0.1 (DNS rebinding) or from
another origin, so both headers have to name this machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from somabrain.errors import BadHostError, BadOriginError
from somabrain.ports import Principal
from somabrain.tenancy import TenantId

_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]*\]|[^\[\]:/?#@\s]+)(?::[0-9]{0,5})?")
"""`uri-host [":" port]` of RFC 9110 §7.2, without user information."""

_ORIGIN_SCHEMES = ("http://", "https://")

_IPV6_LOOPBACK = IPv6Address("::1")


class LoopbackAuthenticator:
    """Implements `somabrain.ports.Authenticator`: one caller, tenant `local`, who may do everything."""

    def __init__(self) -> None:
        """Takes nothing: there is nothing to verify but the headers."""
        self._principal = Principal(tenant=TenantId("local"), subject="local", roles=("brain_admin",))

    def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """The local user. Raises `BadHostError`, `BadOriginError`."""
        if not _names_loopback(headers.get("host", "")):
            raise BadHostError
        origin = headers.get("origin")
        if origin is not None and not _is_loopback_origin(origin):
            raise BadOriginError
        return self._principal


def _is_loopback_origin(origin: str) -> bool:
    """Whether `origin` is the serialised origin (RFC 6454 §6.2) of a page served by this machine."""
    scheme = next((scheme for scheme in _ORIGIN_SCHEMES if origin.startswith(scheme)), None)
    return scheme is not None and _names_loopback(origin.removeprefix(scheme))


@lru_cache(maxsize=256)
def _names_loopback(authority: str) -> bool:
    """Whether `host` or `host:port` is localhost, in 127.0.0.0/8, or [::1] (RFC 6761 §6.3, RFC 6890 §2.2)."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return False
    host = match["host"]
    if host.lower() == "localhost":
        return True
    try:
        if host.startswith("["):
            return IPv6Address(host[1:-1]) == _IPV6_LOOPBACK
        return IPv4Address(host).is_loopback
    except AddressValueError:
        return False
