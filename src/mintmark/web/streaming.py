"""The live feed of revocations (ADR 0021): one log, and for each reader no more than a place in it.

Nothing is queued for anybody: a reader is woken, and takes from the log what it has not had. However many read, what
they are sent is encoded once. A slow reader holds up nobody, and goes on from its place when it comes back.

A heartbeat says that nothing was missed (invariant I6), so only a node that goes on reading its store sends one: it has
read it to the end at most ``Pace.heartbeat`` + 1 s before, for whatever reason it does not any more.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from mintmark.authority.core import Authority
from mintmark.authority.model import Client
from mintmark.authority.ports import StoreUnavailableError

MAX_EVENT_ENTRIES: Final = 1_000
RETRY: Final = b"retry: 1000\n\n"
_MAX_SHARED: Final = 64
_ASK_AGAIN: Final = 0.5
"""Seconds until a reader that is due a heartbeat, and may not have it yet, is looked at again."""
_MARGIN: Final = 1.0
"""Seconds that a busy event loop may be late for a heartbeat."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast things go, in seconds.

    Attributes:
        heartbeat: Something is sent at least so often, and the reader's registration is looked at again.
        flush: What is revoked within so much time is sent together.
        patience: A reader that does not take a part in this time is cut off.
        life: From and to how long a stream lasts; then the reader authenticates again.
    """

    heartbeat: float = 5.0
    flush: float = 0.04
    patience: float = 10.0
    life: tuple[float, float] = (600.0, 900.0)


class Timer(Protocol):
    """Something that will happen."""

    def cancel(self) -> None:
        """Let it not happen."""
        ...


class Timers(Protocol):
    """What the feed needs of an event loop."""

    def time(self) -> float:
        """Return seconds since whenever; never set back."""
        ...

    def call_later(self, delay: float, callback: Callable[..., Any], /) -> Timer:
        """Call ``callback`` in ``delay`` seconds."""
        ...


@dataclass(slots=True)
class _Place:
    """How far a reader has read, in which of the log's epochs."""

    cursor: int
    epoch: int


@dataclass(frozen=True, slots=True)
class _Event:
    data: bytes
    cursor: int
    is_last: bool


