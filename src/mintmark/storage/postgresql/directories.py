"""Clients, resources, roles and users: JSON documents with key columns."""

from collections.abc import Callable
from typing import Generic, TypeVar

from mintmark.authority.model import User
from mintmark.storage import rules, statements
from mintmark.storage.postgresql.database import Database
from mintmark.storage.rows import Codec

Item = TypeVar("Item")


class PostgreSQLDirectory(Generic[Item]):
    """Things of one kind, by name.

    Args:
        database: Where they are.
        codec: Of their documents.
        texts: Statements of their table.
        keys: Returns an item's key columns, its name first.
    """

    def __init__(
        self,
        database: Database,
        codec: Codec[Item],
        texts: statements.DirectoryStatements,
        keys: Callable[[Item], tuple[str, ...]],
    ) -> None:
        self._database = database
        self._codec = codec
        self._texts = texts
        self._keys = keys

    async def get(self, key: str) -> Item | None:
        """Return the one named ``key``."""
        return await self._database.first(self._texts.get, (key,), lambda row: self._codec.decode(row[0]))

    async def all(self) -> list[Item]:
        """Return all, by name."""
        return await self._database.every(self._texts.all, (), lambda row: self._codec.decode(row[0]))

    async def add(self, item: Item) -> None:
        """Add ``item``.

        Raises:
            AlreadyExistsError: The name (or a user's email) is taken.
        """
        name, *further = self._keys(item)
        await self._database.execute(self._texts.add, (name, self._codec.encode(item), *further))

    async def replace(self, old: Item, new: Item) -> bool:
        """Put ``new`` in the place of ``old`` if ``old`` is still what is stored; tell whether it was.

        Raises:
            AlreadyExistsError: A user's new email is taken.
            ValueError: ``new`` has another name.
        """
        name, *_ = self._keys(old)
        new_name, *further = self._keys(new)
        rules.require_same_key(name, new_name)
        # Values are compared, not texts: an older version wrote the same value with fewer members. The text read is
        # what the statement then compares with.
        stored = await self._database.rows(self._texts.get, (name,))
        if not stored or self._codec.decode(stored[0][0]) != old:
            return False
        row = (name, stored[0][0], self._codec.revise(stored[0][0], new), *further)
        return await self._database.execute(self._texts.replace, row) == 1

    async def remove(self, key: str) -> bool:
        """Remove the one named ``key``; tell whether there was one."""
        return await self._database.execute(self._texts.remove, (key,)) == 1


class PostgreSQLUsers(PostgreSQLDirectory[User]):
    """Users, by subject and by email."""

    async def by_email(self, email: str) -> User | None:
        """Return the user with that email, compared without case."""
        key = rules.email_key(email)
        return await self._database.first(statements.USER_BY_EMAIL, (key,), lambda row: self._codec.decode(row[0]))
