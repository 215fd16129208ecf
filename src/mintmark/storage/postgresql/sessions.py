"""Browser sessions and remembered consent: what a person has open."""

from typing import Final

from mintmark.authority.model import AuditEvent, Consent, Session, User
from mintmark.storage import rows, rules, statements
from mintmark.storage.postgresql.connections import Connection
from mintmark.storage.postgresql.database import Database

_USER: Final = rows.Codec(User)
_USER_HELD: Final = f"{statements.USERS.get} FOR SHARE"
"""Who changes the account waits for our end, or we see what it became."""


class PostgreSQLSessions:
    """Browser sessions in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, digest: bytes) -> Session | None:
        """Return the session whose cookie has that digest, expired or not; an ended one is gone."""
        return await self._database.first(statements.SESSION_GET, (digest,), rows.session_from_row)

    async def of(self, subject: str) -> list[Session]:
        """Return the sessions of a person, newest first."""
        return await self._database.every(statements.SESSIONS_OF, (subject,), rows.session_from_row)

    async def add(
        self, session: Session, *, replaces: bytes | None, if_user: User | None = None, audit: AuditEvent
    ) -> bool:
        """Store a new session and remove the one it replaces, together; with ``if_user``, only while it is unchanged.

        Raises:
            AlreadyExistsError: Another session has that digest or sid.
        """
        row, event = rows.session_to_row(session), rows.audit_to_row(audit)

        async def act(connection: Connection) -> bool:
            if if_user is not None:
                found = await connection.rows(_USER_HELD, (if_user.subject,))
                if not rules.is_same_proof(_USER.decode(found[0][0]) if found else None, if_user):
                    return False
            if replaces is not None:
                await connection.execute(statements.SESSION_REMOVE, (replaces,))
            await connection.execute(statements.SESSION_ADD, row)
            await connection.execute(statements.AUDIT_ADD, event)
            return True

        return await self._database.run(act)

    async def touch(self, digest: bytes, idle_expires_at: int) -> None:
        """Move its idle limit."""
        await self._database.execute(statements.SESSION_TOUCH, (digest, idle_expires_at))

    async def end(self, *, sid: str | None = None, subject: str | None = None, audit: AuditEvent) -> int:
        """Remove the session ``sid``, or all of ``subject``; return how many. The event is written if there were any.

        Raises:
            ValueError: Neither is given.
        """
        rules.require_selective(sid=sid, subject=subject)
        by_both, by_sid, by_subject = (
            statements.SESSION_END_BY_BOTH,
            statements.SESSION_END_BY_SID,
            statements.SESSION_END_BY_SUBJECT,
        )
        text = by_subject if sid is None else by_sid if subject is None else by_both
        parameters = tuple(value for value in (sid, subject) if value is not None)
        event = rows.audit_to_row(audit)

        async def act(connection: Connection) -> int:
            count = await connection.execute(text, parameters)
            if count:
                await connection.execute(statements.AUDIT_ADD, event)
            return count

        return await self._database.run(act)


class PostgreSQLConsents:
    """Remembered consent in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, subject: str, client_id: str) -> Consent | None:
        """Return what the person allowed the client."""
        return await self._database.first(statements.CONSENT_GET, (subject, client_id), rows.consent_from_row)

    async def of(self, subject: str) -> list[Consent]:
        """Return all of a person, by client."""
        return await self._database.every(statements.CONSENTS_OF, (subject,), rows.consent_from_row)

    async def put(self, consent: Consent, audit: AuditEvent) -> None:
        """Remember; replaces what was there."""
        row, event = rows.consent_to_row(consent), rows.audit_to_row(audit)

        async def act(connection: Connection) -> None:
            await connection.execute(statements.CONSENT_PUT, row)
            await connection.execute(statements.AUDIT_ADD, event)

        await self._database.run(act)

    async def remove(self, subject: str, client_id: str, audit: AuditEvent) -> bool:
        """Forget; tell whether there was one. The event is written if there was."""
        event = rows.audit_to_row(audit)

        async def act(connection: Connection) -> bool:
            if await connection.execute(statements.CONSENT_REMOVE, (subject, client_id)) != 1:
                return False
            await connection.execute(statements.AUDIT_ADD, event)
            return True

        return await self._database.run(act)
