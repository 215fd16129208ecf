"""One issuer: how it begins and how it ends, and which threads there are in between."""

import gc
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from tests.support.issuers import Authority, verifier
from tests.unit.verifier.source_things import is_accepted, metric, wait_until

from mintmark.verifier import VerifierUnavailable, source
from mintmark.verifier.source import STALE_AFTER, Source


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("mintmark-")}


@pytest.fixture
def started() -> Iterator[Callable[[], set[threading.Thread]]]:
    """The threads that were started since the test began."""
    before = threads()
    yield lambda: threads() - before
    gc.collect()
    for thread in threads() - before:
        thread.join(5)


# --- the beginning


def test_nothing_happens_before_the_first_request(authority: Authority, started: Any) -> None:
    made = verifier(authority, is_ready=False)
    assert started() == set()
    assert authority.network.asked == []
    made.close()


@pytest.mark.spec("invariant I6")
def test_the_first_request_waits_for_the_revocations(authority: Authority, started: Any) -> None:
    authority.feed.is_live = True
    authority.revoke(jti="gone")
    with verifier(authority, is_ready=False) as made:
        assert not is_accepted(made, authority.token(jti="gone"))
        assert is_accepted(made, authority.token())
        assert {thread.name for thread in started()} == {"mintmark-keys", "mintmark-revocations"}
        assert all(thread.daemon for thread in started())


def test_without_a_client_there_is_nothing_to_wait_for(authority: Authority, started: Any) -> None:
    with verifier(authority, is_client=False, is_ready=False) as made:
        authority.clock.advance(10_000)
        assert is_accepted(made, authority.token())
        assert {thread.name for thread in started()} == {"mintmark-keys"}
        assert authority.feed.connections == []
        assert metric(made, authority, "feed_stale") == 0


@pytest.mark.spec("invariant I6")
def test_it_does_not_wait_for_ever(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_START_PATIENCE", 0.01)
    authority.network.feeds.clear()
    with verifier(authority, is_ready=False) as made:
        assert is_accepted(made, authority.token())
        with pytest.raises(VerifierUnavailable):
            made.verify(authority.token(), on_stale="deny")
        assert metric(made, authority, "feed_stale") == 1


def test_a_closed_one_waits_for_nothing(authority: Authority, monkeypatch: pytest.MonkeyPatch, started: Any) -> None:
    monkeypatch.setattr(source, "_START_PATIENCE", 600)
    made = verifier(authority, is_ready=False)
    made.close()
    assert is_accepted(made, authority.token())
    assert started() == set()


@pytest.mark.spec("invariant I6")
def test_what_was_down_at_the_start_is_waited_for_when_it_comes(authority: Authority) -> None:
    authority.feed.is_live = True
    authority.revoke(jti="gone")
    authority.network.is_down = True
    with verifier(authority, is_ready=False) as made:
        with pytest.raises(VerifierUnavailable):
            made.verify(authority.token())
        authority.network.is_down = False
        authority.clock.advance(2)
        # Without the wait it would be accepted: the keys are there at once, the revocations a moment later.
        assert not is_accepted(made, authority.token(jti="gone"))
        assert is_accepted(made, authority.token())


# --- the end


def test_closing_ends_the_threads(authority: Authority, started: Any) -> None:
    authority.feed.is_live = True
    made = verifier(authority, is_ready=False)
    raw = authority.token()
    made.verify(raw)
    running = started()
    assert len(running) == 2
    made.close()
    for thread in running:
        thread.join(5)
    assert not any(thread.is_alive() for thread in running)
    # What is in memory goes on ageing.
    assert is_accepted(made, raw)
    authority.clock.advance(STALE_AFTER)
    with pytest.raises(VerifierUnavailable):
        made.verify(raw, on_stale="deny")
    made.close()


def test_letting_go_of_a_verifier_ends_its_threads(authority: Authority, started: Any) -> None:
    authority.feed.is_live = True
    made = verifier(authority, is_ready=False)
    made.verify(authority.token())
    running = started()
    gone = weakref.ref(made)
    del made
    gc.collect()
    assert gone() is None
    for thread in running:
        thread.join(5)
    assert len(running) == 2
    assert not any(thread.is_alive() for thread in running)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_follows_on_its_own(authority: Authority, started: Any) -> None:
    authority.feed.is_live = True
    made = verifier(authority, is_ready=False)
    raw, gone = authority.token(), authority.token(jti="gone")
    assert is_accepted(made, raw)
    assert is_accepted(made, gone)
    child = os.fork()
    if child == 0:
        verdict = 1
        with suppress(BaseException):
            assert threads() == set()
            # Nobody follows yet: what the parent heard lately says nothing about this moment.
            assert metric(made, authority, "feed_stale") == 1
            # The parent never hears of this: it is in the child's memory only.
            authority.revoke(jti="gone")
            assert not is_accepted(made, gone)
            assert is_accepted(made, raw)
            assert len(threads()) == 2
            verdict = 0
        os._exit(verdict)
    ended: list[int] = []

    def has_ended() -> bool:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            ended.append(os.waitstatus_to_exitcode(status))
        return bool(pid)

    wait_until(has_ended)
    assert ended == [0]
    assert is_accepted(made, gone)
    assert len(started()) == 2
    made.close()


def test_in_a_child_nothing_is_up_to_date_until_its_own_threads_run(authority: Authority) -> None:
    made = Source(authority.issuer(is_client=False), transport=authority.network, clock=authority.clock, leeway=30)
    made.prepare()
    assert made.state.fresh_until > authority.clock.uptime()
    made.close()
    made.reset_after_fork()
    assert made.state.fresh_until < authority.clock.uptime()


def test_a_child_is_not_held_up_by_a_thread_of_its_parent(authority: Authority) -> None:
    made = Source(authority.issuer(), transport=authority.network, clock=authority.clock, leeway=30)
    assert made._starting.acquire(timeout=1)
    assert made._saying.acquire(timeout=1)
    made.close()
    made.reset_after_fork()
    authority.feed.is_live = True
    done = threading.Thread(target=made.prepare, daemon=True)
    done.start()
    done.join(5)
    assert not done.is_alive()
    assert made.is_prepared
    made.close()
