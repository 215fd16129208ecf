"""Who does the work that must be done once."""

from mintmark.authority.ports import Lease
from mintmark.storage import rows, rules, statements
from mintmark.storage.postgresql.connections import Connection
from mintmark.storage.postgresql.database import Database


class PostgreSQLLeases:
    """Leases in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> Lease | None:
        """Return the lease as it stands."""
        return await self._database.first(statements.LEASE_GET, (name,), rows.lease_from_row)

    async def put(self, expected: Lease | None, lease: Lease) -> bool:
        """Put ``lease`` in the place of ``expected`` (``None``: there is none); tell whether it was.

        Raises:
            ValueError: They are leases of different works.
        """
        rules.require_same_lease(expected, lease)
        if expected is None:
            return await self._database.execute(statements.LEASE_ADD, rows.lease_to_row(lease)) == 1
        row = rows.lease_change_to_row(expected, lease)
        return await self._database.execute(statements.LEASE_PUT, row) == 1


async def require_held(connection: Connection, lease: Lease | None) -> None:
    """Let a transaction go on only if ``lease``, if there is one, is still held; nobody takes it until its end.

    Raises:
        SupersededError: Somebody else holds it by now.
    """
    if lease is None:
        return
    if await connection.execute(statements.LEASE_HOLD, rows.lease_hold_to_row(lease)) != 1:
        raise rules.superseded(lease)
