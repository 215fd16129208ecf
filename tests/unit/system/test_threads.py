"""Threads for slow work say how busy they are (`mintmark.system.threads`)."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from mintmark.system.threads import Threads

pytestmark = pytest.mark.anyio


@pytest.fixture
def threads() -> Iterator[Threads]:
    pool = Threads(2, "slow")
    yield pool
    pool.close()


def busy(threads: Threads) -> tuple[int, int, int]:
    usage = threads.usage
    return usage["size"], usage["busy"], usage["waiting"]


async def test_what_is_under_way_and_what_waits(threads: Threads) -> None:
    gate = threading.Event()
    assert busy(threads) == (2, 0, 0)
    tasks = [asyncio.create_task(threads.run(gate.wait, 10)) for _ in range(5)]
    await asyncio.sleep(0)
    assert busy(threads) == (2, 2, 3)
    gate.set()
    assert await asyncio.gather(*tasks) == [True] * 5
    assert busy(threads) == (2, 0, 0)


async def test_what_fails_is_over_as_well(threads: Threads) -> None:
    def fail() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await threads.run(fail)
    assert busy(threads) == (2, 0, 0)


async def test_it_runs_on_threads_of_its_own(threads: Threads) -> None:
    assert (await threads.run(lambda: threading.current_thread().name)).startswith("slow")
