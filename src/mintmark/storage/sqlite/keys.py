"""Signing keys and server secrets; private parts arrive and leave encrypted under the master key."""

import sqlite3
from collections.abc import Sequence

from mintmark.authority.model import AuditEvent, ServerSecret, SigningKey
from mintmark.authority.ports import Lease
from mintmark.oauth.revocations import Revocation
from mintmark.storage import rows, rules, statements
from mintmark.storage.sqlite.leases import require_held
from mintmark.storage.sqlite.logs import append
from mintmark.storage.sqlite.readers import Readers
from mintmark.storage.sqlite.writer import GroupWriter


class SQLiteKeys:
    """Keys in SQLite."""

    def __init__(self, readers: Readers, writer: GroupWriter) -> None:
        self._readers = readers
        self._writer = writer

    async def signing_keys(self) -> list[SigningKey]:
        """Return all, oldest published first."""
        return await self._readers.every(statements.SIGNING_KEYS, (), rows.signing_key_from_row)

    async def change(
        self,
        expected: Sequence[SigningKey],
        changed: Sequence[SigningKey],
        *,
        revocations: Sequence[Revocation] = (),
        audit: AuditEvent,
        lease: Lease | None = None,
    ) -> bool:
        """Insert or replace ``changed`` (by kid) if what is stored still is ``expected``; tell whether it was.

        ``expected`` is all that is stored, in any order.

        Raises:
            SupersededError: ``lease`` is held by somebody else by now.
        """
        event = rows.audit_to_row(audit)

        def act(connection: sqlite3.Connection) -> bool:
            require_held(connection, lease)
            stored = map(rows.signing_key_from_row, connection.execute(statements.SIGNING_KEYS).fetchall())
            if not rules.are_same_keys({key.kid: key for key in stored}, expected):
                return False
            connection.executemany(statements.SIGNING_KEY_PUT, map(rows.signing_key_to_row, changed))
            append(connection, revocations)
            connection.execute(statements.AUDIT_ADD, event)
            return True

        return await self._writer.run(act)

    async def server_secrets(self) -> list[ServerSecret]:
        """Return all versions, oldest first."""
        return await self._readers.every(statements.SERVER_SECRETS, (), rows.server_secret_from_row)

    async def add_server_secret(self, secret: ServerSecret) -> bool:
        """Store a version if there is none with that number; tell whether it was stored."""
        row = rows.server_secret_to_row(secret)
        return await self._writer.execute(statements.SERVER_SECRET_ADD, row) == 1

    async def rewrap(self, keys: Sequence[SigningKey], secrets: Sequence[ServerSecret], audit: AuditEvent) -> None:
        """Replace the wrapped bytes of all named keys and secrets at once (the master key was changed)."""
        event = rows.audit_to_row(audit)

        def act(connection: sqlite3.Connection) -> None:
            connection.executemany(statements.SIGNING_KEY_REWRAP, [(key.kid, key.wrapped) for key in keys])
            connection.executemany(statements.SERVER_SECRET_REWRAP, [(each.version, each.wrapped) for each in secrets])
            connection.execute(statements.AUDIT_ADD, event)

        await self._writer.run(act)

    async def forget_removed(self, now: int) -> int:
        """Delete keys removed from the JWKS at or before ``now``; return how many."""
        return await self._writer.execute(statements.SIGNING_KEYS_FORGET, (now,))
