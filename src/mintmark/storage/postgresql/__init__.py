"""The store of many nodes: one PostgreSQL database that all of them use. Plain SQL, no extension, no session state."""

from mintmark.authority.ports import StoreUnavailableError

try:
    import asyncpg as _asyncpg  # noqa: F401 - an extra that few need: here it is missed first
except ModuleNotFoundError as error:
    raise StoreUnavailableError("PostgreSQL needs a package: install mintmark with the extra `postgres`") from error

from mintmark.storage.postgresql.migrations import migrate, pending
from mintmark.storage.postgresql.store import PostgreSQLStore

__all__ = ["PostgreSQLStore", "migrate", "pending"]
