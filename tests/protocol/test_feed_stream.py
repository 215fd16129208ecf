"""The revocation feed as a stream: what is sent when, to whom it ends, and that readers share the work (ADR 0021)."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.protocol.inhabitants import change_client, client_of
from tests.support.feed import Event, Served, failing, serve_feed, settle
from tests.support.installation import Installation

from mintmark import bootstrap
from mintmark.authority.feed import FeedLog, Page
from mintmark.authority.ports import StoreUnavailableError
from mintmark.authority.registration import remove_client, rotate_secret, set_client_disabled
from mintmark.web.streaming import Pace

HEARTBEAT = Pace().heartbeat


@pytest.fixture
async def served() -> Served:
    return await serve_feed()


def names_in(events: Iterable[Event]) -> list[str]:
    return [entry["jti"] for event in events if not event.is_heartbeat for entry in event.data]


def kinds(events: Iterable[Event]) -> list[str]:
    return [event.kind for event in events]


async def test_the_wire_byte_for_byte(served: Served) -> None:
    """Content type, no cache, no proxy's buffer; then a block for each event."""
    await served.revoke("a", "b")
    log = served.mint.authority.denylist.log
    exp = served.mint.clock.now() + 900
    async with served.reader() as reader:
        assert reader.status == 200
        assert reader.headers[b"content-type"] == b"text/event-stream"
        assert reader.headers[b"cache-control"] == b"no-store"
        assert reader.headers[b"x-accel-buffering"] == b"no"
        assert b"content-length" not in reader.headers
        assert reader.parts == [
            b"retry: 1000\n\n",
            b'event: revocations\nid: %b\ndata: [{"jti":"a","exp":%d},{"jti":"b","exp":%d}]\n\n'
            % (log.position(2).encode(), exp, exp),
            b"event: heartbeat\nid: %b\ndata: {}\n\n" % log.position(2).encode(),
        ]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (b"text/event-stream", True),
        (b"application/json, TEXT/Event-Stream;q=0.5", True),
        (b"*/*", False),
        (b"text/*", False),
        (b"application/json", False),
        (b"text/event-streams", False),
    ],
)
async def test_whoever_names_the_media_type_gets_the_stream(served: Served, accept: bytes, *, expected: bool) -> None:
    reader = served.reader()
    reader._scope["headers"][1] = (b"accept", accept)
    async with reader:
        assert (reader.headers[b"content-type"] == b"text/event-stream") is expected


async def test_the_first_heartbeat_says_that_everything_was_sent(served: Served) -> None:
    await served.revoke(*(f"j{number}" for number in range(2_500)))
    async with served.reader() as reader:
        events = reader.take()
    assert kinds(events) == ["revocations"] * 3 + ["heartbeat"]
    assert [len(each.data) for each in events[:3]] == [1000, 1000, 500]
    assert names_in(events) == [f"j{number}" for number in range(2_500)]


async def test_a_heartbeat_comes_when_nothing_else_did_for_a_while(served: Served) -> None:
    async with served.reader() as reader:
        assert [(each.kind, each.id) for each in reader.take()] == [("heartbeat", "0")]
        await served.timers.advance(HEARTBEAT - 0.001)
        assert reader.take() == []
        await served.timers.advance(0.001)
        assert kinds(reader.take()) == ["heartbeat"]
        await served.timers.advance(HEARTBEAT - 1)
        await served.revoke("a")
        (sent,) = reader.take()
        assert names_in([sent]) == ["a"]
        await served.timers.advance(HEARTBEAT - 0.001)
        assert reader.take() == []
        await served.timers.advance(0.001)
        assert [(each.kind, each.id) for each in reader.take()] == [("heartbeat", sent.id)]


async def test_what_comes_close_together_is_sent_together(served: Served) -> None:
    """The first after a quiet moment goes out at once; those that follow within 40 ms wait for one another."""
    async with served.reader() as reader:
        reader.take()
        await served.revoke("a")
        assert names_in(reader.take()) == ["a"]
        await served.timers.advance(0.005)
        await served.revoke("b")
        await served.timers.advance(0.005)
        await served.revoke("c", "d")
        await served.timers.advance(0.029)
        assert reader.take() == []
        await served.timers.advance(0.002)
        (sent,) = reader.take()
        assert names_in([sent]) == ["b", "c", "d"]
        await served.timers.advance(0.005)
        await served.revoke("e")
        assert reader.take() == []
        await served.timers.advance(0.05)
        assert names_in(reader.take()) == ["e"]
        await served.timers.advance(0.05)
        await served.revoke("f")
        assert names_in(reader.take()) == ["f"]


