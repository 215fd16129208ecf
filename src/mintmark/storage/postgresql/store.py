"""The store in PostgreSQL. Any number of nodes use the same database at the same time."""

import asyncio
from typing import Final, Self

from mintmark.authority.model import Client, Resource, Role, User
from mintmark.authority.ports import Lease
from mintmark.storage import rules, schema, statements
from mintmark.storage.postgresql import keys
from mintmark.storage.postgresql.connections import Connection
from mintmark.storage.postgresql.database import Database
from mintmark.storage.postgresql.dialing import Address, Dialer
from mintmark.storage.postgresql.directories import PostgreSQLDirectory, PostgreSQLUsers
from mintmark.storage.postgresql.grants import PostgreSQLGrants
from mintmark.storage.postgresql.keys import PostgreSQLKeys
from mintmark.storage.postgresql.leases import PostgreSQLLeases, require_held
from mintmark.storage.postgresql.logs import PostgreSQLAudit, PostgreSQLRevocations
from mintmark.storage.postgresql.migrations import REMEDY, schema_of
from mintmark.storage.postgresql.pool import Pool
from mintmark.storage.postgresql.sessions import PostgreSQLConsents, PostgreSQLSessions
from mintmark.storage.rows import Codec

_SWEEP_SECONDS: Final = 30.0
"""How long one kind of rows may take to be swept: nobody waits for it."""


class PostgreSQLStore:
    """Everything that is kept, in one database. Made by ``open``.

    Args:
        pool: Connections for requests; closed with the store, as is the next.
        hearing: One more, so that a node hears of revocations also while requests hold all the others.
        latest: The newest schema that the code knows.
    """

    def __init__(self, pool: Pool, hearing: Pool, *, latest: int) -> None:
        self._pool, self._hearing = pool, hearing
        self._database = database = Database(pool, renew=self._renew)
        self._latest = latest
        self.clients = PostgreSQLDirectory(
            database, Codec(Client), statements.CLIENTS, lambda client: (client.client_id,)
        )
        self.resources = PostgreSQLDirectory(
            database, Codec(Resource), statements.RESOURCES, lambda resource: (resource.resource,)
        )
        self.roles = PostgreSQLDirectory(database, Codec(Role), statements.ROLES, lambda role: (role.name,))
        self.users = PostgreSQLUsers(
            database, Codec(User), statements.USERS, lambda user: (user.subject, rules.email_key(user.email))
        )
        self.grants = PostgreSQLGrants(database)
        self.sessions = PostgreSQLSessions(database)
        self.consents = PostgreSQLConsents(database)
        self.keys = PostgreSQLKeys(database)
        self.revocations = PostgreSQLRevocations(database, Database(hearing, renew=self._renew, spare=database))
        self.leases = PostgreSQLLeases(database)
        self.audit = PostgreSQLAudit(database)

    @classmethod
    async def open(cls, url: str, *, password: str | None = None, connections: int = 10) -> Self:
        """Connect to a database whose schema ``migrate`` has made.

        Args:
            url: ``postgresql://user@host:port/database``; of several hosts, separated by commas, the one that takes
                writes is used.
            password: Of that user.
            connections: How many of them at most, beside the one that only hears of revocations.

        Raises:
            StoreUnavailableError: The database cannot be reached, or does not want this user.
            UnknownSchemaError: Its schema is not one that this version works with; the message says what to do.
        """
        dial = Dialer(Address.of(url, password)).dial
        store = cls(Pool(dial, connections), Pool(dial, 1), latest=len(schema.migrations("postgresql")))
        try:
            await store.check()
        except BaseException:
            await store.close()
            raise
        return store

    @property
    def usage(self) -> dict[str, int]:
        """How many connections are ``busy`` and ``idle``, the ``size`` of the pool, and how many tasks are ``waiting``."""
        return self._pool.usage

    async def sweep(self, now: int, limit: int, lease: Lease | None = None) -> dict[str, int]:
        """Delete at most ``limit`` rows of each kind that nothing needs any more; return how many of each.

        One transaction for each kind, so that nobody waits for the others. A grant whose idle limit a step has
        shortened may stay until the earlier limit.

        Raises:
            SupersededError: ``lease`` is held by somebody else by now.
        """
        return {kind: await self._sweep(kind, now, limit, lease) for kind in statements.SWEEPS}

    async def check(self) -> None:
        """Raise ``StoreUnavailableError`` unless the store answers and its schema is one that the code works with."""
        schema.require_known(await self._database.read(schema_of), self._latest, remedy=REMEDY)

    async def close(self) -> None:
        """Finish what is under way and let go of everything."""
        await asyncio.gather(self._pool.close(), self._hearing.close())

    def _renew(self) -> None:
        # Both: who only reads does not notice that the server it reads from is the primary no longer.
        self._pool.renew()
        self._hearing.renew()

    async def _sweep(self, kind: str, now: int, limit: int, lease: Lease | None) -> int:
        async def act(connection: Connection) -> int:
            await require_held(connection, lease)
            if kind == "keys":
                await keys.lock(connection)
            return await connection.execute(statements.SWEEPS[kind], (now, limit))

        return await self._database.run(act, limit=_SWEEP_SECONDS)