class Feed:
    """What all readers of one application share.

    Args:
        authority: Whose revocations they are.
        pace: How fast things go.
        timers: Returns what tells the time and wakes; the running event loop, but for tests.
    """

    def __init__(
        self,
        authority: Authority,
        pace: Pace | None = None,
        timers: Callable[[], Timers] = asyncio.get_running_loop,
    ) -> None:
        self.authority = authority
        self.pace = pace or Pace()
        self._timers = timers
        self._log = authority.denylist.log
        self._readers: set[asyncio.Event] = set()
        self._flush_timer: Timer | None = None
        self._flushed_at = float("-inf")
        self._shared: dict[tuple[int, int, int], _Event] = {}
        self._pulls = 0
        self._looked_at = self._pulled_after = float("-inf")
        self._stopped: asyncio.Future[None] | None = None
        self._is_closed = False

    @property
    def stopped(self) -> "asyncio.Future[None]":
        """Done when ``close`` was called. To be asked for by a coroutine."""
        if self._stopped is None:
            self._stopped = asyncio.get_running_loop().create_future()
            if self._is_closed:
                self._stopped.set_result(None)
        return self._stopped

    def close(self) -> None:
        """End all streams: the server stops. May be said twice."""
        self._is_closed = True
        if self._stopped is not None and not self._stopped.done():
            self._stopped.set_result(None)

    async def events(self, client: Client, position: str) -> AsyncGenerator[bytes, None]:
        """Yield the stream for ``client``, which has had everything up to ``position``.

        It ends when the client has to authenticate again: after a while, or because its registration was changed so
        that it might not be let in now.
        """
        place = _Place(self._log.resume(position), self._log.epoch)
        with self._reader() as wake:
            yield RETRY
            timers, heartbeat = self._timers(), self.pace.heartbeat
            beat_at = timers.time()  # the first one comes as soon as everything was sent
            check_at, ends_at = beat_at + heartbeat, beat_at + self._lifetime()
            has_beaten, is_last = False, False
            while True:
                wake.clear()
                while not is_last and (event := self._next(place)) is not None:
                    place.cursor, is_last = event.cursor, event.is_last
                    yield event.data
                    beat_at = timers.time() + heartbeat if has_beaten else beat_at
                now = timers.time()
                if now >= check_at:
                    if not await self._may_go_on(client):
                        return
                    check_at = now + heartbeat
                if now >= ends_at:
                    return
                is_last, is_fresh = False, self._is_fresh()
                if place.epoch != self._log.epoch:
                    # The log was started over while something was awaited: it does not know this place.
                    continue
                if now >= beat_at:
                    if is_fresh:
                        yield _heartbeat(self._log.position(place.cursor))
                        has_beaten = True
                    beat_at = timers.time() + (heartbeat if is_fresh else _ASK_AGAIN)
                await self._sleep(wake, min(beat_at, check_at, ends_at) - timers.time())

    @contextmanager
    def _reader(self) -> Iterator[asyncio.Event]:
        wake = asyncio.Event()
        self._readers.add(wake)
        self.authority.denylist.on_change.add(self._changed)
        try:
            yield wake
        finally:
            self._readers.discard(wake)
            if not self._readers:
                # So that the authority keeps no application that nobody reads from any more.
                self.authority.denylist.on_change.discard(self._changed)
                if self._flush_timer is not None:
                    self._flush_timer.cancel()
                    self._flush_timer = None

    def _is_fresh(self) -> bool:
        """Tell whether the store was read to its end within the last ``Pace.heartbeat`` + 1 s (invariant I6).

        To be asked whenever a reader is looked at: that a reading ended is noticed only then. It counts as being as old
        as it can be, as old as the look before, which may be long ago if nobody read meanwhile.
        """
        now, pulls = self._timers().time(), self.authority.denylist.pulls
        if pulls != self._pulls:
            self._pulled_after = self._looked_at
        self._pulls, self._looked_at = pulls, now
        return now - self._pulled_after <= self.pace.heartbeat + _MARGIN

    def _next(self, place: _Place) -> _Event | None:
        """Return what comes after ``place``; ``None`` if there is nothing."""
        log = self._log
        if place.epoch != log.epoch:
            place.cursor, place.epoch = 0, log.epoch
        if place.cursor >= log.newest:
            return None
        key = (log.epoch, place.cursor, log.newest)
        event = self._shared.get(key)
        if event is None:
            page = log.after(place.cursor, MAX_EVENT_ENTRIES)
            data = b"event: revocations\nid: %b\ndata: [%b]\n\n" % (log.position(page.cursor).encode(), page.entries)
            event = _Event(data, page.cursor, page.is_last)
            if len(self._shared) >= _MAX_SHARED:
                del self._shared[next(iter(self._shared))]
            self._shared[key] = event
        return event

    def _changed(self) -> None:
        """Wake the readers: at once after a quiet moment, otherwise when the last flush is long enough ago."""
        if self._flush_timer is None:
            timers = self._timers()
            wait = self._flushed_at + self.pace.flush - timers.time()
            if wait <= 0:
                self._flush()
            else:
                self._flush_timer = timers.call_later(wait, self._flush)

    def _flush(self) -> None:
        self._flush_timer = None
        self._flushed_at = self._timers().time()
        for wake in self._readers:
            wake.set()

    async def _sleep(self, wake: asyncio.Event, seconds: float) -> None:
        timer = self._timers().call_later(max(seconds, 0), wake.set)
        try:
            await wake.wait()
        finally:
            timer.cancel()

    async def _may_go_on(self, client: Client) -> bool:
        try:
            current = await self.authority.store.clients.get(client.client_id)
        except StoreUnavailableError:
            # Whoever is sent away during an outage is not let in again before its end, and hears of nothing meanwhile.
            return True
        return (
            current is not None
            and current.disabled_at is None
            and current.secret_digests == client.secret_digests
            and bool(current.serves)
        )

    def _lifetime(self) -> float:
        """Return how long a stream lasts: not all alike, lest everybody comes back at the same moment."""
        shortest, longest = self.pace.life
        return shortest + (longest - shortest) * int.from_bytes(self.authority.randomness.bytes(2)) / 65536


def _heartbeat(position: str) -> bytes:
    return b"event: heartbeat\nid: %b\ndata: {}\n\n" % position.encode()
