"""The background work of a node."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from mintmark.authority.core import Authority
from mintmark.bootstrap.hearing import hearing
from mintmark.bootstrap.repeating import repeat
from mintmark.bootstrap.upkeep import Candidate, Upkeep, name_of_this_node

_LOOK_EVERY: Final = 1.0
"""Seconds between two looks for keys that others changed, and between two at who leads."""


@contextlib.asynccontextmanager
async def chores(authority: Authority, *, cleanup_interval: int, cleanup_batch: int) -> AsyncIterator[None]:
    """Run the background work while the context lasts: hear of changes all the time, clean up every interval.

    Revocations are heard of in tasks of their own, and so are keys: whatever fails or hangs beside them, such as a
    cleanup that waits for a table, does not hold that up (invariants I6 and I7), nor the other way round. A failure is
    logged and tried again a second later; it never ends the work.
    """
    elapsed = asyncio.get_running_loop().time
    candidate = Candidate(authority.store.leases, name_of_this_node(authority.randomness), elapsed)
    upkeep = Upkeep(authority, candidate, interval=cleanup_interval, batch=cleanup_batch, elapsed=elapsed)

    async def look_at_keys() -> None:
        await authority.keyring.refresh(authority.store)

    async with hearing(authority):
        tasks = [
            asyncio.create_task(repeat(work, during, every=_LOOK_EVERY), name=f"mintmark {during}")
            for during, work in (("upkeep", upkeep.tick), ("looking at keys", look_at_keys))
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await upkeep.leave()
