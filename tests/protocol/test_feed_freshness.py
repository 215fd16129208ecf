"""Nobody who reads the feed may believe to be up to date with a node that is not (invariant I6, ADR 0021)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
from tests.support.feed import Event, Reader, Served, failing, serve_feed, settle

from mintmark.authority.ports import StoreUnavailableError
from mintmark.authority.reapplying import reapply
from mintmark.web.streaming import Feed, Pace

HEARTBEAT = Pace().heartbeat
BOUND = HEARTBEAT + 1
"""Seconds after the last reading of the store in which a heartbeat may be sent."""
pytestmark = pytest.mark.spec("invariant I6")


async def hang() -> None:
    await asyncio.Event().wait()


TROUBLES: dict[str, Callable[[], Awaitable[Any]]] = {
    "away": failing(StoreUnavailableError("the database is away")),
    "broken": failing(ValueError("what was read makes no sense")),
    "hangs": hang,
}


@pytest.fixture
async def served() -> Served:
    return await serve_feed()


def kinds(events: Iterable[Event]) -> list[str]:
    return [event.kind for event in events]


async def heartbeats(served: Served, reader: Reader, seconds: float) -> list[float]:
    """Return how many seconds from now on each heartbeat came."""
    began, came = served.timers.now, list[float]()
    while served.timers.now < began + seconds:
        await served.timers.advance(0.25)
        came += [served.timers.now - began for event in reader.take() if event.is_heartbeat]
    return came


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_node_that_no_longer_reads_its_store_soon_falls_silent(served: Served, trouble: str) -> None:
    """Whatever the reason is; and it goes on when the node does."""
    async with served.reader() as reader:
        reader.take()
        assert await heartbeats(served, reader, 3 * HEARTBEAT) == [HEARTBEAT, 2 * HEARTBEAT, 3 * HEARTBEAT]
        served.failing.troubles["revocations.after"] = TROUBLES[trouble]
        assert all(at <= BOUND for at in await heartbeats(served, reader, 60))
        served.recover()
        resumed = await heartbeats(served, reader, 2 * HEARTBEAT)
        assert resumed[0] <= 1
        assert resumed[1] == resumed[0] + HEARTBEAT


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_who_comes_to_a_node_that_no_longer_reads_its_store_hears_no_heartbeat(
    served: Served, trouble: str
) -> None:
    """Even if nobody read for a long time, so that the feed does not know since when."""
    await served.timers.advance(3600)
    served.failing.troubles["revocations.after"] = TROUBLES[trouble]
    await served.timers.advance(3600)
    async with served.reader() as reader:
        assert kinds(reader.take()) == []
        assert await heartbeats(served, reader, 60) == []
        served.recover()
        assert (await heartbeats(served, reader, 1))[0] <= 1


async def test_the_first_of_all_readers_need_not_wait_for_long(served: Served) -> None:
    feed = Feed(served.mint.authority, timers=lambda: served.timers)
    client = await served.mint.authority.store.clients.get("service")
    assert client is not None
    stream = feed.events(client, "0")
    assert b"retry" in await anext(stream)
    began, first = served.timers.now, asyncio.ensure_future(anext(stream))
    await settle()
    assert not first.done()
    await served.timers.advance(0.5)
    assert b"heartbeat" in await first
    assert served.timers.now - began == 0.5
    await stream.aclose()


async def test_a_feed_that_is_busy_knows_that_its_node_reads(served: Served) -> None:
    """For as long as something is sent there are no heartbeats; the next one is in time all the same."""
    async with served.reader() as reader:
        for number in range(10):
            await served.timers.advance(HEARTBEAT - 1)
            await served.revoke(f"j{number}")
        assert set(kinds(reader.take()[1:])) == {"revocations"}
        assert await heartbeats(served, reader, HEARTBEAT) == [HEARTBEAT]


@pytest.mark.parametrize("trouble", ["away", "broken"])
async def test_readings_that_failed_are_not_counted(served: Served, trouble: str) -> None:
    denylist, store = served.mint.authority.denylist, served.mint.authority.store
    before = denylist.pulls
    await denylist.pull(store)
    assert denylist.pulls == before + 1
    served.failing.troubles["revocations.after"] = TROUBLES[trouble]
    with pytest.raises((StoreUnavailableError, ValueError)):
        await denylist.pull(store)
    assert denylist.pulls == before + 1


@pytest.mark.spec("invariant I11")
async def test_a_heartbeat_names_no_place_in_a_log_that_was_started_over(served: Served) -> None:
    """The store went back while it was asked for the registration: the same cursor stands for what nobody has had."""
    backup = served.store.snapshot()
    await served.revoke("a", "b")
    log = served.mint.authority.denylist.log
    async with served.reader() as reader:
        assert [event.id for event in reader.take()] == [log.position(2)] * 2

        async def go_back() -> Any:
            served.failing.troubles = {}
            served.store.restore(backup)
            await served.write("c", "d", "e")
            await served.mint.authority.denylist.pull(served.mint.authority.store)
            await reapply(served.mint.authority)
            return await served.store.clients.get("service")

        served.failing.troubles["clients.get"] = go_back
        served.mint.clock.advance(1)  # registrations are remembered for a second
        await served.timers.advance(HEARTBEAT)
        (told,) = reader.take()
        await served.timers.advance(HEARTBEAT)
        (beat,) = reader.take()
    assert log.epoch == 1
    assert [entry["jti"] for entry in told.data] == ["c", "d", "e", "a", "b"]
    assert beat.is_heartbeat
    assert told.id == beat.id == log.position(5)


@pytest.mark.spec("invariant I11", "invariant I6")
async def test_nothing_says_that_nothing_was_missed_while_the_store_lacks_what_the_node_knows(served: Served) -> None:
    """A reader that comes now would not hear of it."""
    backup = served.store.snapshot()
    await served.revoke("a")
    served.store.restore(backup)
    await served.timers.advance(2 * BOUND)
    async with served.reader() as reader:
        await served.timers.advance(2 * HEARTBEAT)
        assert reader.take() == []
        await reapply(served.mint.authority)
        await served.timers.advance(HEARTBEAT)
        told, *beats = reader.take()
    assert [entry["jti"] for entry in told.data] == ["a"]
    assert beats
    assert all(beat.is_heartbeat for beat in beats)


@pytest.mark.spec("invariant I11")
async def test_nor_when_the_log_was_started_over_while_something_was_sent(served: Served) -> None:
    backup = served.store.snapshot()
    await served.revoke("a", "b")
    log = served.mint.authority.denylist.log
    client = await served.mint.authority.store.clients.get("service")
    assert client is not None
    stream = served.feed.events(client, "0")
    assert [await anext(stream) for _ in range(2)][1].startswith(b"event: revocations\nid: 2-")
    served.store.restore(backup)
    await served.revoke("c", "d", "e")
    assert b'"jti":"c"' in await anext(stream)
    assert await anext(stream) == b"event: heartbeat\nid: %b\ndata: {}\n\n" % log.position(3).encode()
    await stream.aclose()
