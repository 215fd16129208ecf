"""Following the feed on a thread of its own: whatever happens, it goes on."""

import logging
import threading
from collections.abc import Mapping
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.verifier.feed_things import (
    EVENT_STREAM,
    SECRET,
    URL,
    FakeStream,
    Portion,
    World,
    heartbeat,
    jti,
    revocations,
)

from mintmark.verifier.ports import TransportError


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
