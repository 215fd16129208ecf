"""Threads for slow work, so few that they cannot crowd out the rest, and how busy they are."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class Threads:
    """Does at most ``size`` things at once; what comes on top waits.

    Attributes:
        size: How many threads there are at most.
    """

    def __init__(self, size: int, name: str) -> None:
        self.size = size
        self._pool = ThreadPoolExecutor(size, thread_name_prefix=name)
        self._under_way = 0

    @property
    def in_use(self) -> int:
        """How many threads work now."""
        return min(self._under_way, self.size)

    @property
    def waiting(self) -> int:
        """How many things wait for a thread."""
        return self._under_way - self.in_use

    async def run(self, act: Callable[..., Result], *args: object) -> Result:
        """Return what ``act`` returns, called on a thread."""
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, act, *args)
        finally:
            self._under_way -= 1

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown(wait=False)
