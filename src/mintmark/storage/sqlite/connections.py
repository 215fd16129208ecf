"""Connections to one SQLite file, and what their errors mean."""

import sqlite3
from pathlib import Path
from typing import Final

from mintmark.authority.ports import AlreadyExistsError, StoreUnavailableError

_NAME_TAKEN: Final = frozenset(
    {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID}
)
# Mistakes of the programmer, never of the day: hiding them as an outage would have clients retry for ever.
_OUR_FAULT: Final = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError, sqlite3.NotSupportedError)

STATEMENT_CACHE: Final = 256  # statements kept prepared for each connection; there are about 60


def translate(error: sqlite3.Error) -> Exception:
    """Return what the ports promise for ``error``; a mistake of ours comes back as it is."""
    if isinstance(error, sqlite3.IntegrityError) and error.sqlite_errorcode in _NAME_TAKEN:
        return AlreadyExistsError(str(error))
    if isinstance(error, _OUR_FAULT):
        return error
    return StoreUnavailableError(f"SQLite: {error}")


def connect(path: Path, *, busy_timeout: float) -> sqlite3.Connection:
    """Open a connection in autocommit mode that any thread may use, one at a time.

    Args:
        path: The database file.
        busy_timeout: Seconds to wait for a lock that another connection or process holds.

    Raises:
        sqlite3.Error: The file cannot be opened.
    """
    return sqlite3.connect(
        path,
        timeout=busy_timeout,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=STATEMENT_CACHE,
    )


def connect_reader(path: Path, *, busy_timeout: float) -> sqlite3.Connection:
    """Open a connection that cannot write.

    Raises:
        sqlite3.Error: The file cannot be opened.
    """
    connection = connect(path, busy_timeout=busy_timeout)
    connection.execute("PRAGMA query_only = ON")
    return connection


def connect_writer(path: Path, *, busy_timeout: float) -> sqlite3.Connection:
    """Open a connection whose commits are on the disk when they return.

    Raises:
        sqlite3.Error: The file cannot be opened, or another connection is changing its journal mode.
    """
    is_new = not path.exists()
    connection = connect(path, busy_timeout=busy_timeout)
    try:
        if is_new:
            # For the owner only, and the log beside it likewise. Not by opening the file ourselves: closing it would
            # drop the locks that this process holds through other connections (POSIX).
            path.chmod(0o600)
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL: the log is synced before each commit returns. WAL alone would lose the last commits with the power.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {64 * 1024 * 1024}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
