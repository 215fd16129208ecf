"""Group commit: one thread writes, and one sync of the disk serves everybody who waits.

1. An act is a function of the connection. The acts waiting run one after the other in one transaction.
2. An act of several statements runs inside a savepoint; a failing act undoes itself and nothing else.
3. Nobody hears of success before COMMIT returned. If it fails, nothing is known, for all of them.
4. The acts that tasks submit in one turn of an event loop are handed over together at its end. Otherwise the thread
   would start on the first of them and sync the disk for it alone, while the others wait.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from mintmark.authority.ports import StoreUnavailableError
from mintmark.storage.rows import Parameters
from mintmark.storage.sqlite.connections import translate

Result = TypeVar("Result")

MAX_BATCH: Final = 512
"""Acts in one transaction: more than this gains nothing, and other processes want their turn."""


class _Work:
    """An act under way and whoever waits for it."""

    __slots__ = ("act", "error", "future", "is_single", "result")

    def __init__(
        self, act: Callable[[sqlite3.Connection], Any], future: "asyncio.Future[Any]", *, is_single: bool
    ) -> None:
        self.act = act
        self.future = future
        self.is_single = is_single
        self.result: Any = None
        self.error: Exception | None = None

    def settle(self) -> None:
        """Tell the waiting task, on the thread of its loop."""
        if self.future.done():  # the task was cancelled; what was committed stays
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class GroupWriter:
    """Runs acts on a connection that is its own from now on.

    Args:
        connection: In autocommit mode, usable from another thread.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._gathering: dict[asyncio.AbstractEventLoop, list[_Work]] = {}
        self._waiting: queue.SimpleQueue[list[_Work] | None] = queue.SimpleQueue()
        self._guard = threading.Lock()  # between handing over and closing
        self._is_closed = False
        # A daemon: a process that ends without closing must not hang. What was acknowledged is on the disk.
        self._thread = threading.Thread(target=self._serve, name="mintmark-write", daemon=True)
        self._thread.start()

    async def run(self, act: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run an act of several statements: all of it or nothing.

        Raises:
            StoreUnavailableError: It could not be committed, or nobody knows.
            AlreadyExistsError: A name is taken.
        """
        return cast("Result", await self._submit(act, is_single=False))

    async def execute(self, statement: str, parameters: Parameters = ()) -> int:
        """Run one statement, which SQLite itself makes atomic; return how many rows it touched.

        Raises:
            StoreUnavailableError: It could not be committed, or nobody knows.
            AlreadyExistsError: A name is taken.
        """

        def act(connection: sqlite3.Connection) -> int:
            return connection.execute(statement, parameters).rowcount

        return cast("int", await self._submit(act, is_single=True))

    def close(self) -> None:
        """Finish what was handed over and close the connection."""
        with self._guard:
            if not self._is_closed:
                self._is_closed = True
                self._waiting.put(None)
        self._thread.join()

    def _submit(self, act: Callable[[sqlite3.Connection], Any], *, is_single: bool) -> "asyncio.Future[Any]":
        loop = asyncio.get_running_loop()
        work = _Work(act, loop.create_future(), is_single=is_single)
        gathered = self._gathering.get(loop)
        if gathered is None:
            self._gathering[loop] = [work]
            loop.call_soon(self._hand_over, loop)
        else:
            gathered.append(work)
        return work.future

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        works = self._gathering.pop(loop)
        with self._guard:
            if not self._is_closed:
                self._waiting.put(works)
                return
        _fail(works, StoreUnavailableError("the store is closed"))
        for work in works:
            work.settle()

    def _serve(self) -> None:
        is_open = True
        while is_open:
            works: list[_Work] = []
            more = self._waiting.get()
            while more is not None:
                works += more
                if len(works) >= MAX_BATCH or self._waiting.empty():
                    break
                more = self._waiting.get()
            is_open = more is not None
            if works:
                self._commit(works)
                _announce(works)
        self._connection.close()

    def _commit(self, works: list[_Work]) -> None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for work in works:
                self._perform(work)
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it was, those who wait must hear of it
            _fail(works, error)
            self._roll_back()

    def _perform(self, work: _Work) -> None:
        connection = self._connection
        try:
            if work.is_single:
                work.result = work.act(connection)
            else:
                connection.execute("SAVEPOINT act")
                work.result = work.act(connection)
                connection.execute("RELEASE act")
        except Exception as error:
            # A full disk or an I/O error may have undone the whole transaction, not only this statement.
            if not connection.in_transaction:
                raise
            if not work.is_single:
                connection.execute("ROLLBACK TO act")
                connection.execute("RELEASE act")
            work.error = translate(error) if isinstance(error, sqlite3.Error) else error
            if work.error is not error:
                work.error.__cause__ = error

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            # The next BEGIN fails as well and says so to whoever waits then.
            return


def _fail(works: list[_Work], cause: Exception) -> None:
    for work in works:
        work.error = StoreUnavailableError(str(cause))
        work.error.__cause__ = cause


def _announce(works: list[_Work]) -> None:
    """Wake each loop once, however many of its tasks wait."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Work]] = {}
    for work in works:
        by_loop.setdefault(work.future.get_loop(), []).append(work)
    for loop, own in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, own)
        except RuntimeError:  # that loop is closed: nobody waits any more
            continue


def _settle(works: list[_Work]) -> None:
    for work in works:
        work.settle()
