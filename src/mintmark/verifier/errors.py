"""Why a request is refused: a closed set of codes, and what HTTP says to each (RFC 6750 §3.1, RFC 9470 §3)."""

from typing import Final, Literal, get_args

RejectionCode = Literal[
    "malformed",
    "too_large",
    "unsupported_alg",
    "unsupported_crit",
    "unknown_key",
    "bad_signature",
    "wrong_type",
    "wrong_issuer",
    "wrong_audience",
    "missing_claim",
    "bad_claim",
    "expired",
    "not_yet_valid",
    "revoked",
    "inactive",
]

REJECTION_CODES: Final[frozenset[str]] = frozenset(get_args(RejectionCode))


class VerifierError(Exception):
    """A request that may not go on.

    Attributes:
        status: HTTP status.
        error: Error code of the challenge, or ``None`` where RFC 6750 §3.1 wants none.
        description: Constant text, safe to show to anybody.
    """

    status: int = 401
    error: str | None = "invalid_token"
    description: str = ""


class TokenMissing(VerifierError):  # noqa: N818 - says what is the case, as its siblings do
    """No token was sent: 401 without an error code (RFC 6750 §3.1)."""

    error = None
    description = "Send an access token: Authorization: Bearer"


class RequestMalformed(VerifierError):  # noqa: N818
    """The credentials cannot be read: 400 ``invalid_request`` (RFC 6750 §3.1)."""

    status = 400
    error = "invalid_request"
    description = "Send one Authorization header, and one token in it"


class TokenRejected(VerifierError):  # noqa: N818
    """The token is not good: 401 ``invalid_token``.

    Attributes:
        code: Why, out of the closed set `RejectionCode`; stable, for logs and metrics. It is not for the caller.
        claim: The claim it is about, if any.
    """

    description = "The access token is invalid, expired or revoked"

    def __init__(self, code: RejectionCode, *, claim: str | None = None) -> None:
        super().__init__(code if claim is None else f"{code}: {claim}")
        self.code: RejectionCode = code
        self.claim = claim


class RequirementNotMet(VerifierError):  # noqa: N818
    """The token is good but not enough: 403 ``insufficient_scope``, or 401 where signing in again would help.

    Attributes:
        scope: Scopes that would do, space-separated.
        acr_values: Authentication classes that would do, space-separated (RFC 9470 §3).
        max_age: Seconds since the sign-in that would do.
    """

    def __init__(
        self,
        detail: str,
        *,
        scope: str | None = None,
        acr_values: str | None = None,
        max_age: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.scope = scope
        self.acr_values = acr_values
        self.max_age = max_age
        if acr_values is None and max_age is None:
            self.status, self.error = 403, "insufficient_scope"
            self.description = "The access token does not permit this"
        else:
            self.status, self.error = 401, "insufficient_user_authentication"
            self.description = "Sign in again, as asked for here"


class VerifierUnavailable(VerifierError):  # noqa: N818
    """Nobody can say just now whether the token is good: 503, never a rejection (invariant I4).

    Attributes:
        retry_after: Seconds after which to try again.
    """

    status = 503
    error = "temporarily_unavailable"
    description = "The token cannot be checked just now; try again"

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
