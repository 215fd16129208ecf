"""The connections that a process keeps: few, used in turns, replaced when they break."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from mintmark.authority.ports import StoreUnavailableError
from mintmark.storage.postgresql.connections import Connection
from mintmark.storage.postgresql.errors import NoRoomError

WAIT_SECONDS: Final = 2.0
"""How long one may wait for a connection while all are in use."""
IDLE_SECONDS: Final = 180.0
"""How long a connection may lie unused: whatever is in between may have dropped it silently after that."""
FULL_SECONDS: Final = 1.0
"""For how long none is asked for after the server said that it takes no further connection."""
_FINISH_SECONDS: Final = 5.0
"""How long closing waits for what is under way."""
_BURY_SECONDS: Final = 5.0
"""How long it waits for connections to end, whatever keeps them."""


class Pool:
    """At most ``size`` connections.

    Args:
        dial: Makes one.
        size: How many there may be.
    """

    def __init__(self, dial: Callable[[], Awaitable[Connection]], size: int) -> None:
        self._dial = dial
        self._size = size
        self._time = asyncio.get_running_loop().time
        self._idle: deque[tuple[Connection, float]] = deque()
        self._busy: set[Connection] = set()
        self._dialing = 0
        # The server said that it was full: until then (0: it did not) it is not asked again, and then by one of us.
        self._full_until, self._refusal = 0.0, ""
        self._outdated: set[Connection] = set()
        # Who waits gets a connection, or None: there is a place for a new one.
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._burials: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._is_over = asyncio.Event()

    @property
    def usage(self) -> dict[str, int]:
        """How many connections are in use and idle, how many there may be, and how many tasks wait for one."""
        waiting = sum(not future.done() for future in self._waiting)
        busy = len(self._busy) + self._dialing
        return {"busy": busy, "idle": len(self._idle), "size": self._size, "waiting": waiting}

    async def acquire(self) -> Connection:
        """Return a connection, to be given back with ``release``.

        Raises:
            StoreUnavailableError: All are in use and stay so, or the pool is closed.
            NoRoomError: There is none, and the server has no room for one.
            LostConnectionError: None can be made.
        """
        while True:
            self._require_open()
            while self._idle:
                connection, _ = self._idle.pop()
                if connection.is_usable:
                    self._busy.add(connection)
                    return connection
                self._bury(connection)
            if len(self._busy) + self._dialing < self._size and self._may_dial():
                try:
                    return await self._add()
                except NoRoomError:
                    if not self._busy and not self._idle:
                        raise
                    continue
            handed = await self._wait()
            if handed is not None:
                return handed

    def release(self, connection: Connection) -> None:
        """Take a connection back; a broken one is not used again."""
        self._busy.discard(connection)
        if self._is_closed or connection in self._outdated or not connection.is_usable:
            self._outdated.discard(connection)
            self._bury(connection)
            self._hand_on(None)
            self._note_end()
        elif not self._hand_on(connection):
            now = self._time()
            self._idle.append((connection, now))
            if self._idle[0][1] < now - IDLE_SECONDS:
                self._bury(self._idle.popleft()[0])

    def renew(self) -> None:
        """Replace every connection that was made so far: their server is not the right one, or does not answer."""
        self._outdated.update(self._busy)
        while self._idle:
            self._bury(self._idle.pop()[0])

    async def close(self) -> None:
        """Let what is under way finish, for a while, and end all connections; in bounded time, whatever the server does."""
        self._is_closed = True
        while self._waiting:
            self._hand_on(None)
        self.renew()
        self._note_end()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FINISH_SECONDS):
                await self._is_over.wait()
        for connection in list(self._busy):
            self._bury(connection)
        if self._burials:
            await asyncio.wait(self._burials, timeout=_BURY_SECONDS)

    def _note_end(self) -> None:
        if self._is_closed and not self._busy and not self._dialing:
            self._is_over.set()

    def _require_open(self) -> None:
        if self._is_closed:
            raise StoreUnavailableError("the store is closed")

    def _may_dial(self) -> bool:
        """Tell whether the server may be asked for a connection; if not, one of those that there are is waited for.

        Raises:
            NoRoomError: There is none to wait for.
        """
        if not self._full_until:
            return True
        now = self._time()
        if now >= self._full_until:
            self._full_until = now + FULL_SECONDS
            return True
        if self._busy or self._dialing:
            return False
        self._hand_on(None)  # whoever waits learns it as well
        raise NoRoomError(self._refusal)

    async def _add(self) -> Connection:
        self._dialing += 1
        try:
            connection = await self._dial()
        except BaseException as error:
            self._dialing -= 1
            is_full = isinstance(error, NoRoomError)
            self._full_until, self._refusal = self._time() + FULL_SECONDS if is_full else 0.0, str(error)
            self._hand_on(None)
            self._note_end()
            raise
        self._dialing -= 1
        self._busy.add(connection)
        self._full_until = 0.0
        if len(self._busy) + self._dialing < self._size:
            self._hand_on(None)  # where some wait all the same, the server had no room; now it may have more
        return connection

    async def _wait(self) -> Connection | None:
        future: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await future
        except BaseException as error:
            if future.done() and not future.cancelled():  # handed over at the moment we gave up
                handed = future.result()
                if handed is None:
                    self._hand_on(None)
                else:
                    self.release(handed)
            if isinstance(error, TimeoutError):
                raise StoreUnavailableError(self._said()) from error
            raise

    def _said(self) -> str:
        if not self._full_until:
            return f"all {self._size} connections to PostgreSQL are in use"
        return (
            f"all {len(self._busy)} connections to PostgreSQL are in use, and it takes no further one: {self._refusal}"
        )

    def _hand_on(self, what: Connection | None) -> bool:
        """Give ``what`` to who waits longest; tell whether anybody did."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                if what is not None:
                    self._busy.add(what)
                future.set_result(what)
                return True
        return False

    def _bury(self, connection: Connection) -> None:
        self._full_until = 0.0  # its place is free, or soon will be
        task = asyncio.get_running_loop().create_task(connection.close())
        self._burials.add(task)
        task.add_done_callback(self._burials.discard)
