"""The live revocations in the order they were committed: what the feed is read from. Pure; knows no connection.

A position is an opaque text for those who read: the cursor of the last entry they had, and a digest of that entry. A
store that went back in time (invariant I11) gives cursors out again; the digest notices, and reading starts over.
Reading an entry twice is harmless, missing one is not.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2s
from typing import Final

import msgspec

from mintmark.oauth.revocations import KEPT_BEYOND_EXPIRY, Revocation, WireEntry, from_wire, to_wire

START: Final = "0"
"""The position before every entry."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries, encoded as the members of one JSON array without its brackets, and where to go on."""

    entries: bytes
    count: int
    cursor: int
    is_last: bool


class FeedLog:
    """Entries in the order of their cursors.

    Attributes:
        epoch: Grows whenever the log was started over, and whoever reads has to start over as well.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self._cursors: list[int] = []
        self._expiries: list[int] = []
        self._lines: list[bytes] = []

    def __len__(self) -> int:
        return len(self._cursors)

    @property
    def newest(self) -> int:
        """The cursor of the last entry; 0 if there is none."""
        return self._cursors[-1] if self._cursors else 0

    def append(self, entries: Iterable[Revocation]) -> None:
        """Add entries with rising cursors, all above those that are there."""
        for entry in entries:
            self._cursors.append(entry.cursor)
            self._expiries.append(entry.expires_at)
            self._lines.append(msgspec.json.encode(to_wire(entry)))

    def start_over(self) -> None:
        """Forget everything: the store went back in time and is read again from its start."""
        self.epoch += 1
        self._cursors, self._expiries, self._lines = [], [], []

    def forget(self, now: int) -> None:
        """Drop the entries nobody can need any more."""
        gone = now - KEPT_BEYOND_EXPIRY
        kept = [index for index, expires_at in enumerate(self._expiries) if expires_at > gone]
        if len(kept) < len(self._expiries):
            self._cursors = [self._cursors[index] for index in kept]
            self._expiries = [self._expiries[index] for index in kept]
            self._lines = [self._lines[index] for index in kept]

    def after(self, cursor: int, limit: int) -> Page:
        """Return at most ``limit`` entries above ``cursor``; ``limit`` is at least 1."""
        first = bisect_right(self._cursors, cursor)
        lines = self._lines[first : first + limit]
        last = first + len(lines)
        return Page(b",".join(lines), len(lines), self._cursors[last - 1] if lines else cursor, last == len(self))

    def entries(self, cursor: int, limit: int) -> list[Revocation]:
        """Return at most ``limit`` entries above ``cursor``, each with its own."""
        first = bisect_right(self._cursors, cursor)
        named = zip(self._cursors[first : first + limit], self._lines[first : first + limit], strict=True)
        found = (from_wire(msgspec.json.decode(line, type=WireEntry), cursor=own) for own, line in named)
        return [entry for entry in found if entry is not None]

    def position(self, cursor: int) -> str:
        """Return the text that names the entry at ``cursor`` to those who read."""
        index = bisect_right(self._cursors, cursor) - 1
        if index < 0 or self._cursors[index] != cursor:
            return START
        return f"{cursor}-{_digest(self._lines[index])}"

    def resume(self, position: str) -> int:
        """Return the cursor to read after for somebody who was at ``position``; 0 if that is not known (any more)."""
        stated, _, _ = position.partition("-")
        if not (stated.isascii() and stated.isdigit() and len(stated) < 20):
            return 0
        cursor = int(stated)
        return cursor if cursor and self.position(cursor) == position else 0


def _digest(line: bytes) -> str:
    return blake2s(line, digest_size=6).hexdigest()
