"""Who does the work that must be done once."""

import sqlite3

from mintmark.authority.ports import Lease
from mintmark.storage import rows, rules, statements
from mintmark.storage.sqlite.readers import Readers
from mintmark.storage.sqlite.writer import GroupWriter


class SQLiteLeases:
    """Leases in SQLite."""

    def __init__(self, readers: Readers, writer: GroupWriter) -> None:
        self._readers = readers
        self._writer = writer

    async def get(self, name: str) -> Lease | None:
        """Return the lease as it stands."""
        return self._readers.first(statements.LEASE_GET, (name,), rows.lease_from_row)

    async def put(self, expected: Lease | None, lease: Lease) -> bool:
        """Put ``lease`` in the place of ``expected`` (``None``: there is none); tell whether it was.

        Raises:
            ValueError: They are leases of different works.
        """
        rules.require_same_lease(expected, lease)
        if expected is None:
            return await self._writer.execute(statements.LEASE_ADD, rows.lease_to_row(lease)) == 1
        row = rows.lease_change_to_row(expected, lease)
        return await self._writer.execute(statements.LEASE_PUT, row) == 1


def require_held(connection: sqlite3.Connection, lease: Lease | None) -> None:
    """Let a transaction go on only if ``lease``, if there is one, is still held.

    Raises:
        SupersededError: Somebody else holds it by now.
    """
    if lease is not None and connection.execute(statements.LEASE_HOLD, rows.lease_hold_to_row(lease)).rowcount != 1:
        raise rules.superseded(lease)
