"""The SDK of services: verify access tokens in memory, and hear at once of those that were revoked (design §1, §2).

from mintmark.verifier import Verifier

verifier = Verifier("https://auth.example", audience="https://api.example", client_id=..., client_secret=...)
token = verifier.verify(raw)
token.require(scope="orders:read")
"""

from mintmark.verifier.errors import (
    REJECTION_CODES,
    RejectionCode,
    RequestMalformed,
    RequirementNotMet,
    TokenMissing,
    TokenRejected,
    VerifierError,
    VerifierUnavailable,
)
from mintmark.verifier.judging import OnStale
from mintmark.verifier.source import Issuer
from mintmark.verifier.token import Token
from mintmark.verifier.verifier import Introspect, Verifier

__all__ = [
    "REJECTION_CODES",
    "Introspect",
    "Issuer",
    "OnStale",
    "RejectionCode",
    "RequestMalformed",
    "RequirementNotMet",
    "Token",
    "TokenMissing",
    "TokenRejected",
    "Verifier",
    "VerifierError",
    "VerifierUnavailable",
]
