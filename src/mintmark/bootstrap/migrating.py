"""The schema of the database that the settings name, brought up to date."""

import sqlite3
from collections.abc import Callable

from mintmark.authority.ports import Clock, StoreUnavailableError
from mintmark.config import Settings
from mintmark.storage import schema
from mintmark.storage.schema import Migration, Schema
from mintmark.storage.sqlite import SQLiteStore
from mintmark.storage.sqlite.connections import connect_reader
from mintmark.storage.sqlite.migrations import REMEDY, schema_of

_BUSY_TIMEOUT = 5.0  # seconds


async def pending(settings: Settings) -> tuple[Schema, list[Migration]]:
    """Return the schema of the database, and the migrations it lacks. Changes nothing.

    Raises:
        StoreUnavailableError: It cannot be read.
        UnknownSchemaError: It is newer than this version works with.
    """
    if settings.database_file is None:
        from mintmark.storage import postgresql  # noqa: PLC0415 - an extra that few need

        return await postgresql.pending(settings.database, password=_password(settings))
    known = schema.migrations("sqlite")
    try:
        connection = connect_reader(settings.database_file, busy_timeout=_BUSY_TIMEOUT)
        try:
            found = schema_of(connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreUnavailableError(f"SQLite: {error}") from error
    missing = schema.missing(known, found)
    if not missing:
        schema.require_known(found, len(known), remedy=REMEDY)
    return found, missing


async def migrate(settings: Settings, clock: Clock, progress: Callable[[Migration], None]) -> Schema:
    """Apply the migrations that the database lacks; return the schema it has then.

    Args:
        settings: Name the database.
        clock: For the record of when each was applied.
        progress: Hears of each that was applied.

    Raises:
        StoreUnavailableError: It cannot be changed. The migrations applied stay; another one left nothing behind.
        UnknownSchemaError: It is newer than this version works with.
    """
    if settings.database_file is None:
        from mintmark.storage import postgresql  # noqa: PLC0415

        return await postgresql.migrate(
            settings.database, password=_password(settings), now=clock.now(), progress=progress
        )
    _, missing = await pending(settings)
    store = SQLiteStore.open(settings.database_file, now=clock.now())  # upgrades what it opens
    await store.close()
    for each in missing:
        progress(each)
    return (await pending(settings))[0]


def _password(settings: Settings) -> str | None:
    return None if settings.database_password is None else settings.database_password.get_secret_value()
