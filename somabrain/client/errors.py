"""What can go wrong when the service is asked; all are `BrainError`s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class BrainError(Exception):
    """The service was asked, and there is no answer to use."""


class UnavailableError(BrainError):
    """The service could not be reached, or did not answer in time.

    A write may have happened: repeat it with its key.
    """


class GarbledError(BrainError):
    """What answered does not speak as the service does: another program, a proxy, or another version."""


class MissingError(BrainError):
    """`Brain()` without an address needs the whole service installed."""


class RefusedError(BrainError):
    """The service refused; `code` is the stable name of why, listed at /docs/errors of the service."""

    def __init__(self, *, status: int, code: str, detail: str, errors: Sequence[Mapping[str, Any]] = ()) -> None:
        """`status`: of HTTP; `errors`: where in the request, as `{"loc": […], "msg": …}`."""
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)


class InvalidError(RefusedError):
    """The request can't be what it claims (400, 413, 415, 422)."""


class DeniedError(RefusedError):
    """Who asks is not known, or may not (401, 403)."""


class NotFoundError(RefusedError):
    """There is no such thing (404)."""


class ConflictError(RefusedError):
    """What is known stands against it (409, 412)."""


class BusyError(RefusedError):
    """Not now: too many requests, or a part of the service is away (429, 500, 503)."""


BY_STATUS: Mapping[int, type[RefusedError]] = {
    400: InvalidError,
    401: DeniedError,
    403: DeniedError,
    404: NotFoundError,
    409: ConflictError,
    412: ConflictError,
    413: InvalidError,
    415: InvalidError,
    422: InvalidError,
    429: BusyError,
    500: BusyError,
    503: BusyError,
}
"""The class of each status; of any other it is `RefusedError`."""
