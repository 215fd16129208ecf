"""Work that goes on for as long as the process runs, whatever happens to it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from mintmark.authority.ports import StoreUnavailableError

_TRY_AGAIN_IN: Final = 1.0
"""Seconds until what failed is tried again."""

log = structlog.get_logger("mintmark")


async def repeat(
    work: Callable[[], Awaitable[None]],
    during: str,
    *,
    every: float,
    wake: asyncio.Event | None = None,
    is_quiet: bool = False,
) -> None:
    """Do ``work`` again and again; for a task of its own, which is cancelled in the end.

    Args:
        work: One round.
        during: What the log calls it.
        every: Seconds between two rounds.
        wake: Set by whoever does not want to wait so long.
        is_quiet: Whether somebody else says in the log that what it needs is away.
    """
    pause = every
    while not _is_cancelled():
        await _wait(pause, wake)
        pause = _TRY_AGAIN_IN
        try:
            await work()
            pause = every
        except StoreUnavailableError as problem:
            if not is_quiet:
                log.warning("store unavailable", during=during, reason=str(problem))
        except Exception as problem:  # the work must go on
            log.exception("upkeep failed", during=during, kind=type(problem).__name__)


def _is_cancelled() -> bool:
    """Tell whether this task was told to end; work may have swallowed that.

    ``asyncio.wait_for`` does before Python 3.12, if what it waits for ends at that moment, and libraries use it.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _wait(seconds: float, wake: asyncio.Event | None) -> None:
    if wake is None:
        await asyncio.sleep(seconds)
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await wake.wait()
    wake.clear()
