"""The background work of a node."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import structlog

from mintmark.authority.core import Authority
from mintmark.authority.ports import StoreUnavailableError

_HEAR_EVERY: Final = 0.1
"""Seconds between two looks for revocations of other processes: one short read each."""
_CATCH_UP_EVERY: Final = 1.0
"""Seconds between two looks for keys that others changed."""
_TRY_AGAIN_IN: Final = 1.0
"""Seconds until what failed is tried again."""

log = structlog.get_logger("mintmark")


@contextlib.asynccontextmanager
async def chores(authority: Authority, *, cleanup_interval: int, cleanup_batch: int) -> AsyncIterator[None]:
    """Run the background work while the context lasts: hear of changes all the time, clean up every interval.

    Revocations are heard of in a task of their own: whatever fails or hangs beside it does not hold that up (invariant
    I6), nor the other way round. A failure is logged and tried again a second later; it never ends the work.
    """
    clean_up_in = 0.0

    async def hear() -> None:
        await authority.denylist.pull(authority.store)

    async def keep_up() -> None:
        nonlocal clean_up_in
        clean_up_in -= _CATCH_UP_EVERY
        await authority.keyring.refresh(authority.store)
        if clean_up_in > 0:
            return
        done = await authority.upkeep(cleanup_batch)
        clean_up_in = cleanup_interval
        if any(done.values()):
            log.info("upkeep", **done)

    tasks = [
        asyncio.create_task(_forever(hear, _HEAR_EVERY, "hearing"), name="mintmark hearing"),
        asyncio.create_task(_forever(keep_up, _CATCH_UP_EVERY, "upkeep"), name="mintmark upkeep"),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _forever(work: Callable[[], Awaitable[None]], every: float, during: str) -> None:
    pause = every
    while True:
        await asyncio.sleep(pause)
        pause = _TRY_AGAIN_IN
        try:
            await work()
            pause = every
        except StoreUnavailableError as problem:
            log.warning("store unavailable", during=during, reason=str(problem))
        except Exception as problem:  # the work must go on; see ``chores``
            log.exception("upkeep failed", during=during, kind=type(problem).__name__)
