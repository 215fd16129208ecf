"""Moving everything out of and into a SQLite file. Blocks: nothing else runs in a process that does this."""

import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Final

from mintmark.storage.moving import BATCH, TABLES, NotEmptyError, Source, Table, Target, require_whole
from mintmark.storage.rows import Row
from mintmark.storage.schema import migrations
from mintmark.storage.sqlite.connections import connect_reader, connect_writer, translate
from mintmark.storage.sqlite.migrations import schema_of

_BUSY_TIMEOUT: Final = 5.0  # seconds


class _Source:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def rows(self, table: Table) -> AsyncIterator[Sequence[Row]]:
        cursor = self._connection.execute(table.select)
        while rows := cursor.fetchmany(BATCH):
            yield rows


class _Target:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def add(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        self._connection.executemany(table.insert(columns), rows)


@asynccontextmanager
async def reading(path: Path) -> AsyncIterator[Source]:
    """Open a file as it is now; those who write meanwhile are not disturbed, nor seen.

    Raises:
        StoreUnavailableError: It cannot be read.
        UnknownSchemaError: A newer mintmark has upgraded it.
    """
    with _translated(), closing(connect_reader(path, busy_timeout=_BUSY_TIMEOUT)) as connection:
        connection.execute("BEGIN")
        require_whole(schema_of(connection), len(migrations("sqlite")))
        yield _Source(connection)


@asynccontextmanager
async def writing(path: Path) -> AsyncIterator[Target]:
    """Open a file that has the schema and nothing else; what was added is committed at the end, if there was no error.

    Raises:
        NotEmptyError: It has content.
        StoreUnavailableError: It cannot be written.
    """
    with _translated(), closing(connect_writer(path, busy_timeout=_BUSY_TIMEOUT)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        held = [table.name for table in TABLES if connection.execute(table.first).fetchone()]
        if held:
            raise NotEmptyError(held)
        yield _Target(connection)
        connection.execute("COMMIT")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error) from error
