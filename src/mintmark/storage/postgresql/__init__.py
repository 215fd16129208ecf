"""The store of many nodes: one PostgreSQL database that all of them use. Plain SQL, no extension, no session state."""

from mintmark.storage.postgresql.migrations import migrate, pending
from mintmark.storage.postgresql.store import PostgreSQLStore

__all__ = ["PostgreSQLStore", "migrate", "pending"]
