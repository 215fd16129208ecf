"""What is only ever appended: revocations and the audit log."""

from collections.abc import Sequence
from typing import Final

from mintmark.authority.model import AuditEvent
from mintmark.oauth.revocations import Revocation
from mintmark.storage import rows, statements
from mintmark.storage.postgresql.connections import Connection
from mintmark.storage.postgresql.database import Database

_APPEND: Final = f"""
    WITH taken AS (
      UPDATE counters SET value = value + CAST(?1 AS BIGINT) + CAST(floor(random() * {statements.CURSOR_STEP}) AS BIGINT)
      WHERE name = 'revocations' RETURNING value
    )
    INSERT INTO revocations ("cursor", kind, value, before, expires_at)
    SELECT taken.value - ?1 + entry.number, entry.kind, entry.value, entry.before, entry.expires_at
    FROM taken, unnest(CAST(?2 AS TEXT[]), CAST(?3 AS TEXT[]), CAST(?4 AS BIGINT[]), CAST(?5 AS BIGINT[]))
      WITH ORDINALITY AS entry (kind, value, before, expires_at, number)
"""  # noqa: S608 - put together from constants
"""How many (1), and their columns (2 to 5)."""


class PostgreSQLRevocations:
    """The short list in PostgreSQL, in the order in which it was committed (ADR 0024).

    Args:
        database: For those who revoke.
        hearing: For those who follow. No request waits for them, and they wait for none.
    """

    def __init__(self, database: Database, hearing: Database) -> None:
        self._database = database
        self._hearing = hearing

    async def add(self, revocation: Revocation, audit: AuditEvent) -> None:
        """Append one entry, and the event with it."""
        event = rows.audit_to_row(audit)

        async def act(connection: Connection) -> None:
            await connection.execute(statements.AUDIT_ADD, event)
            await append(connection, [revocation])

        await self._database.run(act)

    async def after(self, cursor: int, limit: int) -> list[Revocation]:
        """Return at most ``limit`` entries with a higher cursor, in order."""
        return await self._hearing.every(statements.REVOCATIONS_AFTER, (cursor, limit), rows.revocation_from_row)


async def append(connection: Connection, revocations: Sequence[Revocation]) -> None:
    """Append entries. The last statement of its transaction: from here on, others that revoke wait for its end.

    Raises:
        RuntimeError: Not all were: the counter is missing.
    """
    if not revocations:
        return
    columns = zip(*map(rows.revocation_to_row, revocations), strict=True)
    touched = await connection.execute(_APPEND, (len(revocations), *map(list, columns)))
    if touched != len(revocations):
        raise RuntimeError(f"{touched} of {len(revocations)} revocations were appended")


class PostgreSQLAudit:
    """The audit log in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, event: AuditEvent) -> None:
        """Append an event that goes with no other change."""
        await self._database.execute(statements.AUDIT_ADD, rows.audit_to_row(event))

    async def latest(self, limit: int, *, subject: str | None = None, gid: str | None = None) -> list[AuditEvent]:
        """Return the newest events first."""
        text, parameters = statements.audit_latest(limit, subject, gid)
        return await self._database.every(text, parameters, rows.audit_from_row)
