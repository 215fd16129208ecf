"""Server-sent events out of octets in whatever portions they arrive."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mintmark.verifier import feed
from mintmark.verifier.feed import Event, EventReader, FeedMalformed

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
