"""What nodes may share beside the store. Adapters live in ``storage`` and ``system``."""

from collections.abc import Sequence
from typing import Protocol

from mintmark.oauth.revocations import Revocation


class Limiter(Protocol):
    """Counts attempts that may be guesses; guessing gets slow, everything else is untouched."""

    async def take(self, purpose: str, who: str, *, burst: int, period: int) -> int:
        """Charge ``who`` with one attempt, before it is made; return 0, or after how many seconds there is one left.

        ``burst`` attempts are free, then one each ``period`` seconds. Nothing is charged if none is left. What one
        purpose counts never makes another forget.
        """
        ...

    async def give_back(self, purpose: str, who: str, *, period: int) -> None:
        """Take back one charge: the attempt was no guess."""
        ...


class RevocationStream(Protocol):
    """Beside the store: tells other nodes sooner than they would read it, and still knows what a store forgot.

    Every verb may raise ``StoreUnavailableError``; nothing depends on it being there.
    """

    async def publish(self, entries: Sequence[Revocation]) -> None:
        """Tell of ``entries``; those it has already (same name, no later expiry or ``before``) are left out."""
        ...

    async def after(self, position: str, wait: float) -> tuple[str, list[Revocation]]:
        """Return the entries after ``position`` and where to go on; with none, wait at most ``wait`` seconds for one.

        An empty ``position`` stands for the beginning of what is kept. An entry's ``cursor`` is 0 here.
        """
        ...

    async def is_whole(self) -> bool:
        """Tell whether all live entries were published since it was last emptied or went back; false after a loss."""
        ...

    async def set_whole(self) -> None:
        """Note that they were."""
        ...


class Replays(Protocol):
    """What may be presented once, such as the ``jti`` of a client assertion (RFC 7523 §3)."""

    async def is_first(self, purpose: str, what: str, expires_at: int) -> bool:
        """Remember ``what`` until ``expires_at``; tell whether it was not remembered already."""
        ...


class Shared(Protocol):
    """What nodes share beside the store, such as Redis. It may be away at any time; each feature says what it does then.

    Attributes:
        is_up: Whether it answered when it was asked last, and has refused nothing for a while.
        failures: How often it did not, since the process began.
    """

    is_up: bool
    failures: int

    async def check(self) -> None:
        """Raise ``StoreUnavailableError`` unless it answers."""
        ...
