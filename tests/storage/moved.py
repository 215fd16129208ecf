"""Databases that things are moved from and to, one class for each kind."""

import asyncio
import itertools
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from typing import Final, TypeVar

import pytest
from tests.storage.store_things import NOW
from tests.support.pgbouncer import through
from tests.support.postgres import PostgreSQL

from mintmark.authority.ports import Store
from mintmark.storage.moving import Source, Target
from mintmark.storage.sqlite import SQLiteStore
from mintmark.storage.sqlite import moving as sqlite_moving

_numbers = itertools.count(1)
Result = TypeVar("Result")


class Database(ABC):
    """One database with an up-to-date schema."""

    @abstractmethod
    async def open(self) -> Store:
        """Open it as a node does."""

    @abstractmethod
    def reading(self) -> AbstractAsyncContextManager[Source]:
        """Open it to move from it."""

    @abstractmethod
    def writing(self) -> AbstractAsyncContextManager[Target]:
        """Open it to move to it."""

    @abstractmethod
    async def columns(self) -> set[str]:
        """Return every column there is, as ``table.column``."""

    @abstractmethod
    def execute(self, sql: str) -> None:
        """Run SQL beside it."""

    async def on_store(self, act: Callable[[Store], Awaitable[Result]]) -> Result:
        """Do something on the store."""
        store = await self.open()
        try:
            return await act(store)
        finally:
            await store.close()

    def elsewhere(self, act: Callable[[Store], Awaitable[Result]]) -> Result:
        """Do something on the store as another process would, and wait for it."""
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(lambda: asyncio.run(self.on_store(act))).result()


class SQLiteFile(Database):
    """A SQLite file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        asyncio.run(SQLiteStore.open(path, now=NOW).close())

    async def open(self) -> Store:
        return SQLiteStore.open(self.path, now=NOW)

    def reading(self) -> AbstractAsyncContextManager[Source]:
        return sqlite_moving.reading(self.path)

    def writing(self) -> AbstractAsyncContextManager[Target]:
        return sqlite_moving.writing(self.path)

    def execute(self, sql: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(sql)

    async def columns(self) -> set[str]:
        text = """
            SELECT tables.name || '.' || columns.name FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
            WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite%'
        """
        with closing(sqlite3.connect(self.path)) as connection:
            return {name for (name,) in connection.execute(text)}


class PostgreSQLDatabase(Database):
    """A database of a PostgreSQL server.

    Args:
        server: Running.
        port: Of a pooler in front of it, for moving.
    """

    def __init__(self, server: PostgreSQL, port: int | None = None) -> None:
        self._server = server
        self.name = f"moving_{next(_numbers)}"
        self.url = server.empty_database(self.name)
        self._moving_url = self.url if port is None else through(self.url, port)

    async def open(self) -> Store:
        from mintmark.storage.postgresql import PostgreSQLStore

        return await PostgreSQLStore.open(self.url)

    def reading(self) -> AbstractAsyncContextManager[Source]:
        from mintmark.storage.postgresql import moving

        return moving.reading(self._moving_url)

    def writing(self) -> AbstractAsyncContextManager[Target]:
        from mintmark.storage.postgresql import moving

        return moving.writing(self._moving_url)

    def execute(self, sql: str) -> None:
        self._server.execute(sql, self.name)

    async def columns(self) -> set[str]:
        text = "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public'"
        return set(self._server.execute(text, self.name))


KINDS: Final = ("sqlite", pytest.param("postgresql", marks=pytest.mark.slow))


def make(request: pytest.FixtureRequest, kind: str, path: Path) -> Database:
    """Return an empty database; ``path`` is for its file, if it has one."""
    if kind == "sqlite":
        return SQLiteFile(path)
    return PostgreSQLDatabase(request.getfixturevalue("postgresql_server"))
