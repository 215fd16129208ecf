"""The embedded store: one SQLite file in WAL mode, one writer thread with group commit, readers beside it."""

from mintmark.storage.schema import UnknownSchemaError
from mintmark.storage.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore", "UnknownSchemaError"]
