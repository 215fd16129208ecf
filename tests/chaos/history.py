"""What happened in a run, as whoever was outside saw it: the only thing the checker looks at.

Times are seconds of the machine's monotonic clock, which all its processes share. Tokens are named by digest.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["rotated", "refused", "unknown"]
"""Of one request: a new token, ``invalid_grant``, or anything that a client has to ask again after."""

By = Literal["client", "thief"]
"""Who presented a token: its client, or somebody who copied an old one."""


def digest_of(token: str) -> str:
    """Return the name of a token in the history."""
    return hashlib.blake2s(token.encode(), digest_size=9).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A refresh token was presented once.

    Attributes:
        grant: Of the token, as its ``gid``.
        generation: Of the token.
        presented: The token.
        by: Who presented it.
        over_at: When the answer came, or was given up.
        answer: Status and error as they came, or what came instead.
        successor: The refresh token that came, and its generation.
        access_token: The access token that came.
    """

    grant: str
    generation: int
    presented: str
    by: By = "client"
    sent_at: float
    over_at: float
    outcome: Outcome
    answer: str
    successor: tuple[str, int] | None = None
    access_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """Something was taken back: a grant, or one access token of it.

    Attributes:
        grant: Which grant.
        access_token: The only token meant; ``None`` for the grant and all its tokens.
        asked_at: From then on it may be gone.
        done_at: From then on it has to be: the answer came. ``None`` if none ever did.
    """

    grant: str
    access_token: str | None = None
    asked_at: float
    done_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What one verifier made of one access token, over and over.

    Attributes:
        accepted_at: When it was accepted last; the verification began then.
        expires_at: When it expires, by its own words, once it was accepted.
        rejected_at: When it was rejected first, and ``code`` why.
    """

    verifier: str
    grant: str
    access_token: str
    accepted_at: float | None = None
    expires_at: float | None = None
    rejected_at: float | None = None
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A fault that was inflicted, until everything that was done to the machines was undone again."""

    kind: str
    target: str
    began_at: float
    ended_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the database says of a grant in the end.

    Attributes:
        generation: Its current refresh token's.
        has_ended: Whether it was ended.
        fast_forwards: How often it was found behind a token that its client had.
    """

    grant: str
    generation: int
    has_ended: bool
    fast_forwards: int = 0


@dataclass(slots=True)
class History:
    """Everything that happened."""

    attempts: list[Attempt] = field(default_factory=list)
    revocations: list[Revocation] = field(default_factory=list)
    sightings: list[Sighting] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
