"""Moving everything out of and into a PostgreSQL database: one connection, one transaction, however long it takes."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from mintmark.storage.moving import BATCH, TABLES, NotEmptyError, Source, Table, Target, require_whole
from mintmark.storage.postgresql import errors
from mintmark.storage.postgresql.connections import Connection
from mintmark.storage.postgresql.dialing import Address, Dialer
from mintmark.storage.postgresql.migrations import schema_of
from mintmark.storage.rows import Row
from mintmark.storage.schema import migrations

_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_WRITE: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
_NO_HURRY: Final = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
_COUNT: Final = """
    UPDATE counters SET value = greatest(value, (SELECT coalesce(max("cursor"), 0) FROM revocations))
    WHERE name = 'revocations'
"""
"""What is revoked from now on comes after what was moved."""


class _Source:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def rows(self, table: Table) -> AsyncIterator[Sequence[Row]]:
        await self._connection.run(f"DECLARE moving_{table.name} NO SCROLL CURSOR FOR {table.select}")
        while rows := await self._connection.rows(f"FETCH {BATCH} FROM moving_{table.name}"):
            yield [tuple(row) for row in rows]


class _Target:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        await self._connection.execute_all(table.insert(columns), rows)


@asynccontextmanager
async def reading(url: str, *, password: str | None = None) -> AsyncIterator[Source]:
    """Open a database as it is now; those who write meanwhile are not disturbed, nor seen.

    Raises:
        StoreUnavailableError: It cannot be reached or read.
        UnknownSchemaError: A newer mintmark has upgraded it.
    """
    async with _transaction(url, password, _READ) as connection:
        require_whole(await schema_of(connection), len(migrations("postgresql")))
        yield _Source(connection)


@asynccontextmanager
async def writing(url: str, *, password: str | None = None) -> AsyncIterator[Target]:
    """Open a database that has the schema and nothing else; what was added is committed at the end, without an error.

    Raises:
        AlreadyExistsError: Somebody else has added the same meanwhile.
        NotEmptyError: It has content.
        StoreUnavailableError: It cannot be reached or written, or nobody knows whether all was committed.
    """
    async with _transaction(url, password, _WRITE) as connection:
        held = [table.name for table in TABLES if await connection.rows(table.first)]
        if held:
            raise NotEmptyError(held)
        yield _Target(connection)
        await connection.execute(_COUNT)
        await connection.commit()


@asynccontextmanager
async def _transaction(url: str, password: str | None, begin: str) -> AsyncIterator[Connection]:
    """Connect and begin; what is not committed when the connection ends is undone."""
    try:
        connection = await Dialer(Address.of(url, password)).dial()
        try:
            await connection.run(begin)
            await connection.run(_NO_HURRY)
            yield connection
        finally:
            await connection.close()
    except errors.FAILURES as error:
        errors.tell(error)
