"""An issuer's signing keys: found by OpenID Connect Discovery 1.0, fetched, and kept for a while.

The one place of the service that speaks HTTP to an identity provider.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from somabrain.errors import ConfigurationError, IdentityUnavailableError

RESPONSE_BYTES_MAX = 1 << 20
"""Largest answer read from an issuer; real ones are a few KiB."""

RSA_BITS_MIN = 2048
"""Least RSA modulus (RFC 7518 §3.3)."""

_MEMBERS = {"RSA": ("RS256", ("n", "e")), "EC": ("ES256", ("x", "y"))}
"""Key type → its one algorithm here, and the members that make the public key (RFC 7518 §6.2.1, §6.3.1)."""

_CURVE = "P-256"
"""The curve of ES256 (RFC 7518 §3.4)."""

KeyName = tuple[str, str]
"""A key's `kid` and the algorithm that its type allows."""


class _FetchError(Exception):
    """The issuer did not give its keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """What is known of the issuer's keys; monotonic seconds, `None` for never."""

    keys: Mapping[KeyName, jwt.PyJWK] = field(default_factory=dict)
    fetched_at: float | None = None
    tried_at: float | None = None
    failed: bool = False


class KeySet:
    """The signing keys of one issuer. Thread-safe; at most one thread fetches, the others wait for it.

    Keys are used for `ttl_s` seconds after their fetch, then fetched again; where that fails they are used
    for `ttl_s` more. A key that is not among them is looked for again at most every `cooldown_s` seconds,
    as is an issuer that failed, so tokens that name no key of the issuer cost it little.
    """

    def __init__(
        self, *, issuer: str, ttl_s: float, cooldown_s: float, timeout_s: float, monotonic: Callable[[], float]
    ) -> None:
        """Opens nothing. `timeout_s` bounds each wait on the network, and each of the two answers of a fetch.

        Raises `ConfigurationError` where `issuer` is not an http or https URL.
        """
        if _scheme(issuer) is None:
            message = f"OIDC_ISSUER: {issuer!r} is not an http or https URL"
            raise ConfigurationError(message)
        self._issuer = issuer
        self._ttl_s = ttl_s
        self._cooldown_s = cooldown_s
        self._timeout_s = timeout_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._state = _State()

    def find(self, name: KeyName) -> jwt.PyJWK | None:
        """The key of this name; `None` where the issuer has none. May block on the network.

        Raises `IdentityUnavailableError` where that can't be known.
        """
        state = self._state
        if name in state.keys and self._younger(state, self._ttl_s):
            return state.keys[name]
        state = self._refreshed(name)
        if self._younger(state, self._ttl_s):
            if name in state.keys or not state.failed:
                return state.keys.get(name)
        elif name in state.keys and self._younger(state, self._ttl_s + self._ttl_s):
            return state.keys[name]
        raise IdentityUnavailableError

    def _refreshed(self, name: KeyName) -> _State:
        """The state after a fetch, if one is due once this thread may look; `failed` where none could be made."""
        if not self._lock.acquire(timeout=self._timeout_s + self._timeout_s):
            return _State(keys=self._state.keys, fetched_at=self._state.fetched_at, failed=True)
        try:
            if self._is_due(name):
                self._state = self._fetched()
            return self._state
        finally:
            self._lock.release()

    def _is_due(self, name: KeyName) -> bool:
        state = self._state
        if state.tried_at is None:
            return True
        pause = self._monotonic() - state.tried_at
        if self._younger(state, self._ttl_s):
            return name not in state.keys and pause >= self._cooldown_s
        return not state.failed or pause >= min(self._cooldown_s, self._ttl_s)

    def _younger(self, state: _State, age_s: float) -> bool:
        return state.fetched_at is not None and self._monotonic() - state.fetched_at < age_s

    def _fetched(self) -> _State:
        old = self._state
        try:
            keys = self._fetch()
        except _FetchError:
            return _State(keys=old.keys, fetched_at=old.fetched_at, tried_at=self._monotonic(), failed=True)
        now = self._monotonic()
        return _State(keys=keys, fetched_at=now, tried_at=now)

    def _fetch(self) -> Mapping[KeyName, jwt.PyJWK]:
        try:
            with httpx.Client(headers={"accept-encoding": "identity"}, timeout=self._timeout_s) as client:
                found = self._get(client, self._issuer.rstrip("/") + "/.well-known/openid-configuration")
                address = keys_address(self._issuer, found)
                if address is None:
                    raise _FetchError
                return _usable(self._get(client, address))
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as fault:
            raise _FetchError from fault

    def _get(self, client: httpx.Client, address: str) -> dict[str, Any]:
        """The JSON object at `address`; redirections are not followed."""
        deadline = self._monotonic() + self._timeout_s
        body = bytearray()
        with client.stream("GET", address) as response:
            if response.status_code != httpx.codes.OK:
                raise _FetchError
            for piece in response.iter_raw():
                body += piece
                if len(body) > RESPONSE_BYTES_MAX or self._monotonic() > deadline:
                    raise _FetchError
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as fault:
            raise _FetchError from fault
        if not isinstance(document, dict):
            raise _FetchError
        return document


