"""Every number the authority lives by: lifetimes by classification, bounds, windows. All in seconds."""

from dataclasses import dataclass, field
from typing import Final, Literal

from mintmark.jose.algorithms import Algorithm

Classification = Literal["public", "internal", "confidential", "restricted"]

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86400


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long the tokens of a client live.

    Attributes:
        access_token_lifetime: Seconds an access token lives.
        refresh_token_lifetime: Seconds from sign-in until the last refresh token of the grant dies (absolute).
        refresh_idle_lifetime: Seconds a refresh token may stay unused.
        refresh_grace: Seconds in which the predecessor of an unused refresh token gets the same successor again.
    """

    access_token_lifetime: int
    refresh_token_lifetime: int
    refresh_idle_lifetime: int
    refresh_grace: int


LIFETIMES: Final[dict[Classification, Lifetimes]] = {
    "public": Lifetimes(60 * MINUTE, 30 * DAY, 14 * DAY, 10),
    "internal": Lifetimes(30 * MINUTE, 14 * DAY, 7 * DAY, 10),
    "confidential": Lifetimes(15 * MINUTE, 7 * DAY, 3 * DAY, 10),
    "restricted": Lifetimes(5 * MINUTE, 1 * DAY, 8 * HOUR, 0),
}

BOUNDS: Final[dict[str, tuple[int, int]]] = {
    "access_token_lifetime": (10, 1 * DAY),
    "refresh_token_lifetime": (60, 366 * DAY),
    "refresh_idle_lifetime": (60, 366 * DAY),
    "refresh_grace": (0, 1 * DAY),
}
"""Lowest and highest value allowed, whoever sets it."""

PUBLIC_CLIENT_MAX_GRACE: Final = 60
"""A public client without key binding: whoever stole its token could use the grace as well (invariant I2)."""


def problems_of(lifetimes: Lifetimes) -> list[str]:
    """Say what is wrong with ``lifetimes``; each line names the field and its bounds."""
    found = [
        f"{name} must be between {low} and {high} seconds, not {getattr(lifetimes, name)}"
        for name, (low, high) in BOUNDS.items()
        if not low <= getattr(lifetimes, name) <= high
    ]
    if lifetimes.refresh_idle_lifetime > lifetimes.refresh_token_lifetime:
        found.append("refresh_idle_lifetime must not exceed refresh_token_lifetime")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What this installation decided.

    Attributes:
        issuer: Issuer identifier, byte for byte what clients compare (RFC 8414 §2).
        lifetimes: Lifetimes by classification.
        code_lifetime: Seconds an authorization code lives (ASVS 10.4.3: at most 600, 60 for level 3).
        jwks_lifetime: Seconds a fetched JWKS may be cached.
        key_rotation_interval: Seconds a key signs before the next one does.
        signing_algorithms: One key is kept for each; the first is the default.
        session_lifetime: Seconds from sign-in until a browser session ends (absolute).
        session_idle_lifetime: Seconds a browser session may stay unused.
        id_token_lifetime: Seconds an ID token may be accepted.
    """

    issuer: str
    lifetimes: dict[Classification, Lifetimes] = field(default_factory=lambda: dict(LIFETIMES))
    code_lifetime: int = 60
    jwks_lifetime: int = 5 * MINUTE
    key_rotation_interval: int = 30 * DAY
    signing_algorithms: tuple[Algorithm, ...] = ("RS256", "ES256")
    session_lifetime: int = 7 * DAY
    session_idle_lifetime: int = 1 * DAY
    id_token_lifetime: int = 10 * MINUTE

    @property
    def longest_access_token_lifetime(self) -> int:
        """Seconds an access token lives at most, unless a client was given a longer life of its own."""
        return max(lifetimes.access_token_lifetime for lifetimes in self.lifetimes.values())

    @property
    def longest_token_lifetime(self) -> int:
        """Seconds after which no token signed now can be alive, whatever the client: how long a key must stay."""
        return max(BOUNDS["access_token_lifetime"][1], self.id_token_lifetime)
