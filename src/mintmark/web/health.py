"""Is the process up, and can it do its work?"""

import asyncio
from typing import Final

from mintmark.asgi import Incoming, Reply
from mintmark.authority import keys as schedule
from mintmark.authority.core import Authority
from mintmark.authority.ports import StoreUnavailableError
from mintmark.web.rendering import json_reply
from mintmark.web.streaming import Feed

_PATIENCE: Final = 2.0
"""Seconds that the database may take to answer: whoever asks for our readiness does not wait for ever."""
_WITHOUT_REDIS: Final = (
    "redis: attempts are counted by each node alone, what may be used once is refused, "
    "and revocations are kept in one place less"
)


async def livez(_authority: Authority, _incoming: Incoming) -> Reply:
    """Return 200 while the process answers at all."""
    return json_reply({"status": "up"})


async def readyz(feed: Feed, authority: Authority, _incoming: Incoming) -> Reply:
    """Return 200 if requests should come here, else 503 with what is missing.

    They should if the database answers and has a schema that this version knows, every algorithm has a key that signs,
    and the server was not told to stop: a node that is about to leave says so while it still answers. Redis is not
    needed for that; what is worse without it stands under ``degraded`` (docs/redis.md).
    """
    problems = ["draining"] if feed.stopped.done() else []
    try:
        async with asyncio.timeout(_PATIENCE):
            await authority.store.check()
    except (StoreUnavailableError, TimeoutError):
        problems.append("database")
    now = authority.clock.now()
    problems += [
        f"no active {alg} key"
        for alg in authority.policy.signing_algorithms
        if schedule.active(authority.keyring.rows, alg, now) is None
    ]
    degraded = {"degraded": [_WITHOUT_REDIS]} if await _lacks_redis(authority) else {}
    if problems:
        return json_reply({"status": "not ready", "missing": problems, **degraded}, status=503)
    return json_reply({"status": "ready", **degraded})


async def _lacks_redis(authority: Authority) -> bool:
    if authority.shared is None:
        return False
    try:
        await authority.shared.check()
    except StoreUnavailableError:
        return True
    return False
