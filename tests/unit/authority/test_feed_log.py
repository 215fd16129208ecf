"""The log that the feed is read from: order, pages, positions."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.authority.feed import START, FeedLog, Page
from mintmark.oauth.revocations import KEPT_BEYOND_EXPIRY, Revocation


def entry(cursor: int, value: str = "", *, expires_at: int = 1000) -> Revocation:
    return Revocation(kind="jti", value=value or f"j{cursor}", expires_at=expires_at, cursor=cursor)


def log_of(*cursors: int) -> FeedLog:
    log = FeedLog()
    log.append([entry(cursor) for cursor in cursors])
    return log


def values(page: Page) -> list[Any]:
    entries: list[dict[str, Any]] = json.loads(b"[%b]" % page.entries)
    assert len(entries) == page.count
    return [each["jti"] for each in entries]


def test_an_empty_log() -> None:
    log = FeedLog()
    assert (len(log), log.newest, log.epoch) == (0, 0, 0)
    assert log.after(0, 10) == Page(b"", 0, 0, is_last=True)
    assert log.position(0) == log.position(7) == START
    assert log.resume(START) == 0


def test_entries_are_encoded_as_the_wire_has_them() -> None:
    log = FeedLog()
    log.append(
        [
            entry(3),
            Revocation(kind="sub", value='u"\n', before=5, expires_at=9, cursor=4),
            Revocation(kind="client_id", value="web", before=None, expires_at=9, cursor=9),
        ]
    )
    assert log.after(0, 10).entries == (
        b'{"jti":"j3","exp":1000},{"sub":"u\\"\\n","before":5,"exp":9},{"client_id":"web","exp":9}'
    )
    assert log.newest == 9


def test_pages_follow_one_another_and_the_last_says_so() -> None:
    log = log_of(2, 3, 5, 8)
    first = log.after(0, 2)
    assert (values(first), first.cursor, first.is_last) == (["j2", "j3"], 3, False)
    second = log.after(first.cursor, 2)
    assert (values(second), second.cursor, second.is_last) == (["j5", "j8"], 8, True)
    assert log.after(8, 2) == Page(b"", 0, 8, is_last=True)
    # A cursor need not be that of an entry (any more).
    assert values(log.after(4, 10)) == ["j5", "j8"]
    log.append([entry(9)])
    assert values(log.after(8, 2)) == ["j9"]


@given(st.sets(st.integers(1, 60)), st.integers(0, 61), st.integers(1, 7))
def test_whoever_follows_the_pages_has_everything_once(cursors: set[int], begin: int, limit: int) -> None:
    log = log_of(*sorted(cursors))
    seen, cursor, is_last = list[str](), begin, False
    while not is_last:
        page = log.after(cursor, limit)
        assert page.count <= limit
        seen += values(page)
        cursor, is_last = page.cursor, page.is_last
    assert seen == [f"j{each}" for each in sorted(cursors) if each > begin]


def test_entries_come_out_as_they_went_in() -> None:
    entries = [
        entry(3),
        Revocation(kind="sub", value='u"\n', before=5, expires_at=9, cursor=4),
        Revocation(kind="client_id", value="web", before=None, expires_at=9, cursor=9),
    ]
    log = FeedLog()
    log.append(entries)
    assert log.entries(0, 10) == entries
    assert log.entries(0, 2) == entries[:2]
    assert log.entries(3, 10) == entries[1:]
    assert log.entries(9, 10) == []


def test_a_position_leads_back_to_its_place() -> None:
    log = log_of(2, 3, 5)
    for cursor in (2, 3, 5):
        position = log.position(cursor)
        assert position.startswith(f"{cursor}-")
        assert log.resume(position) == cursor
    assert log.position(4) == START
    assert log.position(0) == START
    assert log.position(6) == START


@pytest.mark.parametrize(
    "position",
    [
        "",
        "0",
        "0-",
        "-",
        "3",
        "3-",
        "3-0",
        "x",
        "-3",
        "+3",
        " 3",
        "\u0663",
        "03",
        "1" * 30,
        "3-\u00fc",
        "\ud800",
        "0-00",
    ],
)
def test_a_position_nobody_gave_starts_over(position: str) -> None:
    log = log_of(2, 3, 5)
    assert log.resume(position) == 0
    assert log.resume("0" + log.position(3)) == 0
    assert log.resume(log.position(3) + "0") == 0
    assert log.resume(log.position(3)) == 3


@pytest.mark.spec("invariant I11")
def test_a_cursor_given_again_is_noticed_by_its_digest() -> None:
    """The store went back in time, and gives numbers out once more: for something else."""
    before = log_of(2, 3)
    position = before.position(3)
    after = FeedLog()
    after.append([entry(2), entry(3, "another"), entry(4)])
    assert after.resume(position) == 0
    assert after.resume(before.position(2)) == 2
    later = FeedLog()
    later.append([entry(2), entry(3, expires_at=1001)])
    assert later.resume(position) == 0


def test_what_is_forgotten_can_be_no_place_to_go_on_from() -> None:
    log = FeedLog()
    log.append([entry(1, expires_at=100), entry(2, expires_at=101), entry(3, expires_at=100)])
    positions = [log.position(cursor) for cursor in (1, 2, 3)]
    log.forget(99 + KEPT_BEYOND_EXPIRY)
    assert len(log) == 3
    log.forget(100 + KEPT_BEYOND_EXPIRY)
    assert values(log.after(0, 10)) == ["j2"]
    assert [log.resume(position) for position in positions] == [0, 2, 0]
    assert log.newest == 2
    assert log.epoch == 0
    log.append([entry(4)])
    assert values(log.after(2, 10)) == values(log.after(3, 10)) == ["j4"]


def test_starting_over_begins_a_new_epoch() -> None:
    log = log_of(5, 6)
    position = log.position(6)
    log.start_over()
    assert (len(log), log.newest, log.epoch) == (0, 0, 1)
    assert log.resume(position) == 0
    log.append([entry(1)])
    assert values(log.after(0, 10)) == ["j1"]
