"""Brings the schema of a database to what the code expects, when ``mintmark migrate`` says so (ADR 0023).

1. A step begins by writing down that it was taken: whoever takes it at the same time waits for that row, and then finds
   it done. No lock of the server's own kind is needed.
2. A step waits for a table only for a moment, since everybody else waits behind it; then it lets them pass and is taken
   again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from mintmark.storage import schema, statements
from mintmark.storage.postgresql import errors
from mintmark.storage.postgresql.connections import Connection
from mintmark.storage.postgresql.dialing import Address, Dialer
from mintmark.storage.schema import Migration, Schema, UnknownSchemaError

REMEDY: Final = "Run `mintmark migrate` with these settings once; nodes that run meanwhile go on."

_FOREIGN: Final = "it holds tables of something else. Give mintmark a database of its own"

LOCK_SECONDS: Final = 2
"""How long a step waits for a table."""
TRIES: Final = 30
"""How often it does."""
_PAUSE: Final = 1.0

_HISTORY: Final = """
    CREATE TABLE IF NOT EXISTS schema_version (
      version INTEGER NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL, works_with INTEGER NOT NULL
    )
"""
_PATIENCE: Final = f"SET LOCAL lock_timeout = {LOCK_SECONDS * 1000}; SET LOCAL statement_timeout = 0"
_APPLIED: Final = "INSERT INTO schema_version (version, applied_at, works_with) VALUES (?1, ?2, ?3)"


async def migrate(
    url: str,
    *,
    password: str | None = None,
    now: int,
    steps: Sequence[Migration] | None = None,
    progress: Callable[[Migration], None] = lambda _: None,
) -> Schema:
    """Apply what is missing; return the schema reached. Several nodes may do so at a time.

    Args:
        url: Of the database, as ``PostgreSQLStore.open`` takes it; the user owns the tables.
        password: Of that user.
        now: Unix time, for the record of when each was applied.
        steps: All migrations, in order, where they are not those of this version.
        progress: Hears of each that was applied by us.

    Raises:
        StoreUnavailableError: The database cannot be reached or changed. The steps taken stay, others left nothing.
        UnknownSchemaError: The database is newer than ``steps``, and needs newer code; or it is not ours.
    """
    known = schema.migrations("postgresql") if steps is None else steps
    async with _connected(url, password) as connection:
        await _keep_history(connection)
        for step in known:
            if (await schema_of(connection)).version < step.version and await _patiently(connection, step, now):
                progress(step)
        found = await schema_of(connection)
    schema.require_known(found, len(known), remedy=REMEDY)
    return found


async def pending(url: str, *, password: str | None = None) -> tuple[Schema, list[Migration]]:
    """Return the schema of a database, and what ``migrate`` would apply. Changes nothing.

    Raises:
        StoreUnavailableError: The database cannot be reached.
        UnknownSchemaError: The database is newer than this code, and needs newer code; or it is not ours.
    """
    known = schema.migrations("postgresql")
    async with _connected(url, password, needs_writes=False) as connection:
        found = await schema_of(connection)
    missing = schema.missing(known, found)
    if not missing:
        schema.require_known(found, len(known), remedy=REMEDY)
    return found, missing


async def schema_of(connection: Connection) -> Schema:
    """Return the schema of the database.

    Raises:
        UnknownSchemaError: The table that says so is not ours: some tools for migrations have one of that name.
    """
    try:
        found = await connection.rows(statements.SCHEMA)
    except asyncpg.UndefinedTableError:
        return schema.NOTHING
    except (asyncpg.UndefinedColumnError, asyncpg.DatatypeMismatchError) as error:
        raise UnknownSchemaError(f"{_FOREIGN} (a table schema_version that is not mintmark's)") from error
    return Schema(*found[0]) if found else schema.NOTHING


@asynccontextmanager
async def _connected(url: str, password: str | None, *, needs_writes: bool = True) -> AsyncIterator[Connection]:
    try:
        connection = await Dialer(Address.of(url, password), needs_writes=needs_writes).dial()
        try:
            yield connection
        finally:
            await connection.close()
    except errors.FAILURES as error:
        errors.tell(error)


async def _keep_history(connection: Connection) -> None:
    try:
        await connection.run(_HISTORY)
    except (asyncpg.UniqueViolationError, asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError):
        return  # another node made it at the same moment; which of them is said depends on how close the two are


async def _patiently(connection: Connection, step: Migration, now: int) -> bool:
    """Take a step, again and again while others hold its tables; tell whether it was us who took it."""
    for _ in range(TRIES - 1):
        try:
            return await _apply(connection, step, now)
        except asyncpg.LockNotAvailableError:
            await asyncio.sleep(_PAUSE)
    return await _apply(connection, step, now)


async def _apply(connection: Connection, step: Migration, now: int) -> bool:
    await connection.begin()
    try:
        await connection.run(_PATIENCE)
        try:
            await connection.execute(_APPLIED, (step.version, now, step.works_with))
        except asyncpg.UniqueViolationError:
            await connection.roll_back()
            return False
        await _take(connection, step)
    except Exception:
        await connection.roll_back()
        raise
    await connection.commit()
    return True


async def _take(connection: Connection, step: Migration) -> None:
    try:
        await connection.run(step.script)
    except asyncpg.DuplicateTableError as error:
        if step.version > 1:
            raise
        raise UnknownSchemaError(f"{_FOREIGN} ({errors.said(error)})") from error
