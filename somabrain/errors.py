"""Every refusal the service can give, one class for each.

The docstring's first line is the default message, `code` is stable and part of the API, and the
second paragraph of the docstring says what to do about it (the error reference is generated from
both). Nothing here knows HTTP: `somabrain.api.errors` maps classes to statuses.
"""

from __future__ import annotations

from typing import ClassVar

Location = tuple[str | int, ...]


class SomabrainError(Exception):
    """The request was refused.

    The base of all refusals; never raised itself.
    """

    code: ClassVar[str] = "error"

    def __init__(self, detail: str | None = None, *, loc: Location = ()) -> None:
        """`detail` replaces the class's own message; `loc` is the path to the offending part of the body."""
        self.detail = detail or self.message()
        self.loc = loc
        super().__init__(self.detail)

    @classmethod
    def message(cls) -> str:
        """The first line of the class's docstring."""
        return (cls.__doc__ or "").strip().split("\n", 1)[0]

    @classmethod
    def remedy(cls) -> str:
        """What to do about it: the docstring after its first line."""
        rest = (cls.__doc__ or "").strip().split("\n", 1)[1:]
        return " ".join("".join(rest).split())

    def within(self, *prefix: str | int) -> SomabrainError:
        """This error with its location put below `prefix`: the index in a batch, say."""
        self.loc = (*prefix, *self.loc)
        if prefix:
            self.detail = f"{'.'.join(str(part) for part in prefix)}: {self.detail}"
        return self


class InvalidRequestError(SomabrainError):
    """The request is not valid.

    `errors` names each offending field. Mend the request; sending it again unchanged gives the same answer.
    """

    code = "invalid_request"


class NumberOutOfRangeError(InvalidRequestError):
    """A number is not finite or outside its range.

    Rewards lie within ±1e9, vector components within ±1e15, whole numbers within ±(2^53 - 1).
    """

    code = "number_out_of_range"


class FactsCancelError(InvalidRequestError):
    """The signed features of these facts cancel to a zero vector.

    Add or rename a fact: the sum of the hashed features must not be zero.
    """

    code = "facts_cancel"


class EmbedderUnavailableError(SomabrainError):
    """The text embedder did not answer.

    Nothing was done. Try again, or give the state as `features` or as a `vector`; if it persists the operator has to
    look at EMBEDDER_URL.
    """

    code = "embedder_unavailable"


class TraceInvalidError(InvalidRequestError):
    """The trace is not what its format says.

    The detail names the place in the trace. Mend it, or name the format it has with `--format`; other traces are not
    concerned.
    """

    code = "trace_invalid"


class TraceFormatUnknownError(TraceInvalidError):
    """The trace has no format that is known.

    It is a list of chat messages or an object with `messages`, `traj`, `resourceSpans`, or `steps`. Export it in one of
    these forms.
    """

    code = "trace_format_unknown"


class TraceNotJsonError(TraceInvalidError):
    """The trace is not JSON.

    Its line was cut or written by something else. NaN, Infinity and lone surrogates are not JSON either (RFC 8259).
    """

    code = "trace_not_json"


class TraceTooLargeError(TraceInvalidError):
    """The trace is larger than what is taken.

    The detail names the limit. Split it, or leave out what no fact is made of, as the contents of documents.
    """

    code = "trace_too_large"


class TraceWithoutStepsError(TraceInvalidError):
    """The trace has no tool call and no step.

    Nothing can be learned from it: leave it out.
    """

    code = "trace_without_steps"


class TraceOrderError(TraceInvalidError):
    """A tool's result does not follow the call that it answers.

    Give the messages in the order in which they were written, from the first on, each once.
    """

    code = "trace_order"


class OptionExistsError(SomabrainError):
    """An option with this id exists, active or retired.

    Choose another id, or replace the option with PUT.
    """

    code = "option_exists"


class OptionLimitError(SomabrainError):
    """The namespace holds its maximum of active options.

    Retire options that are not needed, or raise OAK_MAX_OPTIONS.
    """

    code = "option_limit"


class OptionNotFoundError(SomabrainError):
    """There is no option with this id in the namespace.

    List what there is with GET /oak/options.
    """

    code = "option_not_found"


class OptionRetiredError(SomabrainError):
    """The option is retired.

    A retired option is kept but takes no runs, and it can't be replaced. Create one under another id.
    """

    code = "option_retired"


class MemoryNotFoundError(SomabrainError):
    """There is no memory with this id in the namespace.

    It may have been forgotten or have expired. POST /memory/recall finds memories by what they say.
    """

    code = "memory_not_found"


class RecallUnavailableError(SomabrainError):
    """The vector engine does not answer, and there are too many memories to read one by one in time.

    Nothing is lost. Try again; narrow it with `filter` or `namespace`; the operator has to look at Milvus.
    """

    code = "recall_unavailable"


class OptionIsPrimitiveError(SomabrainError):
    """The option is a primitive action, which learns from episodes alone.

    Post what happened as an episode: POST /oak/episode.
    """

    code = "option_is_primitive"


