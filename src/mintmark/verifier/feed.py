"""Follows the revocation feed of an authority: server-sent events, resumed where they broke off (design §4).

What is heard goes into a `RevocationTable`; reading an entry twice changes nothing, so whatever goes wrong, reading on
from the last position that was applied whole is right.
"""

import logging
import random
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import Final, NamedTuple, get_args

import msgspec

from mintmark.oauth.revocations import RevocationKind, RevocationTable, WireEntry
from mintmark.verifier.credentials import basic_authorization
from mintmark.verifier.ports import Clock, Stream, Transport, TransportError

MAX_EVENT_BYTES: Final = 8 * 1024 * 1024
"""Longest event that is read; a full one of the authority has about a hundredth of that."""

_CONNECT_TIMEOUT: Final = 5.0
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_REFUSED_PAUSE: Final = 30.0
"""Seconds between two attempts where only a person can help."""

_FORGET_EVERY: Final = 30.0
_CLOCK_STEP: Final = 5.0
"""Seconds by which a clock is not moved but by setting it."""
_NOT_LET_IN: Final = frozenset({401, 403})
_NO_FEED: Final = frozenset({404, 501})
_KINDS: Final[tuple[RevocationKind, ...]] = get_args(RevocationKind)
# It goes back to the authority in a header.
_POSITION: Final = re.compile(rb"[!-~]{1,256}")

log = logging.getLogger("mintmark.verifier")


