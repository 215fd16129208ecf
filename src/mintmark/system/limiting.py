"""Slowing down guesses: GCRA in memory, for one process (the generic cell rate algorithm, one number per key)."""

from collections import OrderedDict
from math import ceil
from typing import Final

from mintmark.authority.ports import Clock

_MAX_KEYS: Final = 100_000


class MemoryLimiter:
    """Counts failures by key; forgets the keys idle longest once there are 100,000."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._free_at: OrderedDict[str, int] = OrderedDict()

    def retry_after(self, key: str) -> int:
        """Return in how many seconds ``key`` may try again; 0 is now."""
        return max(0, ceil(self._free_at.get(key, 0) - self._clock.now()))

    def punish(self, key: str, *, burst: int, period: int) -> None:
        """Count one failure of ``key``: ``burst`` are free, then one each ``period`` seconds."""
        now = self._clock.now()
        # What is kept is when the key is free again: in the past as long as failures of the burst are left.
        earliest = now - burst * period
        self._free_at[key] = max(self._free_at.get(key, earliest), earliest) + period
        self._free_at.move_to_end(key)
        if len(self._free_at) > _MAX_KEYS:
            self._free_at.popitem(last=False)