class OptionNotDeclaredError(SomabrainError):
    """The option was worked out by the service, so it can't be replaced.

    Declare an option of your own with another id.
    """

    code = "option_not_declared"


class EpisodeConflictError(SomabrainError):
    """Another episode was reported under this id.

    Leave `episode_id` out, or give each episode one of its own; nothing was changed.
    """

    code = "episode_conflict"


class EpisodeNotFoundError(SomabrainError):
    """There is no such episode.

    Check the id and the namespace.
    """

    code = "episode_not_found"


class OutcomeKnownError(SomabrainError):
    """The outcome of this episode is known.

    An outcome is told once, with the episode or after it.
    """

    code = "outcome_known"


class ActionLimitError(SomabrainError):
    """The namespace holds its maximum of actions.

    Give actions fewer distinct arguments, or raise OAK_MAX_ACTIONS. Nothing was written.
    """

    code = "action_limit"


class VersionConflictError(SomabrainError):
    """The option's version is not the one named in If-Match.

    Read the option again and decide on what it says now.
    """

    code = "version_conflict"


class StateLimitError(SomabrainError):
    """The namespace holds its maximum of abstract states.

    Report coarser states, use another namespace, or raise OAK_MAX_PROTOTYPES.
    """

    code = "state_limit"


class NamespaceNotEmptyError(SomabrainError):
    """The namespace to import into is not empty.

    Delete it first, or import with `mode=replace`.
    """

    code = "namespace_not_empty"


class ModelIncompatibleError(SomabrainError):
    """The model was exported with another format, vector dimension or encoder.

    Import it into a server with the same MEMORY_DIM and encoder.
    """

    code = "model_incompatible"


class IdempotencyConflictError(SomabrainError):
    """This Idempotency-Key was used with another body.

    A key stands for one request. Use a new key for a new request.
    """

    code = "idempotency_conflict"


class NotFoundError(SomabrainError):
    """There is nothing at this address.

    Check the path against /docs.
    """

    code = "not_found"


class MethodNotAllowedError(SomabrainError):
    """The address does not take this method.

    The Allow header names those it takes.
    """

    code = "method_not_allowed"


class InvalidJsonError(SomabrainError):
    """The body is not JSON.

    NaN, Infinity, numbers beyond a double and lone surrogates are not JSON either (RFC 8259).
    """

    code = "invalid_json"


class BodyTooLargeError(SomabrainError):
    """The body is larger than this route takes.

    Split it; the batch routes take more than the single ones.
    """

    code = "body_too_large"


class UnsupportedMediaTypeError(SomabrainError):
    """The body must be application/json.

    Send `Content-Type: application/json`, not compressed.
    """

    code = "unsupported_media_type"


class OakDisabledError(SomabrainError):
    """The option layer is switched off on this server.

    Start the server with ENABLE_OAK=true.
    """

    code = "oak_disabled"


class UnauthenticatedError(SomabrainError):
    """A valid credential is required.

    Send `Authorization: Bearer …` with a token or key that this server knows.
    """

    code = "unauthenticated"


class TenantInvalidError(UnauthenticatedError):
    """The credential does not name a valid tenant.

    The tenant claim is 1 to 64 of A-Za-z0-9._-.
    """

    code = "tenant_invalid"


class ForbiddenError(SomabrainError):
    """The policy does not allow this.

    The detail holds the policy's reasons. Ask for a role that allows the action.
    """

    code = "forbidden"


class BadHostError(SomabrainError):
    """The Host header is not a loopback name.

    Without authentication the server answers only to localhost, 127.0.0.1 and [::1].
    """

    code = "bad_host"


class BadOriginError(SomabrainError):
    """The Origin header names another site.

    Without authentication no web page of another origin may call the server.
    """

    code = "bad_origin"


class RateLimitedError(SomabrainError):
    """Too many requests.

    Wait for the number of seconds in Retry-After.
    """

    code = "rate_limited"

    def __init__(self, detail: str | None = None, *, retry_after_s: int = 1) -> None:
        """`retry_after_s`: whole seconds after which a request may pass again."""
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class PolicyUnavailableError(SomabrainError):
    """The policy engine did not answer.

    Nothing was done. Try again; if it persists the operator has to look at the policy engine.
    """

    code = "policy_unavailable"


class IdentityUnavailableError(SomabrainError):
    """The identity provider's keys can't be fetched.

    Nothing was done. Try again; if it persists the operator has to look at OIDC_ISSUER.
    """

    code = "identity_unavailable"


class StoreUnavailableError(SomabrainError):
    """The database can't take this now.

    Nothing was written. Try again with the same Idempotency-Key.
    """

    code = "store_unavailable"


class InternalError(SomabrainError):
    """The server failed.

    This is a defect. Report it with the trace id.
    """

    code = "internal_error"


class ConfigurationError(Exception):
    """The service can't start as it is configured; the message is one line that says why."""
