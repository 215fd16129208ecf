"""Moving everything out of and into a PostgreSQL database: one connection, one transaction, however long it takes."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from mintmark.authority.ports import AlreadyExistsError
from mintmark.storage.moving import BATCH, TABLES, NotEmptyError, Source, Table, Target, require_whole
from mintmark.storage.postgresql import errors
from mintmark.storage.postgresql.connections import Connection
from mintmark.storage.postgresql.dialing import Address, Dialer
from mintmark.storage.postgresql.migrations import REMEDY, schema_of
from mintmark.storage.rows import Row
from mintmark.storage.schema import migrations, require_known

LOCK_SECONDS: Final = 5
"""How long an import waits for others who write."""
_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_WRITE: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
_NO_HURRY: Final = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
_ALONE: Final = f"""
    SET LOCAL lock_timeout = {LOCK_SECONDS * 1000};
    LOCK TABLE {", ".join(table.name for table in TABLES)} IN SHARE ROW EXCLUSIVE MODE
"""
"""From here to the end nobody else writes; whoever reads does not notice."""
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
    """Open a database as it is now; those who write meanwhile are not disturbed, nor seen. A standby will do.

    Raises:
        StoreUnavailableError: It cannot be reached or read.
        UnknownSchemaError: A newer mintmark has upgraded it, or none has made it what this one needs.
    """
    async with _transaction(url, password, _READ) as connection:
        found, latest = await schema_of(connection), len(migrations("postgresql"))
        require_known(found, latest, remedy=REMEDY)
        require_whole(found, latest)
        yield _Source(connection)


@asynccontextmanager
async def writing(url: str, *, password: str | None = None) -> AsyncIterator[Target]:
    """Open a database that has the schema and nothing else; what was added is committed at the end, without an error.

    Raises:
        AlreadyExistsError: The same is there twice, or somebody else is writing and does not stop.
        NotEmptyError: It has content.
        StoreUnavailableError: It cannot be reached or written, or nobody knows whether all was committed.
    """
    async with _transaction(url, password, _WRITE) as connection:
        await _be_alone(connection)
        held = [table.name for table in TABLES if await connection.rows(table.first)]
        if held:
            raise NotEmptyError(held)
        yield _Target(connection)
        await connection.execute(_COUNT)
        await connection.commit()


async def _be_alone(connection: Connection) -> None:
    """Have everybody else who writes wait, so that what was found empty is empty until the end."""
    try:
        await connection.run(_ALONE)
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
        raise AlreadyExistsError(f"its tables stay in use ({errors.said(error)})") from error


@asynccontextmanager
async def _transaction(url: str, password: str | None, begin: str) -> AsyncIterator[Connection]:
    """Connect and begin; what is not committed when the connection ends is undone."""
    try:
        connection = await Dialer(Address.of(url, password), needs_writes=begin == _WRITE).dial()
        try:
            await connection.run(begin)
            await connection.run(_NO_HURRY)
            yield connection
        finally:
            await connection.close()
    except errors.FAILURES as error:
        errors.tell(error)
