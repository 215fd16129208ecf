"""The follower of the revocation feed: what it reads, how fresh that is, and what it does when the feed breaks."""

import logging
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.verifying import FakeClock

from mintmark.oauth.revocations import RevocationTable, WireEntry
from mintmark.verifier import feed
from mintmark.verifier.feed import Event, EventReader, FeedFollower, FeedMalformed, FeedRefused
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
            on_fresh=lambda _: None,
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


# --- server-sent events ---

LINES = st.sampled_from(
    b"event: revocations|event:heartbeat|id: 7-ab|id|data: [1]|data:|data|data: a: b|data: \xc3\xa9\r|"
    b":|: ping|retry: 1000|whatever: x||||".split(b"|")
)


def events_of(portions: Sequence[bytes], max_bytes: int = feed.MAX_EVENT_BYTES) -> tuple[list[Event], bool, bool]:
    """The events, whether one was too long, and whether the reader stands between two."""
    reader = EventReader(max_bytes)
    found: list[Event] = []
    try:
        for portion in portions:
            found.extend(reader.feed(portion))
    except FeedMalformed:
        return found, True, False
    return found, False, reader.is_between_events


@settings(deadline=None)
@given(
    lines=st.lists(LINES, max_size=30),
    end=st.sampled_from([b"\n", b"\r\n"]),
    cuts=st.lists(st.integers(0, 400), max_size=30),
    rest=st.sampled_from([b"", b"da", b"data: x"]),
)
def test_how_the_octets_are_cut_up_does_not_matter(
    lines: list[bytes], end: bytes, cuts: list[int], rest: bytes
) -> None:
    whole = b"".join(line + end for line in lines) + rest
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    portions = [whole[first:last] for first, last in pairwise(edges)]
    assert events_of(portions) == events_of([whole])


@settings(deadline=None)
@given(
    lines=st.lists(LINES, max_size=30),
    cuts=st.lists(st.integers(0, 400), max_size=30),
    max_bytes=st.integers(1, 40),
)
def test_nor_does_it_for_what_is_too_long(lines: list[bytes], cuts: list[int], max_bytes: int) -> None:
    whole = b"".join(line + b"\n" for line in lines)
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    portions = [whole[first:last] for first, last in pairwise(edges)]
    cut_up, at_once = events_of(portions, max_bytes), events_of([whole], max_bytes)
    assert cut_up == at_once


def test_an_event_may_have_several_lines_of_data() -> None:
    raw = b": welcome\nretry: 1000\n\nevent: revocations\r\nid: 5-ab\r\ndata: [1,\r\ndata:2]\r\n\r\n"
    assert events_of([raw]) == ([Event(b"revocations", "5-ab", b"[1,\n2]")], False, True)


def test_an_event_without_data_is_none_and_what_is_not_over_is_none_yet() -> None:
    assert events_of([b"event: heartbeat\nid: 5\n\ndata: {}\n\nevent: heartbeat\n"]) == (
        [Event(b"", None, b"{}")],
        False,
        False,
    )


@pytest.mark.parametrize("position", [b"", b"a b", b"\xc3\xa9", b"a\x00", b"a\rb", b"9" * 257])
def test_a_position_that_no_header_can_carry_is_none(position: bytes) -> None:
    assert events_of([b"id: 1\nid: " + position + b"\ndata: {}\n\n"])[0] == [Event(b"", None, b"{}")]


@pytest.mark.spec("S07")
def test_the_size_of_one_event_is_bounded_and_that_of_the_stream_is_not() -> None:
    fits = b"data: 1234\ndata: 56\n\n"
    assert events_of([fits * 100, b": ping\n" * 100], 18)[1] is False
    assert events_of([fits], 17) == ([], True, False)
    assert events_of([b"data: 12345678901234567890"], 17)[1] is True
    assert events_of([b": " + b"x" * 20], 17)[1] is True


# --- what is heard, and how fresh it is ---


