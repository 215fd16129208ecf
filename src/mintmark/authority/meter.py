"""What happened, counted: plain numbers for whoever wants to read them. Nothing is decided by them.

Cheap enough for every request, and bounded: what clients send (names, paths, tokens) is never a key here.
"""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Literal

from mintmark.authority.decisions import Verdict

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: upper bounds, inclusive, of the classes that durations are counted in."""

Misfit = Literal["lost_response", "race", "stale", "code", "foreign_client", "garbage"]
"""How a code or refresh token that is not the current one was presented.

``lost_response`` the predecessor within the grace, answered again; ``race`` likewise, and while somebody else was being
answered; ``stale`` and ``code`` a refresh token or code that was used before, which ended the grant; ``foreign_client``
a genuine one of another client; ``garbage`` none of ours.
"""


@dataclass(slots=True)
class Durations:
    """How long things took.

    Attributes:
        counts: How many took up to each of ``BOUNDS``, and longer than all of them.
        total: Seconds, of all together.
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0


@dataclass(slots=True)
class Meter:
    """The counts of one process, since it began.

    Attributes:
        verdicts: Steps of grants that were committed and answered, by what they were.
        misfits: Codes and refresh tokens presented that were not the current ones.
        requests: Requests by endpoint, status and error code (``""`` for none); the seconds until the answer was ready.
        store_unavailable: How often something could not be done because the store did not answer.
        streams: How many readers of the feed there are now.
        leads: Whether this node holds the lease for the work that one node does for all.
    """

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    misfits: Counter[Misfit] = field(default_factory=Counter)
    requests: dict[tuple[str, int, str], Durations] = field(default_factory=dict)
    store_unavailable: int = 0
    streams: int = 0
    leads: bool = False

    def note(self, endpoint: str, status: int, error: str, seconds: float) -> None:
        """Count a request that was answered."""
        key = (endpoint, status, error)
        durations = self.requests.get(key)
        if durations is None:
            durations = self.requests[key] = Durations()
        durations.counts[bisect_left(BOUNDS, seconds)] += 1
        durations.total += seconds
