"""Who is calling, and whether they may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from somabrain.tenancy import TenantId


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is calling, verified: the owner of the data, the caller's own name, and what it may be."""

    tenant: TenantId
    subject: str
    roles: tuple[str, ...]


class Authenticator(Protocol):
    """Turns a request's headers into a principal."""

    def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """The verified caller. Header names are lower case. May block on the network.

        Raises `UnauthenticatedError`, `TenantInvalidError`, `IdentityUnavailableError` and, in mode none,
        `BadHostError` and `BadOriginError`.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the policy is asked about one request (DESIGN §8); `usage` holds numbers by name."""

    method: str
    path: tuple[str, ...]
    action: str
    namespace: str
    resource_kind: str
    resource_id: str | None
    principal: Principal
    usage: Mapping[str, float]

    def as_input(self) -> dict[str, Any]:
        """The policy's `input` document."""
        who = self.principal
        return {
            "method": self.method,
            "path": list(self.path),
            "action": self.action,
            "tenant": who.tenant.value,
            "namespace": self.namespace,
            "resource": {"kind": self.resource_kind, "id": self.resource_id},
            "user": {"subject": who.subject, "tenant": who.tenant.value, "roles": list(who.roles)},
            "usage": dict(self.usage),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The policy's answer. Allowed only where the policy said so in as many words.

    `retry_after_s` is set where a limit was the reason to refuse.
    """

    allowed: bool
    reasons: tuple[str, ...] = ()
    retry_after_s: int | None = None


class Policy(Protocol):
    """Decides every request."""

    def decide(self, question: Question) -> Decision:
        """The decision; anything but a clear allow is a denial. Thread-safe.

        Raises `PolicyUnavailableError` where the engine can't be reached.
        """
        ...
