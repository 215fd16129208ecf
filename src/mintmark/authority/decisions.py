"""What a grant's ``decide`` may answer: a closed union of frozen values."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["rotated", "replayed", "kept", "fast_forwarded", "redeemed"]
Reuse = Literal["code_reuse", "refresh_reuse"]


@dataclass(frozen=True, slots=True)
class Proceed:
    """Issue: take the grant to ``generation``, by compare-and-set on the generation that was read.

    ``verdict`` says which act it is: a redeemed code; a rotation; the same successor again for a lost response
    (``replayed``) or for a stable refresh token (``kept``); or a row that had gone back in time (``fast_forwarded``).
    """

    generation: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class EndGrant:
    """A genuine token was used again: end the grant, revoke what came of it, answer ``invalid_grant``."""

    reason: Reuse


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer ``invalid_grant`` and change nothing; ``detail`` is for the log."""

    detail: str


Decision = Proceed | EndGrant | Refuse
