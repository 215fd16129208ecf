"""A revocation stream in memory that nodes of one process share, and that can be away, hang, lose everything or some of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from mintmark.authority.ports import StoreUnavailableError
from mintmark.oauth.revocations import Revocation, RevocationTable


class FakeStream:
    """Does what ``ports.RevocationStream`` promises.

    Attributes:
        published: Everything in it, in order.
        told: Entries that anybody wanted to publish, repetitions included.
        is_away: Whether it answers nobody.
    """

    def __init__(self) -> None:
        self.told = 0
        self.is_away = False
        self._life = 0
        self._news = asyncio.Event()
        self.lose_everything()

    def lose_everything(self) -> None:
        """Start again with nothing, as Redis does."""
        self.published: list[Revocation] = []
        self._table = RevocationTable()
        self._is_whole = False
        self._life += 1

    def go_back(self, count: int) -> None:
        """Start again with the first ``count`` entries, as a Redis does that was saved then."""
        kept = self.published[:count]
        self.lose_everything()
        self.published = kept
        for entry in kept:
            self._table.add(entry.kind, entry.value, entry.before, entry.expires_at)

    async def publish(self, entries: Sequence[Revocation]) -> None:
        self._require()
        self.told += len(entries)
        for entry in entries:
            if not self._table.covers(entry):
                self._table.add(entry.kind, entry.value, entry.before, entry.expires_at)
                self.published.append(replace(entry, cursor=0))
        self._news.set()

    async def after(self, position: str, wait: float) -> tuple[str, list[Revocation]]:
        self._require()
        if not self._after(position) and wait > 0:
            self._news.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._require()
        return f"{self._life}-{len(self.published)}", self._after(position)

    async def is_whole(self) -> bool:
        self._require()
        return self._is_whole

    async def set_whole(self) -> None:
        self._require()
        self._is_whole = True

    def _after(self, position: str) -> list[Revocation]:
        life, _, count = position.partition("-")
        return self.published[int(count) :] if life == str(self._life) else list(self.published)

    def _require(self) -> None:
        if self.is_away:
            raise StoreUnavailableError("the stream is away")