def keys_address(issuer: str, discovery: Mapping[str, Any]) -> str | None:
    """Where the issuer says its keys are; `None` where that can't be relied on.

    The document must name the issuer that was asked for (Discovery §4.3), and an issuer that is reached over
    https must not send on to http.
    """
    address = discovery.get("jwks_uri")
    if discovery.get("issuer") != issuer or not isinstance(address, str):
        return None
    schemes = ("https",) if _scheme(issuer) == "https" else ("https", "http")
    return address if _scheme(address) in schemes else None


def _scheme(address: str) -> str | None:
    """`http` or `https` where `address` is a URL of one with a host, else `None`."""
    try:
        url = httpx.URL(address)
        host = url.host
    except (httpx.InvalidURL, ValueError):
        return None
    return url.scheme if url.scheme in ("http", "https") and host else None


def _usable(document: Mapping[str, Any]) -> Mapping[KeyName, jwt.PyJWK]:
    """The keys of a JWK set (RFC 7517 §5) that can verify a signature; the others are left out, as §5 says."""
    listed = document.get("keys")
    if not isinstance(listed, list):
        raise _FetchError
    named = ((_name(entry), entry) for entry in listed if isinstance(entry, dict))
    keys = ((name, _public_key(name[1], entry)) for name, entry in named if name is not None)
    return {name: key for name, key in keys if key is not None}


def _name(entry: Mapping[str, Any]) -> KeyName | None:
    """The name of a key that is for signatures by an algorithm of its type, else `None`."""
    kty, kid, operations = entry.get("kty"), entry.get("kid"), entry.get("key_ops", ["verify"])
    if not isinstance(kty, str) or kty not in _MEMBERS or not isinstance(kid, str):
        return None
    algorithm = _MEMBERS[kty][0]
    if entry.get("use", "sig") != "sig" or entry.get("alg", algorithm) != algorithm:
        return None
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    return kid, algorithm


def _public_key(algorithm: str, entry: Mapping[str, Any]) -> jwt.PyJWK | None:
    """The key in `entry`, without any private part; `None` where it is malformed or too weak."""
    kty = entry["kty"]
    public = {name: entry.get(name) for name in _MEMBERS[kty][1]}
    if not all(isinstance(value, str) for value in public.values()):
        return None
    if kty == "EC" and entry.get("crv") != _CURVE:
        return None
    try:
        key = jwt.PyJWK({"kty": kty, "crv": entry.get("crv"), **public}, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if isinstance(key.key, RSAPublicKey) and key.key.key_size < RSA_BITS_MIN:
        return None
    return key
