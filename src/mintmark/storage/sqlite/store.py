"""The store in one SQLite file. Another process (the command line) may use the same file at the same time."""

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Final, Self

from mintmark.authority.model import Client, Resource, Role, User
from mintmark.authority.ports import Lease, StoreUnavailableError
from mintmark.storage import rules, schema, statements
from mintmark.storage.rows import Codec
from mintmark.storage.sqlite.connections import connect_writer
from mintmark.storage.sqlite.directories import SQLiteDirectory, SQLiteUsers
from mintmark.storage.sqlite.grants import SQLiteGrants
from mintmark.storage.sqlite.keys import SQLiteKeys
from mintmark.storage.sqlite.leases import SQLiteLeases, require_held
from mintmark.storage.sqlite.logs import SQLiteAudit, SQLiteRevocations
from mintmark.storage.sqlite.migrations import REMEDY, migrate
from mintmark.storage.sqlite.readers import Readers
from mintmark.storage.sqlite.sessions import SQLiteConsents, SQLiteSessions
from mintmark.storage.sqlite.writer import GroupWriter

READ_BUSY_TIMEOUT: Final = 0.25  # seconds; a read may run on the event loop, so it must not wait as a write may
_OPENING_PAUSE: Final = 0.02  # seconds between attempts to open a file that others are creating


class SQLiteStore:
    """Everything that is kept, in one file. Made by ``open``.

    Args:
        readers: Read connections.
        writer: The writer; both are closed with the store.
        latest: The newest schema that the code knows.
    """

    def __init__(self, readers: Readers, writer: GroupWriter, *, latest: int) -> None:
        self._readers = readers
        self._writer = writer
        self._latest = latest
        self.clients = SQLiteDirectory(
            readers, writer, Codec(Client), statements.CLIENTS, lambda client: (client.client_id,)
        )
        self.resources = SQLiteDirectory(
            readers, writer, Codec(Resource), statements.RESOURCES, lambda resource: (resource.resource,)
        )
        self.roles = SQLiteDirectory(readers, writer, Codec(Role), statements.ROLES, lambda role: (role.name,))
        self.users = SQLiteUsers(
            readers, writer, Codec(User), statements.USERS, lambda user: (user.subject, rules.email_key(user.email))
        )
        self.grants = SQLiteGrants(readers, writer)
        self.sessions = SQLiteSessions(readers, writer)
        self.consents = SQLiteConsents(readers, writer)
        self.keys = SQLiteKeys(readers, writer)
        self.revocations = SQLiteRevocations(readers, writer)
        self.leases = SQLiteLeases(readers, writer)
        self.audit = SQLiteAudit(readers, writer)

    @classmethod
    def open(cls, path: Path, *, now: int, busy_timeout: float = 5.0, reader_threads: int = 2) -> Self:
        """Open the file, made if it is missing (readable by its owner only), and bring its schema up to date.

        Blocks while it does. Several processes may do this at a time.

        Args:
            path: The database file; its directory exists.
            now: Unix time, for the record of the migrations applied.
            busy_timeout: Seconds a write waits for another process.
            reader_threads: How many long reads run at a time.

        Raises:
            StoreUnavailableError: The file cannot be opened or is no database.
            UnknownSchemaError: A newer mintmark has upgraded it.
        """
        steps = schema.migrations("sqlite")
        connection: sqlite3.Connection | None = None
        try:
            connection = _open_writer(path, busy_timeout)
            migrate(connection, steps, now=now)
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise StoreUnavailableError(f"cannot open {path}: {error}") from error
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        readers = Readers(path, threads=reader_threads, busy_timeout=min(READ_BUSY_TIMEOUT, busy_timeout))
        return cls(readers, GroupWriter(connection), latest=len(steps))

    async def sweep(self, now: int, limit: int, lease: Lease | None = None) -> dict[str, int]:
        """Delete at most ``limit`` rows of each kind that nothing needs any more; return how many of each.

        A grant whose idle limit a step has shortened may stay until the earlier limit.

        Raises:
            SupersededError: ``lease`` is held by somebody else by now.
        """

        def act(connection: sqlite3.Connection) -> dict[str, int]:
            require_held(connection, lease)
            return {kind: connection.execute(text, (now, limit)).rowcount for kind, text in statements.SWEEPS.items()}

        return await self._writer.run(act)

    async def check(self) -> None:
        """Raise ``StoreUnavailableError`` unless the store answers and its schema is the one expected."""
        found = self._readers.first(statements.SCHEMA, (), lambda row: schema.Schema(*row))
        schema.require_known(found or schema.NOTHING, self._latest, remedy=REMEDY)

    async def close(self) -> None:
        """Finish what is under way and let go of everything."""
        await asyncio.sleep(0)  # what this turn of the loop submitted is handed over at its end
        # In a thread: the last commit may wait for another process, and the loop has others to serve.
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self._readers.close)


def _open_writer(path: Path, busy_timeout: float) -> sqlite3.Connection:
    """Open the writing connection, patiently: SQLite does not wait for whoever else turns the file into WAL mode."""
    for _ in range(int(busy_timeout / _OPENING_PAUSE)):
        try:
            return connect_writer(path, busy_timeout=busy_timeout)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            time.sleep(_OPENING_PAUSE)
    return connect_writer(path, busy_timeout=busy_timeout)
