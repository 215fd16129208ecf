"""The store that the settings name."""

from mintmark.authority.ports import Clock, Store
from mintmark.config import Settings
from mintmark.config.settings import MEMORY
from mintmark.storage.memory import MemoryStore
from mintmark.storage.sqlite import SQLiteStore


async def open_store(settings: Settings, clock: Clock) -> Store:
    """Open the database that ``settings`` name.

    A SQLite file is made and upgraded where that is needed; what PostgreSQL has must be right already.

    Raises:
        StoreUnavailableError: It cannot be opened.
        UnknownSchemaError: Its schema is not one that this version works with.
    """
    if settings.database == MEMORY:
        return MemoryStore()
    if settings.database_file is not None:
        return SQLiteStore.open(settings.database_file, now=clock.now())
    from mintmark.storage.postgresql import PostgreSQLStore  # noqa: PLC0415 - an extra that few need

    password = settings.database_password
    return await PostgreSQLStore.open(
        settings.database,
        password=None if password is None else password.get_secret_value(),
        connections=settings.database_connections,
    )
