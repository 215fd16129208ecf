"""OAuth errors as values: a registered code, a public constant text, and a detail that only the log sees.

RFC 6749 §4.1.2.1 and §5.2, RFC 6750 §3.1, RFC 8707 §2, OpenID Connect Core §3.1.2.6.
"""

from typing import Literal

ErrorCode = Literal[
    "access_denied",
    "account_selection_required",
    "consent_required",
    "insufficient_scope",
    "interaction_required",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "invalid_token",
    "login_required",
    "registration_not_supported",
    "request_not_supported",
    "request_uri_not_supported",
    "server_error",
    "temporarily_unavailable",
    "unauthorized_client",
    "unmet_authentication_requirements",
    "unsupported_grant_type",
    "unsupported_response_type",
    "unsupported_token_type",
]

# Whatever is not listed is 400 (RFC 6749 §5.2).
_STATUS: dict[ErrorCode, int] = {
    "insufficient_scope": 403,
    "invalid_client": 401,
    "invalid_token": 401,
    "server_error": 500,
    "temporarily_unavailable": 503,
}


class OAuthError(Exception):
    """A refusal in the words of the protocol.

    Attributes:
        error: Registered error code.
        description: Constant ASCII text, safe to show to anybody; the same for unknown, expired and spent.
        detail: For our log only; never contains a secret.
        status: HTTP status of a direct (not redirected) response.
        retry_after: Seconds after which to try again, where that makes sense.
    """

    def __init__(
        self,
        error: ErrorCode,
        description: str,
        *,
        detail: str = "",
        status: int | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(f"{error}: {description}")
        self.error: ErrorCode = error
        self.description = description
        self.detail = detail
        self.status = status if status is not None else _STATUS.get(error, 400)
        self.retry_after = retry_after


def invalid_request(description: str, *, detail: str = "") -> OAuthError:
    """Build the error for a malformed request (RFC 6749 §5.2)."""
    return OAuthError("invalid_request", description, detail=detail)


def invalid_client(detail: str) -> OAuthError:
    """Build the error for failed client authentication; the reason goes to the log only (RFC 6749 §5.2)."""
    return OAuthError("invalid_client", "Client authentication failed", detail=detail)


def invalid_grant(detail: str) -> OAuthError:
    """Build the one answer for every code or refresh token that cannot be used, whatever the reason."""
    return OAuthError(
        "invalid_grant",
        "The code or refresh token is invalid, expired, revoked or was not issued to you",
        detail=detail,
    )


def invalid_token(detail: str) -> OAuthError:
    """Build the one answer for every access token that cannot be used (RFC 6750 §3.1)."""
    return OAuthError("invalid_token", "The access token is invalid, expired or revoked", detail=detail)


def unavailable(detail: str, *, retry_after: int = 1) -> OAuthError:
    """Build the answer for "could not decide": 503, so that no client throws its token away (invariant I4)."""
    return OAuthError(
        "temporarily_unavailable",
        "The service cannot answer just now; try again",
        detail=detail,
        retry_after=retry_after,
    )
