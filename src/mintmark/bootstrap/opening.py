"""The store that the settings name."""

from pathlib import Path

from mintmark.authority.ports import Clock, Store
from mintmark.config import Settings
from mintmark.config.settings import MEMORY
from mintmark.storage.memory import MemoryStore
from mintmark.storage.sqlite import SQLiteStore


async def open_store(settings: Settings, clock: Clock) -> Store:
    """Open the database that ``settings`` name.

    Raises:
        StoreUnavailableError: It cannot be opened, or its schema is newer than this version knows.
    """
    if settings.database == MEMORY:
        return MemoryStore()
    return SQLiteStore.open(Path(settings.database), now=clock.now())
