"""A follower of the feed, and the world it lives in."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from tests.support.verifying import FakeClock

from mintmark.oauth.revocations import RevocationTable, WireEntry
from mintmark.verifier.feed import FeedFollower
from mintmark.verifier.ports import Response, Stream, TransportError

URL = "https://auth.test/revocations"
SECRET = "s3cr:t of billing"
EXP = 2_000
EVENT_STREAM = {"content-type": "text/event-stream; charset=utf-8"}

Portion = bytes | Exception | Callable[[], bytes]


def revocations(position: str, *entries: Mapping[str, Any]) -> bytes:
    return b"event: revocations\nid: %s\ndata: %s\n\n" % (position.encode(), msgspec.json.encode(entries))


def heartbeat(position: str) -> bytes:
    return b"event: heartbeat\nid: %s\ndata: {}\n\n" % position.encode()


def jti(name: str, exp: int = EXP) -> dict[str, Any]:
    return {"jti": name, "exp": exp}


@dataclass
class FakeStream:
    """Gives portions one by one, then ends."""

    portions: Iterator[Portion]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: EVENT_STREAM)
    is_closed: bool = False

    def read(self) -> bytes:
        portion = next(self.portions, b"")
        if isinstance(portion, Exception):
            raise portion
        return portion() if callable(portion) else portion

    def close(self) -> None:
        self.is_closed = True


@dataclass
class FakeTransport:
    """Opens the streams it was given, in turn; ``opened`` holds the arguments of each opening."""

    streams: list[Stream | Exception] = field(default_factory=list)
    opened: list[dict[str, Any]] = field(default_factory=list)

    def request(self, *args: Any, **kwargs: Any) -> Response:
        raise AssertionError("the feed is a stream")

    @contextmanager
    def stream(
        self, url: str, *, headers: Mapping[str, str], connect_timeout: float, read_timeout: float
    ) -> Iterator[Stream]:
        self.opened.append({"url": url, "headers": headers, "read_timeout": read_timeout})
        found = self.streams.pop(0) if self.streams else TransportError("refused")
        if isinstance(found, Exception):
            raise found
        yield found


class World:
    """A follower and what it lives in."""

    def __init__(self, *connections: Sequence[Portion] | Stream | Exception) -> None:
        self.clock = FakeClock(unix=1_000.0, up=100.0)
        self.transport = FakeTransport([_opened(one) for one in connections])
        self.table = RevocationTable()
        self.told: list[WireEntry] = []
        self.url: str | None = URL
        self.follower = FeedFollower(
            url_of=lambda: self.url,
            client_id="billing",
            client_secret=SECRET,
            transport=self.transport,
            clock=self.clock,
            table=self.table,
            on_entries=lambda entries: self.on_entries(entries),  # noqa: PLW0108 - tests replace it
            on_fresh=lambda: None,
        )

    def on_entries(self, entries: Sequence[WireEntry]) -> None:
        self.told.extend(entries)

    def later(self, seconds: float, portion: bytes) -> Callable[[], bytes]:
        """A portion for which the read waits."""

        def read() -> bytes:
            self.clock.advance(seconds)
            return portion

        return read

    def connect(self, *portions: Portion) -> None:
        self.transport.streams.append(FakeStream(iter(portions)))

    def follow(self, *portions: Portion) -> None:
        self.connect(*portions)
        self.follower.follow()

    def revokes(self, **claims: Any) -> bool:
        return self.table.revokes(claims, claims.pop("kid", None))

    def pauses(self, count: int) -> list[float]:
        """Run for so many connections; return how long it waits after each."""
        stop = CountedStop(count)
        self.follower.run(stop)
        return stop.pauses


def _opened(connection: Sequence[Portion] | Stream | Exception) -> Stream | Exception:
    return FakeStream(iter(connection)) if isinstance(connection, (list, tuple)) else connection  # type: ignore[return-value]


class CountedStop(threading.Event):
    """Does not wait, and is set after so many waits."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.pauses: list[float] = []
        self.count = count

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.pauses.append(timeout)
        if len(self.pauses) == self.count:
            self.set()
        return self.is_set()