class FeedRefused(Exception):  # noqa: N818 - says what is the case, as its siblings do
    """The authority answered, but with no feed.

    Attributes:
        status: What it answered.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class FeedMalformed(TransportError):  # noqa: N818
    """What came is not the feed as agreed; asked again, the authority would probably send the same."""


class _FeedUnknown(TransportError):  # noqa: N818
    """There is no address to follow (yet)."""


class Event(NamedTuple):
    """One server-sent event; ``position`` is its id, if it has one that can be sent back."""

    name: bytes
    position: str | None
    data: bytes


class EventReader:
    """Server-sent events out of octets in whatever portions they arrive (HTML standard, §9.2.6).

    Lines end with LF or CRLF. An event without data says nothing, so its id is not kept either.
    """

    def __init__(self, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._line: list[bytes] = []
        self._line_bytes = 0
        self._start_event()

    @property
    def is_between_events(self) -> bool:
        """Whether nothing of a next event has come yet."""
        return not (self._line or self._data or self._name or self._position)

    def feed(self, portion: bytes) -> Iterator[Event]:
        """Yield the events that end in ``portion``.

        Raises:
            FeedMalformed: An event is too long.
        """
        *ends, rest = portion.split(b"\n")
        for end in ends:
            self._hold(end)
            line = b"".join(self._line)
            self._line, self._line_bytes = [], 0
            event = self._take(line.removesuffix(b"\r"))
            if event is not None:
                yield event
        self._hold(rest)

    def _hold(self, part: bytes) -> None:
        self._line_bytes += len(part)
        if self._line_bytes + self._data_bytes > self._max_bytes:
            raise FeedMalformed("an event is too long")
        if part:
            self._line.append(part)

    def _start_event(self) -> None:
        self._name = b""
        self._position: str | None = None
        self._data: list[bytes] = []
        self._data_bytes = 0

    def _take(self, line: bytes) -> Event | None:
        if not line:
            event = Event(self._name, self._position, b"\n".join(self._data)) if self._data else None
            self._start_event()
            return event
        # A comment is a field without a name; those we do not know mean nothing to us.
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._data_bytes += len(line)
        elif name == b"event":
            self._name = value
        elif name == b"id":
            self._position = value.decode("ascii") if _POSITION.fullmatch(value) else None
        return None


class FeedFollower:
    """Keeps a table of revocations up to date. One thread calls `follow` or `run`; any may read the attributes.

    Args:
        url_of: Returns where the feed is, ``None`` while that is unknown.
        client_id: What this service is registered as at the authority.
        client_secret: Its secret.
        transport: How to reach the authority.
        clock: Time.
        table: Where revocations go; this is the one who writes to it.
        on_entries: Told of the entries of an event once they are in the table.
        on_fresh: Called when `fresh_until` was renewed.
        stale_after: Seconds of silence after which revocations may have been missed.

    Attributes:
        fresh_until: Uptime until which nothing can have been missed; before the first heartbeat, minus infinity.
        caught_up: Set once everything revoked so far was read.
        position: Where reading goes on.
        connects: Connections on which the feed was served.
        failures: Connections that did not come about or broke.
        entries: Entries applied, repetitions included.
        unknown_entries: Entries of a kind that this version does not know.
    """

    def __init__(
        self,
        *,
        url_of: Callable[[], str | None],
        client_id: str,
        client_secret: str,
        transport: Transport,
        clock: Clock,
        table: RevocationTable,
        on_entries: Callable[[Sequence[WireEntry]], None],
        on_fresh: Callable[[], None],
        stale_after: float = 15.0,
    ) -> None:
        self.fresh_until = -inf
        self.caught_up = threading.Event()
        self.position: str | None = None
        self.connects = self.failures = self.entries = self.unknown_entries = 0
        self._url_of = url_of
        self._client_id = client_id
        self._authorization = basic_authorization(client_id, client_secret)
        self._transport = transport
        self._clock = clock
        self._table = table
        self._on_entries = on_entries
        self._on_fresh = on_fresh
        self._stale_after = stale_after
        self._decode = msgspec.json.Decoder(list[WireEntry]).decode
        self._pause = _FIRST_PAUSE
        self._forgot_at = clock.uptime()
        self._offset = clock.now() - clock.uptime()
        self._said: set[str] = set()
        self._reset()

    def _reset(self) -> None:
        self._stream: Stream | None = None
        self._stop: threading.Event | None = None
        self._is_caught_up = False
        """Whether this connection has brought everything that was missing."""

    def follow(self, *, until_caught_up: bool = False) -> None:
        """Follow the feed on one connection, until that ends, or until there is nothing more to read.

        Raises:
            TransportError: It could not be opened, broke, fell silent, or carried something else than the feed.
            FeedRefused: The authority answered with something else.
        """
        url = self._url_of()
        self._is_caught_up = False
        if url is None:
            raise _FeedUnknown("the address of the feed is not known")
        headers = {"accept": "text/event-stream", "authorization": self._authorization}
        if self.position is not None:
            headers["last-event-id"] = self.position
        asked_at = self._clock.uptime()
        with self._transport.stream(
            url, headers=headers, connect_timeout=_CONNECT_TIMEOUT, read_timeout=self._stale_after
        ) as stream:
            self._stream = stream
            try:
                if stream.status != 200:
                    raise FeedRefused(stream.status)
                if stream.headers.get("content-type", "").partition(";")[0].strip().lower() != "text/event-stream":
                    raise FeedMalformed("the answer is no event stream")
                self.connects += 1
                self._read(stream, asked_at, until_caught_up=until_caught_up)
            finally:
                self._stream = None

    def run(self, stop: threading.Event) -> None:
        """Follow the feed until ``stop`` is set, whatever happens; for a thread of its own."""
        self._stop = stop
        while not stop.is_set():
            problem: Exception | None = None
            try:
                self._forget_expired()
                self.follow()
            except Exception as caught:  # noqa: BLE001 - without this thread revocations would be missed for good
                problem = caught
            # `close` breaks the connection on purpose.
            if not stop.is_set():
                stop.wait(self._pause_after(problem))

    def close(self) -> None:
        """End the connection under way. `run` opens the next one, unless its ``stop`` was set before."""
        stream = self._stream
        if stream is not None:
            stream.close()

    def reset_after_fork(self) -> None:
        """Start over in the child, which has no thread that follows: what is known stays, but counts as stale.

        Of the connection, which goes on belonging to the parent, only this process's copy is closed: kept open, it
        would outlive the parent, and the authority would go on writing to nobody.
        """
        self.close()
        self.fresh_until = -inf
        self.caught_up = threading.Event()
        self._reset()

    def _read(self, stream: Stream, asked_at: float, *, until_caught_up: bool) -> None:
        """Read until the stream ends, and renew `fresh_until` by what is heard.

        When octets arrived is not known, only when they were taken: they may have lain in a buffer while this process
        was stopped. So they count as being as old as they can be: as old as the last moment at which everything
        before them had been taken (at first, as the request). If that is too long ago, more of the same age may
        follow, and the connection is given up.
        """
        reader = EventReader()
        since = asked_at
        while not self._is_stopped():
            portion = stream.read()
            if not portion:
                return
            now = self._clock.uptime()
            if now - since > self._stale_after:
                raise TransportError("what was read may be out of date")
            has_event = False
            for event in reader.feed(portion):
                self._apply(event)
                has_event = True
            # Half an event is no news: it may be a revocation.
            if has_event or reader.is_between_events:
                if self._is_caught_up:
                    self._renew(since)
                    if until_caught_up:
                        return
                since = now
            self._forget_expired()

    def _is_stopped(self) -> bool:
        return self._stop is not None and self._stop.is_set()

    def _renew(self, since: float) -> None:
        self.fresh_until = since + self._stale_after
        self._on_fresh()
        if not self.caught_up.is_set():
            self.caught_up.set()
        if self._said:
            self._said.clear()
            log.info("the revocation feed is followed again")

    def _apply(self, event: Event) -> None:
        if event.name == b"revocations":
            self._add(event.data)
        elif event.name == b"heartbeat":
            self._is_caught_up = True
        else:
            return
        # Last: if anything above failed, the same event is read again.
        if event.position is not None:
            self.position = event.position

    def _add(self, data: bytes) -> None:
        try:
            entries = self._decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise FeedMalformed("an event is no list of revocations") from None
        known = []
        for entry in entries:
            named = [(kind, value) for kind in _KINDS if (value := getattr(entry, kind)) is not None]
            if len(named) == 1:
                self._table.add(*named[0], entry.before, entry.exp)
                known.append(entry)
        self.entries += len(known)
        if len(known) < len(entries):
            self._count_unknown(len(entries) - len(known))
        if known:
            self._on_entries(known)

    def _count_unknown(self, count: int) -> None:
        if not self.unknown_entries:
            log.warning("the authority revokes in a way this version of mintmark does not know: update it")
        self.unknown_entries += count

    def _forget_expired(self) -> None:
        """Forget what has expired, unless the clock was set just now.

        A clock that is ahead for a while makes forget what is needed once it is right again: when it is set back,
        everything is read anew.
        """
        now = self._clock.uptime()
        offset = self._clock.now() - now
        moved, self._offset = offset - self._offset, offset
        if abs(moved) > _CLOCK_STEP:
            self._forgot_at = now
        elif now - self._forgot_at >= _FORGET_EVERY:
            self._forgot_at = now
            self._table.forget(int(self._clock.now()))
        if moved < -_CLOCK_STEP:
            self.position = None
            raise TransportError("the clock was set back: everything is read anew")

    def _pause_after(self, problem: Exception | None) -> float:
        """Return how many seconds to wait before the next connection, and say what is the matter."""
        # The feed worked, and a malformed event comes again: that must not become a busy loop.
        if self._is_caught_up and not isinstance(problem, FeedMalformed):
            self._pause = _FIRST_PAUSE
        if isinstance(problem, _FeedUnknown):
            return _FIRST_PAUSE  # nobody was asked
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        if problem is not None:
            self.failures += 1
            self._say(problem)
        if isinstance(problem, FeedRefused) and problem.status in _NOT_LET_IN | _NO_FEED:
            pause = _REFUSED_PAUSE
        # Or all verifiers would come back at once after an outage.
        return pause * (1 + random.random() / 2)  # noqa: S311 - no secret

    def _say(self, problem: Exception) -> None:
        """Log a problem once, until the feed is followed again."""
        said = str(problem) if isinstance(problem, FeedRefused) else type(problem).__name__
        if said in self._said:
            return
        self._said.add(said)
        if isinstance(problem, TransportError):
            log.warning("the revocation feed is not followed: %s", problem)
        elif not isinstance(problem, FeedRefused):
            # Its text may quote anything, a secret as well.
            log.error("the revocation feed is not followed: %s", said)
        elif problem.status in _NOT_LET_IN:
            log.error(
                "the revocation feed is closed to the client %s (%s): check its secret, and that it is registered as "
                "a resource server: mintmark client create %s --serves <audience of this service>",
                self._client_id,
                said,
                self._client_id,
            )
        elif problem.status in _NO_FEED:
            log.warning(
                "the authority has no revocation feed (%s): revoked tokens are accepted until they expire", said
            )
        else:
            log.warning("the revocation feed is not followed: %s", said)
