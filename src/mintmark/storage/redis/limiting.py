"""Slowing down guesses on all nodes together: GCRA as in ``system.limiting``, one number per key, kept by Redis."""

import hashlib
from typing import Final

from mintmark.authority.ports import StoreUnavailableError
from mintmark.authority.sharing import Limiter
from mintmark.storage.redis.connection import RedisConnection, Script

# Redis's own clock: the nodes' clocks differ.
_TAKE: Final = Script(
    """\
local burst, period = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = tonumber(redis.call('TIME')[1])
local free_at = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now - (burst - 1) * period)
if free_at > now then
  return free_at - now
end
free_at = free_at + period
redis.call('SET', KEYS[1], free_at, 'EX', free_at - now + (burst - 1) * period)
return 0
"""
)
_GIVE_BACK: Final = Script(
    """\
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('DECRBY', KEYS[1], ARGV[1])
end
return 0
"""
)


class RedisLimiter:
    """Counts attempts by purpose and key on all nodes together; while Redis is away, on this node alone."""

    def __init__(self, connection: RedisConnection, alone: Limiter) -> None:
        self._connection = connection
        self._alone = alone

    async def take(self, purpose: str, who: str, *, burst: int, period: int) -> int:
        """Charge ``who`` with one attempt; return 0, or after how many seconds there is one left (nothing is charged)."""
        try:
            return int(await self._connection.run(_TAKE, [_key(purpose, who)], [burst, period]))
        except StoreUnavailableError:
            return await self._alone.take(purpose, who, burst=burst, period=period)

    async def give_back(self, purpose: str, who: str, *, period: int) -> None:
        """Take back one charge."""
        try:
            await self._connection.run(_GIVE_BACK, [_key(purpose, who)], [period])
        except StoreUnavailableError:
            await self._alone.give_back(purpose, who, period=period)


def _key(purpose: str, who: str) -> str:
    # Emails and addresses are nobody's business there, and as long as somebody likes.
    digest = hashlib.blake2s(who.encode("utf-8", "surrogatepass"), digest_size=16)
    return f"limit:{purpose}:{digest.hexdigest()}"
