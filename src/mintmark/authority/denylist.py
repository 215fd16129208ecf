"""The live revocations of this node, in memory, fed from the store exactly like a verifier (ADR 0003)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mintmark.authority.feed import FeedLog
from mintmark.authority.ports import Store
from mintmark.oauth.revocations import Revocation, RevocationTable

_PAGE: Final = 10_000


def _nobody() -> None:
    """Listen to nothing."""


@dataclass(slots=True)
class Denylist:
    """What was revoked and has not expired yet.

    Attributes:
        log: The same entries in order, for the feed.
        last: The entry applied last, where the next reading goes on.
        on_change: Called after entries were applied.
    """

    log: FeedLog = field(default_factory=FeedLog)
    last: Revocation | None = None
    on_change: Callable[[], None] = _nobody
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
        self.on_change()

    def forget(self, now: int) -> int:
        """Drop the entries that nobody can need any more; return how many."""
        self.log.forget(now)
        return self._table.forget(now)

    def revokes(self, claims: Mapping[str, Any], kid: str) -> bool:
        """Tell whether a token with these verified claims, signed by ``kid``, was revoked."""
        return self._table.revokes(claims, kid)

    async def pull(self, store: Store) -> None:
        """Apply what the store has after the last entry applied.

        A store that no longer has that entry went back in time (invariant I11) or has forgotten it: it is read from
        the start, since cursors it gave out once it may give out again. What was known stays revoked.
        """
        last = self.last
        if last is not None and await store.revocations.after(last.cursor - 1, 1) != [last] and self.last is last:
            self.last = None
            self.log.start_over()
        while page := await store.revocations.after(0 if self.last is None else self.last.cursor, _PAGE):
            self.apply(page)
            if len(page) < _PAGE:
                return
