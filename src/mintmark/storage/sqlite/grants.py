"""Authorization grants: one row each, from the code until the last refresh token."""

import sqlite3

from mintmark.authority.model import AuditEvent, Grant
from mintmark.authority.ports import Advance, GrantSelector
from mintmark.jose import base64url
from mintmark.storage import rows, rules, statements
from mintmark.storage.sqlite.logs import append
from mintmark.storage.sqlite.readers import Readers
from mintmark.storage.sqlite.writer import GroupWriter


class SQLiteGrants:
    """Grants in SQLite."""

    def __init__(self, readers: Readers, writer: GroupWriter) -> None:
        self._readers = readers
        self._writer = writer

    async def get(self, grant_id: bytes) -> Grant | None:
        """Return the grant, ended or not."""
        return self._readers.first(statements.GRANT_GET, (grant_id,), rows.grant_from_row)

    async def live(self, selector: GrantSelector, now: int) -> list[Grant]:
        """Return the grants selected that have neither ended nor expired, oldest first.

        Raises:
            ValueError: The selector has no member set.
        """
        rules.require_selector(selector)
        text, parameters = statements.grants_live(selector, now)
        return await self._readers.every(text, parameters, rows.grant_from_row)

    async def add(self, grant: Grant, audit: AuditEvent, *, if_session: str | None = None) -> bool:
        """Store a new grant, and the event with it; with ``if_session``, only while that session is there.

        Raises:
            AlreadyExistsError: There is one with that id.
        """
        row, event = rows.grant_to_row(grant), rows.audit_to_row(audit)

        def act(connection: sqlite3.Connection) -> bool:
            if (
                if_session is not None
                and connection.execute(statements.SESSION_IS_THERE, (if_session,)).fetchone() is None
            ):
                return False
            connection.execute(statements.GRANT_ADD, row)
            connection.execute(statements.AUDIT_ADD, event)
            return True

        return await self._writer.run(act)

    async def advance(self, step: Advance) -> bool:
        """Take ``step`` by compare-and-set; tell whether it was taken. Nothing is written if not.

        Raises:
            ValueError: The step leads back.
        """
        rules.require_forward(step)
        row = rows.advance_to_row(step)
        if step.audit is None:
            return await self._writer.execute(statements.GRANT_ADVANCE, row) == 1
        event = rows.audit_to_row(step.audit)

        def act(connection: sqlite3.Connection) -> bool:
            if connection.execute(statements.GRANT_ADVANCE, row).rowcount != 1:
                return False
            connection.execute(statements.AUDIT_ADD, event)
            return True

        return await self._writer.run(act)

    async def end(
        self,
        selector: GrantSelector,
        *,
        reason: str,
        at: int,
        revoke_until: int = 0,
        keep_scope: str | None = None,
        audit: AuditEvent,
    ) -> int:
        """End the selected grants, revoke their live access tokens (one ``gid`` entry each) and audit, all or nothing.

        An entry is forgotten at the grant's ``access_expires_at`` or at ``revoke_until``, whichever is later. Grants whose scope has ``keep_scope`` are spared. Returns how many ended now; the event (with that ``count``
        in its detail) is written even if none did.

        Raises:
            ValueError: The selector has no member set.
        """
        rules.require_selector(selector)
        text, parameters = statements.grants_to_end(selector)

        def act(connection: sqlite3.Connection) -> int:
            ending = [
                (grant_id, max(access_expires_at, revoke_until))
                for grant_id, access_expires_at, authorization in connection.execute(text, parameters).fetchall()
                if keep_scope is None or keep_scope not in rows.scope_of(authorization)
            ]
            revocations = [
                rules.revocation_of(base64url.encode(grant), expiry) for grant, expiry in ending if expiry > at
            ]
            connection.executemany(statements.GRANT_END, [(grant, at, reason) for grant, _ in ending])
            append(connection, revocations)
            connection.execute(statements.AUDIT_ADD, rows.audit_to_row(rules.counted(audit, len(ending))))
            return len(ending)

        return await self._writer.run(act)
