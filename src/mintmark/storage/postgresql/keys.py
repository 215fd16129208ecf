"""Signing keys and server secrets; private parts arrive and leave encrypted under the master key."""

from collections.abc import Sequence
from typing import Final

from mintmark.authority.model import AuditEvent, ServerSecret, SigningKey
from mintmark.authority.ports import Lease
from mintmark.oauth.revocations import Revocation
from mintmark.storage import rows, rules, statements
from mintmark.storage.postgresql.connections import Connection
from mintmark.storage.postgresql.database import Database
from mintmark.storage.postgresql.leases import require_held
from mintmark.storage.postgresql.logs import append

# What is stored is compared as a whole, and may be nothing at all: there is no row to lock.
_LOCK: Final = "UPDATE counters SET value = value + 1 WHERE name = 'keys'"


class PostgreSQLKeys:
    """Keys in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def signing_keys(self) -> list[SigningKey]:
        """Return all, oldest published first."""
        return await self._database.every(statements.SIGNING_KEYS, (), rows.signing_key_from_row)

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

        async def act(connection: Connection) -> bool:
            await require_held(connection, lease)
            await lock(connection)
            stored = map(rows.signing_key_from_row, await connection.rows(statements.SIGNING_KEYS))
            if not rules.are_same_keys({key.kid: key for key in stored}, expected):
                return False
            await connection.execute_all(statements.SIGNING_KEY_PUT, map(rows.signing_key_to_row, changed))
            await connection.execute(statements.AUDIT_ADD, event)
            await append(connection, revocations)
            return True

        return await self._database.run(act)

    async def server_secrets(self) -> list[ServerSecret]:
        """Return all versions, oldest first."""
        return await self._database.every(statements.SERVER_SECRETS, (), rows.server_secret_from_row)

    async def add_server_secret(self, secret: ServerSecret) -> bool:
        """Store a version if there is none with that number; tell whether it was stored."""
        return await self._database.execute(statements.SERVER_SECRET_ADD, rows.server_secret_to_row(secret)) == 1

    async def rewrap(self, keys: Sequence[SigningKey], secrets: Sequence[ServerSecret], audit: AuditEvent) -> None:
        """Replace the wrapped bytes of all named keys and secrets at once (the master key was changed)."""
        event = rows.audit_to_row(audit)

        async def act(connection: Connection) -> None:
            await lock(connection)
            await connection.execute_all(statements.SIGNING_KEY_REWRAP, [(key.kid, key.wrapped) for key in keys])
            await connection.execute_all(
                statements.SERVER_SECRET_REWRAP, [(each.version, each.wrapped) for each in secrets]
            )
            await connection.execute(statements.AUDIT_ADD, event)

        await self._database.run(act)

    async def forget_removed(self, now: int) -> int:
        """Delete keys removed from the JWKS at or before ``now``; return how many."""

        async def act(connection: Connection) -> int:
            await lock(connection)
            return await connection.execute(statements.SIGNING_KEYS_FORGET, (now,))

        return await self._database.run(act)


async def lock(connection: Connection) -> None:
    """Let one transaction at a time change the keys.

    Raises:
        RuntimeError: The counter is missing.
    """
    if await connection.execute(_LOCK) != 1:
        raise RuntimeError("the counter `keys` is missing")
