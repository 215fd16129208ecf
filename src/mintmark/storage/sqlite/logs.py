"""What is only ever appended: revocations and the audit log."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from mintmark.authority.model import AuditEvent
from mintmark.oauth.revocations import Revocation
from mintmark.storage import rows, statements
from mintmark.storage.sqlite.readers import Readers
from mintmark.storage.sqlite.writer import GroupWriter

_APPEND: Final = f"""
    INSERT INTO revocations ("cursor", kind, value, before, expires_at)
    SELECT coalesce(max(seq), 0) + 1 + abs(random() % {statements.CURSOR_STEP}), ?1, ?2, ?3, ?4
    FROM sqlite_sequence WHERE name = 'revocations'
"""  # noqa: S608 - put together from constants


class SQLiteRevocations:
    """The short list in SQLite. One transaction writes at a time, so no entry appears below a cursor already read."""

    def __init__(self, readers: Readers, writer: GroupWriter) -> None:
        self._readers = readers
        self._writer = writer

    async def add(self, revocation: Revocation, audit: AuditEvent) -> None:
        """Append one entry, and the event with it."""
        event = rows.audit_to_row(audit)

        def act(connection: sqlite3.Connection) -> None:
            append(connection, [revocation])
            connection.execute(statements.AUDIT_ADD, event)

        await self._writer.run(act)

    async def after(self, cursor: int, limit: int) -> list[Revocation]:
        """Return at most ``limit`` entries with a higher cursor, in order."""
        return await self._readers.every(statements.REVOCATIONS_AFTER, (cursor, limit), rows.revocation_from_row)


def append(connection: sqlite3.Connection, revocations: Sequence[Revocation]) -> None:
    """Append entries, in the transaction under way."""
    connection.executemany(_APPEND, map(rows.revocation_to_row, revocations))


class SQLiteAudit:
    """The audit log in SQLite."""

    def __init__(self, readers: Readers, writer: GroupWriter) -> None:
        self._readers = readers
        self._writer = writer

    async def record(self, event: AuditEvent) -> None:
        """Append an event that goes with no other change."""
        row = rows.audit_to_row(event)
        await self._writer.execute(statements.AUDIT_ADD, row)

    async def latest(self, limit: int, *, subject: str | None = None, gid: str | None = None) -> list[AuditEvent]:
        """Return the newest events first."""
        text, parameters = statements.audit_latest(limit, subject, gid)
        return await self._readers.every(text, parameters, rows.audit_from_row)
