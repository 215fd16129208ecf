"""Reads: short ones on the calling thread, long ones on a small pool.

Each thread has a connection of its own. A shared one would be safe, but a read of one thread would hold the snapshot of
another, which could then miss a write that was acknowledged to it already.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from mintmark.authority.ports import StoreUnavailableError
from mintmark.storage.rows import Parameters, Row
from mintmark.storage.sqlite.connections import connect_reader, translate

Item = TypeVar("Item")


class _Desk:
    """The connection of one thread; the lock keeps it open until its read is done."""

    __slots__ = ("connection", "lock")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.lock = threading.Lock()


class Readers:
    """Read connections to one file.

    Args:
        path: The database file.
        threads: How many long reads may run at a time.
        busy_timeout: Seconds a read may wait for a lock. Reads in WAL mode wait for nobody, except at recovery.
    """

    def __init__(self, path: Path, *, threads: int, busy_timeout: float) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="mintmark-read")
        self._own = threading.local()
        self._desks: list[_Desk] = []
        self._guard = threading.Lock()
        self._is_closed = False

    def rows(self, statement: str, parameters: Parameters = ()) -> list[Row]:
        """Return all rows of a statement, read on the calling thread (a point read takes 10 to 20 µs).

        Raises:
            StoreUnavailableError: The file cannot be read, or ``close`` was called.
        """
        try:
            desk: _Desk = self._own.desk
        except AttributeError:
            desk = self._open_desk()
        with desk.lock:
            if self._is_closed:
                raise StoreUnavailableError("the store is closed")
            try:
                # fetchall, so that the statement is done and holds no snapshot.
                return desk.connection.execute(statement, parameters).fetchall()
            except sqlite3.Error as error:
                raise translate(error) from error

    def first(self, statement: str, parameters: Parameters, read: Callable[[Row], Item]) -> Item | None:
        """Return what ``read`` makes of the first row, read on the calling thread.

        Raises:
            StoreUnavailableError: The file cannot be read, or ``close`` was called.
        """
        rows = self.rows(statement, parameters)
        return read(rows[0]) if rows else None

    async def every(self, statement: str, parameters: Parameters, read: Callable[[Row], Item]) -> list[Item]:
        """Return what ``read`` makes of each row; read on the pool, since there may be many.

        Raises:
            StoreUnavailableError: The file cannot be read, or ``close`` was called.
        """
        with self._guard:
            if self._is_closed:
                raise StoreUnavailableError("the store is closed")
            pending = self._pool.submit(lambda: [read(row) for row in self.rows(statement, parameters)])
        return await asyncio.wrap_future(pending)

    def close(self) -> None:
        """Wait for the reads under way and close all connections."""
        with self._guard:
            self._is_closed = True
        self._pool.shutdown(wait=True)
        for desk in self._desks:
            with desk.lock:
                desk.connection.close()

    def _open_desk(self) -> _Desk:
        with self._guard:
            if self._is_closed:
                raise StoreUnavailableError("the store is closed")
            try:
                desk = _Desk(connect_reader(self._path, busy_timeout=self._busy_timeout))
            except sqlite3.Error as error:
                raise translate(error) from error
            self._desks.append(desk)
        self._own.desk = desk
        return desk
