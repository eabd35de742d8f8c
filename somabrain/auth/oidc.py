"""AUTH_MODE=oidc: access tokens of an OpenID Connect issuer, as JSON Web Tokens (RFC 7519, RFC 8725)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jwt

from somabrain.auth.bearer import bearer_token
from somabrain.auth.jwks import KeySet
from somabrain.errors import TenantInvalidError, UnauthenticatedError
from somabrain.ports import Principal
from somabrain.tenancy import TenantId

ALGORITHMS = ("RS256", "ES256")
"""The signatures that are accepted, each with its own type of key (DESIGN §8)."""

SUBJECT_LENGTH_MAX = 255
"""Longest `sub` (OpenID Connect Core 1.0 §2)."""

TIME_MAX_S = 2**53 - 1
"""Largest NumericDate that every JSON reader reads the same (RFC 7493 §2.2)."""

_CHECKED_HERE: jwt.types.Options = {
    "require": ["iss", "aud", "exp", "sub"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}
"""The times are compared with the clock that this module is given, not with the library's own."""


class OidcAuthenticator:
    """Implements `somabrain.ports.Authenticator` with the tokens of one issuer. Thread-safe; blocks on the network."""

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        tenant_claim: str,
        leeway_s: float,
        keys_ttl_s: float,
        keys_cooldown_s: float,
        timeout_s: float,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        """Opens nothing. `wall` is seconds since the epoch, `monotonic` seconds since any moment.

        Raises `ConfigurationError` where `issuer` is not an http or https URL.
        """
        self._issuer = issuer
        self._audience = audience
        self._tenant_claim = tenant_claim
        self._leeway_s = leeway_s
        self._wall = wall
        self._keys = KeySet(
            issuer=issuer, ttl_s=keys_ttl_s, cooldown_s=keys_cooldown_s, timeout_s=timeout_s, monotonic=monotonic
        )

    def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """The subject of the token in `authorization`; unclear roles are none.

        Raises `UnauthenticatedError`, `TenantInvalidError`, `IdentityUnavailableError`.
        """
        claims = self._verified(bearer_token(headers))
        self._check_times(claims)
        return Principal(tenant=self._tenant(claims), subject=_subject(claims), roles=_roles(claims))

    def _verified(self, token: str) -> dict[str, Any]:
        """The claims of a token signed by the issuer for this audience; its times are not looked at."""
        try:
            header = jwt.get_unverified_header(token)
            algorithm, kid = header.get("alg"), header.get("kid")
            if algorithm not in ALGORITHMS or not isinstance(kid, str) or "crit" in header:
                message = (
                    f"The token's header must name a key and one of {', '.join(ALGORITHMS)}, and nothing critical."
                )
                raise UnauthenticatedError(message)
            key = self._keys.find((kid, algorithm))
            if key is None:
                message = "The token is signed by a key that the issuer does not list."
                raise UnauthenticatedError(message)
            return jwt.decode(
                token, key, algorithms=ALGORITHMS, audience=self._audience, issuer=self._issuer, options=_CHECKED_HERE
            )
        except jwt.PyJWTError as fault:
            message = f"The token is not valid: {type(fault).__name__.removesuffix('Error')}."
            raise UnauthenticatedError(message) from fault

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now = self._wall()
        expires, starts = claims["exp"], claims.get("nbf", 0)
        if not _is_time(expires) or expires + self._leeway_s <= now:
            message = "The token has expired."
            raise UnauthenticatedError(message)
        if not _is_time(starts) or starts - self._leeway_s > now:
            message = "The token is not valid yet."
            raise UnauthenticatedError(message)

    def _tenant(self, claims: Mapping[str, Any]) -> TenantId:
        value = claims.get(self._tenant_claim)
        if not isinstance(value, str):
            message = f"The token's claim {self._tenant_claim} does not name a tenant."
            raise TenantInvalidError(message)
        return TenantId(value)


def _is_time(value: Any) -> bool:
    """Whether `value` is a NumericDate (RFC 7519 §2)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= TIME_MAX_S


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims["sub"]
    if isinstance(subject, str) and 1 <= len(subject) <= SUBJECT_LENGTH_MAX and subject.isprintable():
        return subject
    message = "The token's subject is not 1 to 255 printable characters."
    raise UnauthenticatedError(message)


def _roles(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """The realm roles as Keycloak writes them; none where they are not a list of strings."""
    access = claims.get("realm_access")
    roles = access.get("roles") if isinstance(access, dict) else None
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        return ()
    return tuple(roles)
