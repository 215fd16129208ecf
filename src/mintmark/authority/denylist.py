"""The live revocations of this node, in memory, fed from the store exactly like a verifier (ADR 0003)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mintmark.authority.feed import FeedLog
from mintmark.authority.ports import Store
from mintmark.oauth.revocations import Revocation, RevocationTable

_PAGE: Final = 10_000


@dataclass(slots=True)
class Denylist:
    """What was revoked and has not expired yet.

    Attributes:
        log: The same entries in order, for the feed.
        last: The entry applied last, where the next reading goes on.
        pulls: How often the store was read to its end; while that stays the same, nothing new can be known.
        on_change: Called after entries were applied, each of them.
    """

    log: FeedLog = field(default_factory=FeedLog)
    last: Revocation | None = None
    pulls: int = 0
    on_change: set[Callable[[], None]] = field(default_factory=set)
    _table: RevocationTable = field(default_factory=RevocationTable)

    def __len__(self) -> int:
        return len(self._table)

    def apply(self, revocations: Sequence[Revocation]) -> None:
        """Add entries, in the order of their cursors; those applied already change nothing."""
        if self.last is not None:
            # Two readings of the store may overlap.
            revocations = [entry for entry in revocations if entry.cursor > self.last.cursor]
        if not revocations:
            return
        for entry in revocations:
            self._table.add(entry.kind, entry.value, entry.before, entry.expires_at)
        self.log.append(revocations)
        self.last = revocations[-1]
        for listener in tuple(self.on_change):
            listener()

    def forget(self, now: int) -> int:
        """Drop the entries that nobody can need any more; return how many."""
        self.log.forget(now)
        return self._table.forget(now)

    def revokes(self, claims: Mapping[str, Any], kid: str) -> bool:
        """Tell whether a token with these verified claims, signed by ``kid``, was revoked."""
        return self._table.revokes(claims, kid)

    async def pull(self, store: Store) -> None:
        """Apply what the store has after the last entry applied. Several may do so at a time.

        A store that no longer has that entry went back in time (invariant I11) or has forgotten it: it is read from
        the start, since cursors it gave out once it may give out again. What was known stays revoked.

        Raises:
            StoreUnavailableError: Nobody knows what was revoked meanwhile. Like any other failure it is not counted.
        """
        await self._pull(store)
        self.pulls += 1

    async def _pull(self, store: Store) -> None:
        while True:
            last, epoch = self.last, self.log.epoch
            # One reading tells both, so that the store cannot go back in between: is the last entry there, what follows?
            page = await store.revocations.after(0 if last is None else last.cursor - 1, _PAGE + 1)
            if self.log.epoch != epoch:
                continue  # somebody else found out meanwhile, and what we read may belong to the time before
            if last is not None and page[:1] != [last]:
                await self._read_anew(store, last)
                continue
            self.apply(page)
            if len(page) <= _PAGE:
                return

    async def _read_anew(self, store: Store, last: Revocation) -> None:
        entries: list[Revocation] = []
        while page := await store.revocations.after(entries[-1].cursor if entries else 0, _PAGE):
            entries += page
        # All at once: nobody who reads the log may take a part of it for the whole.
        if self.last is last:
            self.last = None
            self.log.start_over()
            self.apply(entries)
