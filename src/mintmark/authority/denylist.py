"""The live revocations of this node, in memory, fed from the store exactly like a verifier (ADR 0003).

A node also hears of revocations beside the store, sooner, and it remembers what the store may forget (ADR 0027):

heard of, or applied once   revokes, whatever becomes of it elsewhere
read from the store         is in the log as well, and so on the feed
neither read by now         ``forgotten``: the store has lost it, and somebody has to write it back
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mintmark.authority.feed import FeedLog
from mintmark.authority.ports import Store
from mintmark.oauth.revocations import KEPT_BEYOND_EXPIRY, Revocation, RevocationKind, RevocationTable

_PAGE: Final = 10_000
CLOCK_STEP: Final = 5
"""Seconds by which a clock is not moved but by setting it."""

Name = tuple[RevocationKind, str]


@dataclass(slots=True)
class Denylist:
    """What was revoked and has not expired yet.

    Attributes:
        log: The entries that the store has, in order, for the feed.
        last: The entry applied last, where the next reading goes on.
        pulls: How often the store was read to its end and had all that is known; while that stays the same, nothing new
            can be known.
        forgotten: What is known here, and a later reading of the store did not have.
        reapplied: How many of those this node has written back since it started.
        on_change: Called after entries were applied, each of them.
    """

    log: FeedLog = field(default_factory=FeedLog)
    last: Revocation | None = None
    pulls: int = 0
    forgotten: dict[Name, Revocation] = field(default_factory=dict)
    reapplied: int = 0
    on_change: set[Callable[[], None]] = field(default_factory=set)
    _table: RevocationTable = field(default_factory=RevocationTable)
    _unconfirmed: dict[Name, Revocation] = field(default_factory=dict)
    """Heard of, or written back, and not read from the store since."""
    _forgot_at: int = 0
    _is_doubtful: bool = False
    """Whether something was dropped that is needed."""

    def __len__(self) -> int:
        return len(self._table)

    def apply(self, revocations: Sequence[Revocation]) -> None:
        """Add entries of the store, in the order of their cursors; those applied already change nothing."""
        if self.last is not None:
            # Two readings of the store may overlap.
            revocations = [entry for entry in revocations if entry.cursor > self.last.cursor]
        if not revocations:
            return
        for entry in revocations:
            self._table.add(entry.kind, entry.value, entry.before, entry.expires_at)
            self._confirm(entry)
        self.log.append(revocations)
        self.last = revocations[-1]
        for listener in tuple(self.on_change):
            listener()

    def hear(self, revocations: Iterable[Revocation]) -> bool:
        """Add entries that were heard of beside the store; tell whether any was new.

        Whoever told of them had read them in the store: readings that begin from now on have them, or the store went
        back in time.
        """
        new = [entry for entry in revocations if not self._table.covers(entry)]
        for entry in new:
            self._table.add(entry.kind, entry.value, entry.before, entry.expires_at)
            self._unconfirmed[_name_of(entry)] = entry
        return bool(new)

    def is_forgotten(self, entry: Revocation) -> bool:
        """Tell whether ``entry``, one of ``forgotten``, still is: another node may have been quicker."""
        return self.forgotten.get(_name_of(entry)) is entry

    def note_reapplied(self, entry: Revocation) -> None:
        """Note that ``entry`` was written back; unless that was read already, the next reading has to show it."""
        self.reapplied += 1
        if self.forgotten.pop(_name_of(entry), None) is not None:
            self._unconfirmed[_name_of(entry)] = entry

    def give_up(self, entry: Revocation) -> None:
        """Note that ``entry``, one of ``forgotten``, needs not be written back."""
        self.forgotten.pop(_name_of(entry), None)

    def entries(self) -> list[Revocation]:
        """Return all that is known, without cursors."""
        return self._table.entries()

    def forget(self, now: int) -> int:
        """Drop the entries that nobody can need any more; return how many."""
        self._forgot_at = max(self._forgot_at, now)
        self.log.forget(now)
        for names in (self.forgotten, self._unconfirmed):
            for name in [name for name, entry in names.items() if entry.expires_at <= now - KEPT_BEYOND_EXPIRY]:
                del names[name]
        return self._table.forget(now)

    def look_at_clock(self, now: int) -> None:
        """Have the next ``pull`` read everything if the clock was ahead when entries were last dropped."""
        if now < self._forgot_at - CLOCK_STEP:
            self._forgot_at, self._is_doubtful = now, True

    def revokes(self, claims: Mapping[str, Any], kid: str) -> bool:
        """Tell whether a token with these verified claims, signed by ``kid``, was revoked."""
        return self._table.revokes(claims, kid)

    def has_ended(self, gid: str) -> bool:
        """Tell whether the grant was ended, whatever its row says: that may have gone back in time (invariant I11)."""
        return self._table.revokes({"gid": gid}, None)

    async def pull(self, store: Store) -> None:
        """Apply what the store has after the last entry applied. Several may do so at a time.

        A store that no longer has that entry went back in time (invariant I11) or has forgotten it: it is read from
        the start, since what lies before is not what it was either. What was known stays revoked.

        Raises:
            StoreUnavailableError: Nobody knows what was revoked meanwhile. Like any other failure it is not counted.
        """
        heard = list(self._unconfirmed.items())
        await self._pull(store)
        for name, entry in heard:
            if self._unconfirmed.get(name) is entry:
                del self._unconfirmed[name]
                self.forgotten[name] = entry
        # Whoever reads the feed would otherwise be told that nothing is missing.
        if not self.forgotten:
            self.pulls += 1

    async def _pull(self, store: Store) -> None:
        while True:
            last, epoch = self.last, self.log.epoch
            # One reading tells both, so that the store cannot go back in between: is the last entry there, what follows?
            page = await store.revocations.after(0 if last is None else last.cursor - 1, _PAGE + 1)
            if self.log.epoch != epoch:
                continue  # somebody else found out meanwhile, and what we read may belong to the time before
            if self._is_doubtful or (last is not None and page[:1] != [last]):
                await self._read_anew(store, last)
                continue
            self.apply(page)
            if len(page) <= _PAGE:
                return

    async def _read_anew(self, store: Store, last: Revocation | None) -> None:
        # Before reading: what comes to be known meanwhile may be younger than what is read.
        known = self.entries()
        entries: list[Revocation] = []
        while page := await store.revocations.after(entries[-1].cursor if entries else 0, _PAGE):
            entries += page
        if self.last is not last:
            return
        # All at once: nobody who reads the log may take a part of it for the whole.
        self.last, self._is_doubtful = None, False
        self.log.start_over()
        self.apply(entries)
        stored = RevocationTable()
        for entry in entries:
            stored.add(entry.kind, entry.value, entry.before, entry.expires_at)
        self.forgotten.update({_name_of(entry): entry for entry in known if not stored.covers(entry)})

    def _confirm(self, entry: Revocation) -> None:
        name = _name_of(entry)
        for names in (self._unconfirmed, self.forgotten):
            waiting = names.get(name)
            if waiting is not None and _includes(entry, waiting):
                del names[name]


def _name_of(entry: Revocation) -> Name:
    return entry.kind, entry.value


def _includes(entry: Revocation, other: Revocation) -> bool:
    """Tell whether all that ``other``, of the same name, revokes is revoked by ``entry``, for as long."""
    alone = RevocationTable()
    alone.add(entry.kind, entry.value, entry.before, entry.expires_at)
    return alone.covers(other)
