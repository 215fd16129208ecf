"""Turns at what there is little of: whoever asks for much waits longer, and holds up nobody who asks for little."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator

from mintmark.oauth.errors import OAuthError, unavailable


class Turns:
    """Some may have a turn at once; who waits is served source by source, each source in its own order.

    Args:
        places: How many may have a turn at once.
        most_waiting: How many may wait. Beyond that, whoever came last of the source with the most in line is refused.
    """

    def __init__(self, places: int, most_waiting: int) -> None:
        self._free = places
        self._most_waiting = most_waiting
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._lines.values()))

    @contextlib.asynccontextmanager
    async def turn(self, source: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it while the context lasts.

        Raises:
            OAuthError: ``temporarily_unavailable``: too many wait, and most of them are of ``source``.
        """
        await self._take(source)
        try:
            yield
        finally:
            self._hand_on()

    async def _take(self, source: str) -> None:
        if self._free:
            self._free -= 1
            return
        if self.waiting >= self._most_waiting:
            self._refuse_one(source)
        future = asyncio.get_running_loop().create_future()
        self._lines.setdefault(source, deque()).append(future)
        try:
            await future
        except asyncio.CancelledError:
            if not future.cancelled() and future.exception() is None:
                self._hand_on()
            elif future in self._lines.get(source, ()):
                self._leave(source, future)
            raise

    def _refuse_one(self, source: str) -> None:
        greediest = max(self._lines, key=lambda each: len(self._lines[each]))
        if len(self._lines[greediest]) <= len(self._lines.get(source, ())) + 1:
            raise _refusal()
        last = self._lines[greediest][-1]
        self._leave(greediest, last)
        if not last.done():
            last.set_exception(_refusal())

    def _leave(self, source: str, future: "asyncio.Future[None]") -> None:
        self._lines[source].remove(future)
        if not self._lines[source]:
            del self._lines[source]

    def _hand_on(self) -> None:
        while self._lines:
            source = next(iter(self._lines))
            line = self._lines.pop(source)
            future = line.popleft()
            if line:
                self._lines[source] = line  # behind all others
            if not future.done():
                future.set_result(None)
                return
        self._free += 1


def _refusal() -> OAuthError:
    return unavailable("too many passwords are waiting to be checked", retry_after=5)
