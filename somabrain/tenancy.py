"""Who owns data, and in which of the owner's worlds it lives.

Both are types of their own, so that a function which needs one can't be given any other string.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from somabrain.errors import InvalidRequestError, TenantInvalidError

NAME_PATTERN = r"^[A-Za-z0-9._-]{1,64}$"
"""The alphabet of tenants and namespaces (DESIGN §2)."""

_NAME = re.compile(NAME_PATTERN)

DEFAULT_NAMESPACE = "default"


def is_name(text: str) -> bool:
    """Whether `text` can name a tenant or a namespace."""
    return _NAME.fullmatch(text) is not None and not text.endswith("\n")


@dataclass(frozen=True, slots=True, order=True)
class TenantId:
    """The owner of data, taken from a verified principal. Raises `TenantInvalidError`."""

    value: str

    def __post_init__(self) -> None:
        if not is_name(self.value):
            raise TenantInvalidError

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, order=True)
class Namespace:
    """An independent world within a tenant. Raises `InvalidRequestError`."""

    value: str

    def __post_init__(self) -> None:
        if not is_name(self.value):
            message = "namespace is 1 to 64 of A-Za-z0-9._-"
            raise InvalidRequestError(message, loc=("namespace",))

    def __str__(self) -> str:
        return self.value
