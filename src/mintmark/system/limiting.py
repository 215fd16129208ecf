"""Slowing down guesses: GCRA in memory, for one process (the generic cell rate algorithm, one number per key)."""

import hashlib
from collections import OrderedDict
from typing import Final

from mintmark.authority.ports import Clock

_MAX_KEYS: Final = 100_000
_DIGEST_BYTES: Final = 16


class MemoryLimiter:
    """Counts attempts by purpose and key; of each purpose it forgets the keys idle longest beyond 100,000."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # What is kept is when the next attempt is free: in the past as long as attempts of the burst are left.
        self._free_at: dict[str, OrderedDict[bytes, int]] = {}

    async def take(self, purpose: str, who: str, *, burst: int, period: int) -> int:
        """Charge ``who`` with one attempt; return 0, or after how many seconds there is one left (nothing is charged)."""
        now = self._clock.now()
        table = self._free_at.setdefault(purpose, OrderedDict())
        key = _digest(who)
        free_at = max(table.get(key, 0), now - (burst - 1) * period)
        if free_at > now:
            return free_at - now
        table[key] = free_at + period
        table.move_to_end(key)
        if len(table) > _MAX_KEYS:
            table.popitem(last=False)
        return 0

    async def give_back(self, purpose: str, who: str, *, period: int) -> None:
        """Take back one charge."""
        table, key = self._free_at.get(purpose), _digest(who)
        if table is not None and key in table:
            table[key] -= period


def _digest(who: str) -> bytes:
    """Return what is kept of a key: clients choose how long the key itself is."""
    return hashlib.blake2b(who.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()
