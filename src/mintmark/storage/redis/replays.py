"""What may be presented once, whichever node it is presented to."""

import hashlib

from mintmark.authority.ports import Clock
from mintmark.oauth.revocations import KEPT_BEYOND_EXPIRY
from mintmark.storage.redis.connection import RedisConnection


class RedisReplays:
    """Remembers what was presented; while Redis is away nothing is taken for the first time, nor for the second."""

    def __init__(self, connection: RedisConnection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    async def is_first(self, purpose: str, what: str, expires_at: int) -> bool:
        """Remember ``what`` until ``expires_at``, and as long beyond it as clocks may differ; tell whether it is new.

        Raises:
            StoreUnavailableError: Nobody knows (invariant I4); the same ``what`` may be known next time.
        """
        digest = hashlib.blake2s(what.encode("utf-8", "surrogatepass"), digest_size=32)
        lifetime = max(1, expires_at + KEPT_BEYOND_EXPIRY - self._clock.now())
        return await self._connection.set_if_absent(f"seen:{purpose}:{digest.hexdigest()}", lifetime)