async def test_whatever_two_hundred_read_is_encoded_once(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    encodings = []
    real = FeedLog.after

    def counted(log: FeedLog, cursor: int, limit: int) -> Page:
        encodings.append(cursor)
        return real(log, cursor, limit)

    monkeypatch.setattr(FeedLog, "after", counted)
    readers = [served.reader() for _ in range(200)]
    for reader in readers:
        await reader.__aenter__()
    for names in (("a", "b"), ("c",), ("d",)):
        await served.quiet()
        for reader in readers:
            reader.take()
        await served.revoke(*names)
        for _ in range(10):
            await settle()
        assert all(names_in(reader.take()) == list(names) for reader in readers)
    assert encodings == [0, 2, 3]
    assert len({id(reader.parts[-1]) for reader in readers}) == 1
    for reader in readers:
        await reader.__aexit__()
    assert served.mint.authority.denylist.on_change == set()


@pytest.mark.parametrize("by", ["header", "parameter", "both"])
async def test_a_reader_goes_on_where_it_was(served: Served, by: str) -> None:
    await served.revoke("a", "b")
    async with served.reader() as reader:
        position = reader.take()[-1].id
    await served.revoke("c")
    headers, query = [(b"last-event-id", position.encode())], f"cursor={position}".encode()
    match by:
        case "header":
            again = served.reader(*headers)
        case "parameter":
            again = served.reader(query=query)
        case _:
            # The URL is that of its first connection; where it was afterwards counts.
            again = served.reader(*headers, query=b"cursor=0")
    async with again:
        assert names_in(again.take()) == ["c"]


@pytest.mark.parametrize("position", [b"", b"0", b"x", b"7-abcdef", b"1-000000000000", b"\xff", b"1" * 5000])
async def test_a_position_nobody_gave_starts_over(served: Served, position: bytes) -> None:
    await served.revoke("a", "b")
    async with served.reader((b"last-event-id", position)) as reader:
        assert names_in(reader.take()) == ["a", "b"]


async def test_an_empty_header_leaves_it_to_the_parameter(served: Served) -> None:
    await served.revoke("a")
    position = served.mint.authority.denylist.log.position(1)
    async with served.reader((b"last-event-id", b""), query=f"cursor={position}".encode()) as reader:
        assert kinds(reader.take()) == ["heartbeat"]


@pytest.mark.spec("invariant I11")
async def test_when_the_store_went_back_everybody_starts_over(served: Served) -> None:
    """Cursors are given out again: a reader that went on from its own would miss what they stand for now."""
    backup = served.store.snapshot()
    await served.revoke("a", "b", "c")
    async with served.reader() as reader:
        await served.quiet()
        position = reader.take()[-1].id
        served.store.restore(backup)
        await served.revoke("d", "e")
        assert names_in(reader.take()) == ["d", "e"]
        await served.quiet()
        await served.revoke("f", "g")
        assert names_in(reader.take()) == ["f", "g"]
    async with served.reader((b"last-event-id", position.encode())) as again:
        assert names_in(again.take()) == ["d", "e", "f", "g"]


async def test_an_entry_forgotten_under_a_reader_costs_it_nothing(served: Served) -> None:
    await served.revoke("a")
    async with served.reader() as reader:
        served.mint.clock.advance(900 + 300)
        await served.mint.authority.upkeep(10)
        reader.take()
        await served.revoke("b")
        await served.timers.advance(HEARTBEAT)
        events = reader.take()
        assert names_in(events) == ["b"]
        assert events[-1].is_heartbeat


async def test_a_reader_that_takes_nothing_holds_up_nobody_and_is_cut_off(served: Served) -> None:
    """The others go on at once; it is sent away, and finds everything when it comes back."""
    served.feed.pace = Pace(patience=0)
    async with served.reader() as slow, served.reader() as reader:
        position = slow.take()[-1].id
        slow.gate.clear()
        with capture_logs() as logs:
            await served.revoke("a")
            await slow.ended()
        assert slow.was_cut_off
        assert [entry["event"] for entry in logs] == ["cut off"]
        assert names_in(reader.take()) == ["a"]
        await served.quiet()
        await served.revoke("b")
        assert names_in(reader.take()) == ["b"]
        assert not reader.is_over
    async with served.reader((b"last-event-id", position.encode())) as again:
        assert names_in(again.take()) == ["a", "b"]


async def test_while_a_reader_takes_its_time_nothing_piles_up_for_it(served: Served) -> None:
    """It has a place and no queue: what comes while one event is under way comes together afterwards."""
    async with served.reader() as slow:
        slow.take()
        slow.gate.clear()
        for name in "abcd":
            await served.quiet()
            await served.revoke(name)
        slow.gate.set()
        await settle()
        assert [[entry["jti"] for entry in each.data] for each in slow.take()] == [["a"], ["b", "c", "d"]]


async def test_a_stream_ends_by_itself_and_not_all_at_once(served: Served) -> None:
    """After 10 to 15 minutes, so that the reader authenticates again."""
    shortest, longest = Pace().life
    assert (shortest, longest) == (600, 900)
    began = served.timers.now
    async with served.reader() as one, served.reader() as other:
        await served.timers.advance(shortest - 0.001)
        assert (one.is_over, other.is_over) == (False, False)
        while not (one.is_over or other.is_over):
            await served.timers.advance(1)
        assert one.is_over != other.is_over
        await served.timers.advance(began + longest - served.timers.now)
        assert (one.is_whole, other.is_whole) == (True, True)


async def _disable(mint: Installation) -> None:
    await set_client_disabled(mint.authority, await client_of(mint, "service"), is_disabled=True)


async def _remove(mint: Installation) -> None:
    await remove_client(mint.authority, await client_of(mint, "service"))


async def _rotate(mint: Installation) -> None:
    await rotate_secret(mint.authority, await client_of(mint, "service"))


async def _serve_nothing(mint: Installation) -> None:
    await change_client(mint, "service", serves=())


@pytest.mark.spec("T11")
@pytest.mark.parametrize("change", [_disable, _remove, _rotate, _serve_nothing])
@pytest.mark.parametrize("is_busy", [False, True])
async def test_whoever_might_not_be_let_in_now_is_sent_away(served: Served, change: Any, *, is_busy: bool) -> None:
    """At the next heartbeat, or when it would have been due; properly, and without another word."""
    async with served.reader() as reader, served.reader() as other:
        assert kinds(other.take()) == ["heartbeat"]
        await served.timers.advance(HEARTBEAT - 1)
        await change(served.mint)
        await settle()
        reader.take()
        assert not reader.is_over
        if is_busy:
            await served.timers.advance(0.5)
            await served.revoke("a")
        await served.timers.advance(1)
        assert reader.is_whole
        assert not any(each.is_heartbeat for each in reader.take())


async def test_other_changes_of_its_registration_leave_a_reader_alone(served: Served) -> None:
    async with served.reader() as reader:
        await change_client(served.mint, "service", name="Another name", serves=("https://reports.example",))
        await set_client_disabled(served.mint.authority, await client_of(served.mint, "web"), is_disabled=True)
        await served.timers.advance(3 * HEARTBEAT)
        assert not reader.is_over
        assert kinds(reader.take()).count("heartbeat") > 2


@pytest.mark.spec("invariant I4")
async def test_an_outage_of_the_store_ends_no_stream(served: Served) -> None:
    """Nobody would be let in again; but what is found out after it counts."""
    async with served.reader() as reader, served.reader() as other:
        away = failing(StoreUnavailableError("the database is away"))
        served.failing.troubles = {"clients.get": away, "revocations.after": away}
        for _ in range(3):
            served.failing.watch()
            await served.timers.advance(HEARTBEAT)
            assert served.failing.calls.count("clients.get") == 2
        assert (reader.is_over, other.is_over) == (False, False)
        served.failing.troubles = {}
        reader.take()
        await served.timers.advance(HEARTBEAT)
        assert set(kinds(reader.take())) == {"heartbeat"}
        await _disable(served.mint)
        await served.timers.advance(HEARTBEAT)
        assert (reader.is_whole, other.is_whole) == (True, True)


async def test_a_reader_that_leaves_leaves_nothing_behind(served: Served) -> None:
    async with served.reader() as reader, served.reader():
        assert served.timers.waiting == 2
        assert len(served.mint.authority.denylist.on_change) == 1
        reader.leave()
        await reader.ended()
        assert served.timers.waiting == 1
    assert served.timers.waiting == 0
    assert served.mint.authority.denylist.on_change == set()
    await served.revoke("a", "b")
    assert served.timers.waiting == 0


async def test_two_applications_of_one_authority_are_both_told(served: Served) -> None:
    other = replace(served, app=bootstrap.application(served.mint.authority))
    async with served.reader() as one, other.reader() as two:
        one.take(), two.take()
        await served.revoke("a")
        assert names_in(one.take()) == names_in(two.take()) == ["a"]


async def test_when_the_feed_is_closed_all_streams_end(served: Served) -> None:
    """And one that begins then ends as well."""
    async with served.reader() as one, served.reader() as other:
        served.feed.close()
        await one.ended()
        await other.ended()
        assert (one.is_whole, other.is_whole) == (True, True)
    served.feed.close()
    async with served.reader() as late:
        await late.ended()
        assert late.is_whole
