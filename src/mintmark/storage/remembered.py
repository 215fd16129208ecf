"""What operators register, remembered for the rest of the second: nearly every request reads it, and it rarely changes.

Changes made through this process are seen at once, those of another process when the second is over. A token issued in
that second to a client disabled in it is covered by the revocation, whose ``before`` is inclusive.
"""

from typing import Generic, TypeVar

from mintmark.authority.ports import Clock, Directory, Lease, Store

Item = TypeVar("Item")


class RememberedDirectory(Generic[Item]):
    """A directory in front of another one."""

    def __init__(self, inner: Directory[Item], clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self._second = 0
        self._items: dict[str, Item] = {}

    async def get(self, key: str) -> Item | None:
        """Return the one named ``key``."""
        now = self._clock.now()
        if now != self._second:
            self._second, self._items = now, {}
        # A change made while we wait puts another dictionary in place, so that what was read is not remembered.
        items = self._items
        item = items.get(key)
        if item is None:
            item = await self._inner.get(key)
            if item is not None:
                items[key] = item
        return item

    async def all(self) -> list[Item]:
        """Return all, by name."""
        return await self._inner.all()

    async def add(self, item: Item) -> None:
        """Add ``item``.

        Raises:
            AlreadyExistsError: The name is taken.
        """
        await self._inner.add(item)

    async def replace(self, old: Item, new: Item) -> bool:
        """Put ``new`` in the place of ``old`` if ``old`` is still what is stored; tell whether it was."""
        try:
            return await self._inner.replace(old, new)
        finally:
            self._items = {}

    async def remove(self, key: str) -> bool:
        """Remove the one named ``key``; tell whether there was one."""
        try:
            return await self._inner.remove(key)
        finally:
            self._items = {}


class RememberingStore:
    """A store whose clients, resources and roles are remembered; all else is the store's own."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self.clients = RememberedDirectory(store.clients, clock)
        self.resources = RememberedDirectory(store.resources, clock)
        self.roles = RememberedDirectory(store.roles, clock)
        self.users = store.users
        self.grants = store.grants
        self.sessions = store.sessions
        self.consents = store.consents
        self.keys = store.keys
        self.revocations = store.revocations
        self.leases = store.leases
        self.audit = store.audit

    @property
    def usage(self) -> dict[str, int] | None:
        """How busy its connections are, where it has any."""
        found: dict[str, int] | None = getattr(self._store, "usage", None)
        return found

    async def sweep(self, now: int, limit: int, lease: Lease | None = None) -> dict[str, int]:
        """Delete what nothing needs any more."""
        return await self._store.sweep(now, limit, lease)

    async def check(self) -> None:
        """Raise ``StoreUnavailableError`` unless the store answers."""
        await self._store.check()

    async def close(self) -> None:
        """Finish what is under way and let go of everything."""
        await self._store.close()
