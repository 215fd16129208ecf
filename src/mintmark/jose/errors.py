"""The one exception of `mintmark.jose` and its closed set of codes."""

from typing import Final, Literal, get_args

Code = Literal[
    "malformed",
    "too_large",
    "unsupported_alg",
    "bad_signature",
    "unknown_key",
    "bad_key",
    "unsupported_crit",
    "wrong_type",
    "expired",
    "not_yet_valid",
    "wrong_issuer",
    "wrong_audience",
    "missing_claim",
    "bad_claim",
]

CODES: Final[frozenset[str]] = frozenset(get_args(Code))


class JoseError(Exception):
    """A token, a key or a key set was refused.

    The message is constant text: it never carries token text, claim values or key material.

    Attributes:
        code: why, out of the closed set `Code`; stable API.
        detail: one constant sentence for our own log.
        claim: the claim the refusal is about, None where it is about none.
    """

    code: Code
    detail: str
    claim: str | None

    def __init__(self, code: Code, detail: str = "", *, claim: str | None = None) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.claim = claim

    def __str__(self) -> str:
        text = self.code if self.claim is None else f"{self.code} ({self.claim})"
        return f"{text}: {self.detail}" if self.detail else text