@pytest.mark.spec("invariant I6")
@pytest.mark.parametrize(
    ("entry", "hit", "miss"),
    [
        ({"jti": "a"}, {"jti": "a"}, {"jti": "b"}),
        ({"gid": "a"}, {"gid": "a"}, {"gid": "b"}),
        ({"kid": "a"}, {"kid": "a"}, {"kid": "b"}),
        ({"sub": "a", "before": 50}, {"sub": "a", "iat": 50}, {"sub": "a", "iat": 51}),
        ({"client_id": "a", "before": 50}, {"client_id": "a", "iat": 50}, {"client_id": "a", "iat": 51}),
        ({"jti": "a", "reason": ["newer", "than us"]}, {"jti": "a"}, {"jti": "b"}),
    ],
)
def test_every_kind_of_entry_counts(entry: dict[str, Any], hit: dict[str, Any], miss: dict[str, Any]) -> None:
    world = World()
    world.follow(revocations("1-a", {**entry, "exp": EXP}))
    assert world.revokes(**hit)
    assert not world.revokes(**miss)
    assert world.follower.entries == 1


def test_kinds_newer_than_this_version_are_counted_and_break_nothing(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    newer = {"device": "d", "exp": EXP}
    world.follow(
        revocations("3-a", newer, jti("a"), {"sub": "x", "client_id": "y", "exp": EXP}),
        revocations("4-a", newer),
        heartbeat("4-a"),
    )
    assert world.revokes(jti="a")
    assert not world.revokes(sub="x", client_id="y")
    assert [entry.jti for entry in world.told] == ["a"]
    assert (world.follower.entries, world.follower.unknown_entries) == (1, 3)
    assert world.follower.position == "4-a"
    assert len(caplog.records) == 1


def test_other_events_mean_nothing_not_even_their_position() -> None:
    world = World()
    world.follow(revocations("1-a", jti("a")), b'event: news\nid: 2-b\ndata: {"x": 1}\n\n', b"id: 3-c\ndata: {}\n\n")
    assert world.follower.position == "1-a"


@pytest.mark.spec("RFC 6749 §2.3.1")
def test_it_asks_as_a_client_for_an_event_stream_from_where_it_was() -> None:
    world = World()
    world.follow(revocations("1-a", jti("a")), heartbeat("1-a"))
    world.follow()
    first, second = (one["headers"] for one in world.transport.opened)
    assert first["accept"] == "text/event-stream"
    assert b64decode(first["authorization"].removeprefix("Basic ")) == b"billing:s3cr%3At+of+billing"
    assert "last-event-id" not in first
    assert second == {**first, "last-event-id": "1-a"}
    assert world.transport.opened[0]["url"] == URL
    # No heartbeat in that time: the connection is dead.
    assert world.transport.opened[0]["read_timeout"] == 15.0


@pytest.mark.spec("invariant I6")
def test_nothing_is_fresh_before_the_first_heartbeat() -> None:
    world = World()
    world.follow(b": hello\n\n", revocations("1-a", jti("a")))
    assert world.follower.fresh_until == -inf
    assert not world.follower.caught_up.is_set()
    world.follow(heartbeat("1-a"))
    assert world.follower.fresh_until == 115.0
    assert world.follower.caught_up.is_set()


@pytest.mark.spec("invariant I6")
def test_while_catching_up_again_nothing_becomes_fresher() -> None:
    world = World()
    world.follow(heartbeat("1-a"))
    world.clock.advance(10)
    world.follow(b": hello\n\n", revocations("2-b", jti("a")), b"retry: 1000\n\n")
    assert world.follower.fresh_until == 115.0
    world.follow(revocations("3-c", jti("b")), heartbeat("3-c"))
    assert world.follower.fresh_until == 125.0


@pytest.mark.parametrize("heard", [b": ping\n", b": ping\n\n", b"retry: 1\n", revocations("2-b"), b"data: x\n\n"])
def test_once_caught_up_anything_heard_is_a_sign_of_life(heard: bytes) -> None:
    world = World()
    world.follow(heartbeat("1-a"), world.later(5, heard), world.later(5, heard))
    assert world.follower.fresh_until == 105.0 + 15.0


@pytest.mark.spec("invariant I6")
@pytest.mark.parametrize(
    "half", [b"e", b"id: 2-b\n", b"event: revocations\n", b"data: []\n", b": ping\ndata: []\r\n", b"data: []\n: ping"]
)
def test_half_an_event_is_none_since_it_may_be_a_revocation(half: bytes) -> None:
    world = World()
    world.follow(world.later(1, heartbeat("1-a")), world.later(1, half), world.later(1, b": it may be one\n" + half))
    assert world.follower.fresh_until == 115.0


@pytest.mark.spec("invariant I6")
def test_an_event_has_to_come_in_time_however_steadily_it_drips() -> None:
    world = World()
    with pytest.raises(TransportError):
        world.follow(heartbeat("1-a"), *[world.later(5, b"d")] * 4)


def test_events_need_not_end_where_portions_do() -> None:
    world = World()
    raw = heartbeat("1-a")
    world.follow(raw + raw[:5], *[world.later(5, raw[5:] + raw[:5])] * 4)
    assert world.follower.fresh_until == 115.0 + 15.0


@pytest.mark.spec("invariant I6")
def test_what_was_read_counts_as_being_as_old_as_it_can_be() -> None:
    # It may have lain in a buffer while the process was stopped: only what came before it is known to be older.
    world = World()
    world.follow(world.later(2, heartbeat("1-a")))
    assert world.follower.fresh_until == 115.0
    world.follow(heartbeat("1-a"), world.later(5, heartbeat("1-a")), world.later(5, revocations("2-b", jti("a"))))
    assert world.follower.fresh_until == 107.0 + 15.0


@pytest.mark.spec("invariant I6")
def test_a_process_that_slept_trusts_no_buffer() -> None:
    world = World()
    with pytest.raises(TransportError):
        world.follow(heartbeat("1-a"), world.later(3_600, heartbeat("1-a")), heartbeat("1-a"))
    assert world.follower.fresh_until == 115.0


@pytest.mark.spec("invariant I6")
def test_entries_count_before_anybody_relies_on_them() -> None:
    world = World()
    seen: list[tuple[bool, str | None, float]] = []

    def look(entries: Sequence[WireEntry]) -> None:
        is_in_table = all(world.revokes(jti=entry.jti) for entry in entries)
        seen.append((is_in_table, world.follower.position, world.follower.fresh_until))

    world.on_entries = look  # type: ignore[method-assign]
    world.follow(heartbeat("0"), world.later(5, revocations("2-b", jti("a"), jti("b"))))
    assert seen == [(True, "0", 115.0)]
    assert world.follower.position == "2-b"


@pytest.mark.spec("invariant I6")
def test_an_event_that_was_not_applied_whole_is_read_again() -> None:
    world = World()

    def fail(entries: Sequence[WireEntry]) -> None:
        raise RuntimeError(entries)

    world.on_entries = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        world.follow(heartbeat("1-a"), world.later(5, revocations("2-b", jti("a"))))
    assert world.follower.position == "1-a"
    assert world.follower.fresh_until == 115.0


def test_reading_twice_changes_nothing() -> None:
    world = World()
    event = revocations("2-b", jti("a"), {"sub": "s", "before": 50, "exp": EXP})
    world.follow(event)
    world.follow(event)
    assert len(world.table) == 2
    assert world.revokes(jti="a")
    assert not world.revokes(sub="s", iat=51)


@pytest.mark.parametrize(
    "data",
    [b"nonsense", b"{}", b'[{"jti":"a"}]', b'[{"jti":5,"exp":1}]', b'[{"jti":"a","exp":"soon"}]', b"[\xff]", b"[null]"],
)
def test_a_malformed_event_ends_the_connection_at_the_last_good_position(data: bytes) -> None:
    world = World()
    bad = b"event: revocations\nid: 2-b\ndata: %s\n\n" % data
    with pytest.raises(FeedMalformed):
        world.follow(revocations("1-a", jti("a")) + bad + heartbeat("2-b"))
    assert world.revokes(jti="a")
    assert world.follower.position == "1-a"
    assert not world.follower.caught_up.is_set()


@pytest.mark.parametrize("status", [204, 301, 401, 403, 404, 429, 500, 501, 503])
def test_an_answer_that_is_no_feed_is_a_refusal(status: int) -> None:
    world = World(FakeStream(iter([heartbeat("1-a")]), status=status))
    with pytest.raises(FeedRefused) as refused:
        world.follower.follow()
    assert refused.value.status == status
    assert world.follower.connects == 0


def test_a_page_is_no_feed() -> None:
    world = World(FakeStream(iter([heartbeat("1-a")]), headers={"content-type": "text/html"}))
    with pytest.raises(TransportError):
        world.follower.follow()
    assert not world.follower.caught_up.is_set()


def test_entries_nobody_needs_are_forgotten_now_and_then() -> None:
    world = World()
    old = jti("a", exp=int(world.clock.now()) - 1_000)
    world.follow(revocations("1-a", old), world.later(10, revocations("2-a", old)), world.later(10, b": ping\n"))
    assert len(world.table) == 1
    world.follow(heartbeat("2-a"), world.later(10, revocations("3-a", jti("b"))))
    assert len(world.table) == 1
    assert world.revokes(jti="b")


def test_without_a_connection_there_is_nothing_to_close() -> None:
    stream = FakeStream(iter([heartbeat("1-a")]))
    world = World(stream)
    world.follower.close()
    world.follower.follow()
    world.follower.close()
    assert not stream.is_closed


def test_a_child_process_starts_over_and_leaves_the_connection_to_its_parent() -> None:
    world = World()

    def fork() -> bytes:
        world.follower.reset_after_fork()
        return b""

    stream = FakeStream(iter([heartbeat("1-a"), fork]))
    world.transport.streams.append(stream)
    parents = world.follower.caught_up
    world.follower.follow()
    assert world.follower.fresh_until == -inf
    assert not world.follower.caught_up.is_set()
    assert world.follower.caught_up is not parents
    assert world.follower.position == "1-a"
    # Our copy of it: a real stream leaves the parent's alone.
    assert stream.is_closed


# --- a thread of its own ---


class BlockedStream:
    """Says nothing until it is closed."""

    status = 200
    headers: Mapping[str, str] = EVENT_STREAM

    def __init__(self) -> None:
        self.is_reading = threading.Event()
        self.is_closed = threading.Event()

    def read(self) -> bytes:
        self.is_reading.set()
        assert self.is_closed.wait(30)
        raise TransportError("closed")

    def close(self) -> None:
        self.is_closed.set()


def test_close_ends_the_read_and_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    blocked = BlockedStream()
    world = World(blocked)
    stop = threading.Event()
    thread = threading.Thread(target=world.follower.run, args=(stop,), daemon=True)
    thread.start()
    assert blocked.is_reading.wait(30)
    stop.set()
    world.follower.close()
    thread.join(30)
    assert not thread.is_alive()
    assert len(world.transport.opened) == 1
    assert not caplog.records


def test_a_stop_before_the_connection_is_there_is_seen() -> None:
    world = World(BlockedStream())
    stop = threading.Event()

    def where() -> str:
        stop.set()
        world.follower.close()
        return URL

    world.follower._url_of = where
    world.follower.run(stop)
    assert len(world.transport.opened) == 1


def assert_doubling(pauses: list[float], first: float = 0.1) -> None:
    """Each pause is twice the one before up to five seconds, and up to half as much again by chance."""
    for count, pause in enumerate(pauses):
        expected = min(first * 2**count, 5.0)
        assert expected <= pause <= expected * 1.5


def test_it_comes_back_at_once_and_then_ever_more_slowly() -> None:
    world = World()
    assert_doubling(world.pauses(10))
    assert world.follower.failures == 10
    assert world.follower.connects == 0


def test_a_heartbeat_makes_it_quick_again() -> None:
    world = World(*[TransportError("refused")] * 5, [heartbeat("1-a")], [b": no heartbeat\n\n"])
    pauses = world.pauses(8)
    assert_doubling(pauses[:5])
    assert_doubling(pauses[5:])
    assert (world.follower.connects, world.follower.failures) == (2, 6)


def test_not_all_come_back_at_the_same_moment() -> None:
    assert len({World().pauses(1)[0] for _ in range(8)}) > 1


@pytest.mark.parametrize("poison", [b"event: revocations\nid: 9\ndata: nonsense\n\n", b"data: " + b"x" * 9_000_000])
def test_a_malformed_event_is_no_busy_loop(poison: bytes) -> None:
    world = World(*[[heartbeat("1-a"), poison]] * 8)
    assert_doubling(world.pauses(8))
    assert [one["headers"].get("last-event-id") for one in world.transport.opened] == [None, *["1-a"] * 7]


@pytest.mark.parametrize("status", [401, 403])
def test_without_access_it_says_once_what_to_do_and_asks_rarely(status: int, caplog: pytest.LogCaptureFixture) -> None:
    world = World(*[FakeStream(iter([]), status=status) for _ in range(3)])
    assert all(pause >= 30 for pause in world.pauses(3))
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "mintmark client create billing --serves" in record.getMessage()
    assert str(status) in record.getMessage()


@pytest.mark.parametrize("status", [404, 501])
def test_an_authority_without_a_feed_is_asked_rarely(status: int, caplog: pytest.LogCaptureFixture) -> None:
    world = World(*[FakeStream(iter([]), status=status) for _ in range(3)])
    assert all(pause >= 30 for pause in world.pauses(3))
    [record] = caplog.records
    assert "no revocation feed" in record.getMessage()


@pytest.mark.spec("invariant I4")
def test_an_authority_out_of_order_is_asked_again_soon() -> None:
    world = World(*[FakeStream(iter([]), status=503) for _ in range(3)], [heartbeat("1-a")])
    assert_doubling(world.pauses(3))
    world.pauses(1)
    assert world.follower.caught_up.is_set()


def test_a_feed_whose_address_is_not_known_yet_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.url = None
    # Nobody was asked, so nobody is spared by waiting longer each time.
    assert world.pauses(4) == [0.1] * 4
    assert world.follower.failures == 0
    assert not caplog.records


@pytest.mark.spec("invariant I8")
def test_no_exception_ends_it_and_none_is_quoted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    header = World().follower._authorization
    world = World(ValueError(header), KeyError(SECRET), [heartbeat("0"), RuntimeError(SECRET)], [heartbeat("0")])
    world.pauses(4)
    assert world.follower.caught_up.is_set()
    said = caplog.text + repr(world.follower)
    assert all(name in said for name in ("ValueError", "KeyError", "RuntimeError"))
    assert SECRET not in said
    assert header not in said


def test_the_same_trouble_is_logged_once_until_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    outage = [TransportError("refused")] * 3
    world = World(*outage, [heartbeat("1-a")], *outage)
    world.pauses(7)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]


