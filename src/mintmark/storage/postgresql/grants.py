"""Authorization grants: one row each, from the code until the last refresh token."""

from typing import Final

from mintmark.authority.model import AuditEvent, Grant
from mintmark.authority.ports import Advance, GrantSelector
from mintmark.jose import base64url
from mintmark.storage import rows, rules, statements
from mintmark.storage.postgresql.connections import Connection
from mintmark.storage.postgresql.database import Database
from mintmark.storage.postgresql.logs import append

_BY_SUBJECT: Final = "right(subject, 7) = right({0}, 7) AND subject = {0}"
"""As the index ``grants_by_subject`` has it."""
_SESSION_HELD: Final = f"{statements.SESSION_IS_THERE} FOR KEY SHARE"
"""Who ends the session waits for our end, or we see that it is gone."""


class PostgreSQLGrants:
    """Grants in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, grant_id: bytes) -> Grant | None:
        """Return the grant, ended or not."""
        return await self._database.first(statements.GRANT_GET, (grant_id,), rows.grant_from_row)

    async def live(self, selector: GrantSelector, now: int) -> list[Grant]:
        """Return the grants selected that have neither ended nor expired, oldest first.

        Raises:
            ValueError: The selector has no member set.
        """
        rules.require_selector(selector)
        text, parameters = statements.grants_live(selector, now, _BY_SUBJECT)
        return await self._database.every(text, parameters, rows.grant_from_row)

    async def add(self, grant: Grant, audit: AuditEvent, *, if_session: str | None = None) -> bool:
        """Store a new grant, and the event with it; with ``if_session``, only while that session is there.

        Raises:
            AlreadyExistsError: There is one with that id.
        """
        row, event = rows.grant_to_row(grant), rows.audit_to_row(audit)

        async def act(connection: Connection) -> bool:
            if if_session is not None and not await connection.rows(_SESSION_HELD, (if_session,)):
                return False
            await connection.execute(statements.GRANT_ADD, row)
            await connection.execute(statements.AUDIT_ADD, event)
            return True

        return await self._database.run(act)

    async def advance(self, step: Advance) -> bool:
        """Take ``step`` by compare-and-set; tell whether it was taken. Nothing is written if not.

        Raises:
            ValueError: The step leads back.
        """
        rules.require_forward(step)
        row = rows.advance_to_row(step)
        if step.audit is None:
            return await self._database.execute(statements.GRANT_ADVANCE, row) == 1
        event = rows.audit_to_row(step.audit)

        async def act(connection: Connection) -> bool:
            if await connection.execute(statements.GRANT_ADVANCE, row) != 1:
                return False
            await connection.execute(statements.AUDIT_ADD, event)
            return True

        return await self._database.run(act)

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

        An entry is forgotten at the grant's ``access_expires_at`` or at ``revoke_until``, whichever is later. Grants
        whose scope has ``keep_scope`` are spared. Returns how many ended now; the event (with that ``count`` in its
        detail) is written even if none did.

        Raises:
            ValueError: The selector has no member set.
        """
        rules.require_selector(selector)
        text, parameters = statements.grants_to_end(selector, _BY_SUBJECT)
        # A step under way is waited for, and what it issued is seen; one that comes later finds the grant ended. Locked
        # in one order, so that two who end the same grants do not wait for each other.
        held = f"{text} ORDER BY id FOR UPDATE"

        async def act(connection: Connection) -> int:
            ending = [
                (grant_id, max(access_expires_at, revoke_until))
                for grant_id, access_expires_at, authorization in await connection.rows(held, parameters)
                if keep_scope is None or keep_scope not in rows.scope_of(authorization)
            ]
            revocations = [
                rules.revocation_of(base64url.encode(grant), expiry) for grant, expiry in ending if expiry > at
            ]
            await connection.execute_all(statements.GRANT_END, [(grant, at, reason) for grant, _ in ending])
            await connection.execute(statements.AUDIT_ADD, rows.audit_to_row(rules.counted(audit, len(ending))))
            await append(connection, revocations)
            return len(ending)

        return await self._database.run(act)
