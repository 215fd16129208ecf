"""Threads for slow work, so few that they cannot crowd out the rest, and how busy they are."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class Threads:
    """Does at most ``size`` things at once; what comes on top waits."""

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._pool = ThreadPoolExecutor(size, thread_name_prefix=name)
        self._under_way = 0

    @property
    def usage(self) -> dict[str, int]:
        """How many threads are ``busy``, their ``size`` in all, and how many things are ``waiting`` for one."""
        busy = min(self._under_way, self._size)
        return {"busy": busy, "size": self._size, "waiting": self._under_way - busy}

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