# --- all of it ---


@pytest.mark.spec("invariant I6")
@settings(deadline=None)
@given(
    counts=st.lists(st.integers(0, 3), max_size=6),
    breaks=st.lists(st.tuples(st.integers(1, 300), st.integers(0, 12)), max_size=12),
    size=st.integers(1, 200),
)
def test_wherever_it_breaks_nothing_is_missed(counts: list[int], breaks: list[tuple[int, int]], size: int) -> None:
    """Connections break after any octet; whenever the revocations count as fresh, all of them are known."""
    events = [
        revocations(str(index + 1), *(jti(f"{index}-{one}") for one in range(count)))
        for index, count in enumerate(counts)
    ]
    everything = [f"{index}-{one}" for index, count in enumerate(counts) for one in range(count)]
    world = World()
    freshest = -inf
    for length, pause in [*breaks, (10_000, 1)]:
        world.clock.advance(pause)
        resumed = int(world.follower.position or 0)
        raw = (b"retry: 1000\n\n" + b"".join(events[resumed:]) + heartbeat(str(len(events))))[:length]
        portions: list[Portion] = [raw[at : at + size] for at in range(0, len(raw), size)]
        with pytest.raises(TransportError, match="reset"):
            world.follow(*portions, TransportError("reset"))
        assert world.follower.fresh_until >= freshest
        freshest = world.follower.fresh_until
        if world.follower.caught_up.is_set():
            assert all(world.revokes(jti=name) for name in everything)
    assert world.follower.fresh_until == world.clock.uptime() + 15
    assert len(world.table) == len(everything)
