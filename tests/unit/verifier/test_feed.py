"""Following the feed: what is heard, and how fresh it is."""

from base64 import b64decode
from collections.abc import Sequence
from math import inf
from typing import Any

import pytest
from tests.unit.verifier.feed_things import EXP, URL, FakeStream, World, heartbeat, jti, revocations

from mintmark.oauth.revocations import WireEntry
from mintmark.verifier.feed import FeedMalformed, FeedRefused
from mintmark.verifier.ports import TransportError


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
