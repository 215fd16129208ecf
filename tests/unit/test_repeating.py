"""Work that is repeated ends when it is told to, and only then."""

import asyncio
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from mintmark.authority.ports import StoreUnavailableError
from mintmark.bootstrap import repeating
from mintmark.bootstrap.repeating import repeat

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeating, "_TRY_AGAIN_IN", 0.0)


async def ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    async with asyncio.timeout(10):
        with suppress(asyncio.CancelledError):
            await task


async def test_work_goes_on_whatever_it_raises() -> None:
    rounds, done = 0, asyncio.Event()

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise StoreUnavailableError("away")
        if rounds == 2:
            raise ValueError("a fault of ours")
        done.set()

    with capture_logs() as lines:
        task = asyncio.create_task(repeat(work, "trials", every=0.0))
        await done.wait()
        await ended(task)
    assert [line["event"] for line in lines] == ["store unavailable", "upkeep failed"]


async def test_work_that_swallows_its_cancellation_is_not_begun_again() -> None:
    """As `asyncio.wait_for` does before Python 3.12; a node that shuts down would hang."""
    rounds, begun = 0, asyncio.Event()

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)

    task = asyncio.create_task(repeat(work, "trials", every=0.0))
    await begun.wait()
    await ended(task)
    assert rounds == 1


async def test_a_timeout_of_the_work_itself_does_not_end_it() -> None:
    rounds, done = 0, asyncio.Event()

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            done.set()
        async with asyncio.timeout(0):
            await asyncio.sleep(3600)

    task = asyncio.create_task(repeat(work, "trials", every=0.0))
    async with asyncio.timeout(10):
        await done.wait()
    await ended(task)
