"""What may be presented once, for one process."""

from heapq import heappop, heappush

from mintmark.authority.ports import Clock
from mintmark.oauth.revocations import KEPT_BEYOND_EXPIRY


class MemoryReplays:
    """Remembers what was presented to this process; other processes do not know of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: set[tuple[str, str]] = set()
        self._ends: list[tuple[int, tuple[str, str]]] = []

    def __len__(self) -> int:
        return len(self._seen)

    async def is_first(self, purpose: str, what: str, expires_at: int) -> bool:
        """Remember ``what`` until ``expires_at``, and as long beyond it as clocks may differ; tell whether it is new."""
        now = self._clock.now()
        while self._ends and self._ends[0][0] <= now:
            self._seen.discard(heappop(self._ends)[1])
        name = (purpose, what)
        if name in self._seen:
            return False
        self._seen.add(name)
        heappush(self._ends, (max(expires_at + KEPT_BEYOND_EXPIRY, now + 1), name))
        return True
