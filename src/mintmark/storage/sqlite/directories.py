"""Clients, resources, roles and users: JSON documents with key columns."""

import sqlite3
from collections.abc import Callable
from typing import Generic, TypeVar

from mintmark.authority.model import User
from mintmark.storage import rules, statements
from mintmark.storage.rows import Codec
from mintmark.storage.sqlite.readers import Readers
from mintmark.storage.sqlite.writer import GroupWriter

Item = TypeVar("Item")


class SQLiteDirectory(Generic[Item]):
    """Things of one kind, by name.

    Args:
        readers: Where to read.
        writer: Where to write.
        codec: Of their documents.
        texts: Statements of their table.
        keys: Returns an item's key columns, its name first.
    """

    def __init__(
        self,
        readers: Readers,
        writer: GroupWriter,
        codec: Codec[Item],
        texts: statements.DirectoryStatements,
        keys: Callable[[Item], tuple[str, ...]],
    ) -> None:
        self._readers = readers
        self._writer = writer
        self._codec = codec
        self._texts = texts
        self._keys = keys

    async def get(self, key: str) -> Item | None:
        """Return the one named ``key``."""
        return self._readers.first(self._texts.get, (key,), lambda row: self._codec.decode(row[0]))

    async def all(self) -> list[Item]:
        """Return all, by name."""
        return await self._readers.every(self._texts.all, (), lambda row: self._codec.decode(row[0]))

    async def add(self, item: Item) -> None:
        """Add ``item``.

        Raises:
            AlreadyExistsError: The name (or a user's email) is taken.
        """
        name, *further = self._keys(item)
        row = (name, self._codec.encode(item), *further)
        await self._writer.execute(self._texts.add, row)

    async def replace(self, old: Item, new: Item) -> bool:
        """Put ``new`` in the place of ``old`` if ``old`` is still what is stored; tell whether it was.

        Raises:
            AlreadyExistsError: A user's new email is taken.
            ValueError: ``new`` has another name.
        """
        name, *_ = self._keys(old)
        new_name, *further = self._keys(new)
        rules.require_same_key(name, new_name)

        def act(connection: sqlite3.Connection) -> bool:
            # Values are compared, not texts: an older version wrote the same value with fewer members.
            stored = connection.execute(self._texts.get, (name,)).fetchall()
            if not stored or self._codec.decode(stored[0][0]) != old:
                return False
            row = (name, stored[0][0], self._codec.revise(stored[0][0], new), *further)
            return connection.execute(self._texts.replace, row).rowcount == 1

        return await self._writer.run(act)

    async def remove(self, key: str) -> bool:
        """Remove the one named ``key``; tell whether there was one."""
        return await self._writer.execute(self._texts.remove, (key,)) == 1


class SQLiteUsers(SQLiteDirectory[User]):
    """Users, by subject and by email."""

    async def by_email(self, email: str) -> User | None:
        """Return the user with that email, compared without case."""
        key = rules.email_key(email)
        return self._readers.first(statements.USER_BY_EMAIL, (key,), lambda row: self._codec.decode(row[0]))
