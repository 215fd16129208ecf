"""When the keeper of keys asks: unknown kids, stampedes, emergencies; what it tells; forks."""

import logging
import os
import random
import threading
from typing import Any

import pytest
from tests.support.key_keeping import DOWN, JWKS, ONE, THREE, TWO, World
from tests.support.verifying import (
    ISSUER,
    Asked,
    end_after,
    json_response,
    jwks_response,
)

from mintmark.verifier.keys import KeyKeeper
from mintmark.verifier.ports import Response, TransportError


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def ready() -> World:
    return World.ready()


@pytest.mark.spec("S05")
def test_an_unknown_kid_fetches_the_key_that_was_published_since(ready: World) -> None:
    ready.publish(ONE, TWO)
    assert ready.keeper.may_find("two")
    ready.keeper.find("two")
    assert ready.kids() == {"one", "two"}
    assert not ready.keeper.may_find("two")


def test_a_known_kid_fetches_nothing(ready: World) -> None:
    assert not ready.keeper.may_find("one")
    ready.keeper.find("one")
    assert ready.fetches() == 1


@pytest.mark.parametrize("answer", [None, DOWN], ids=["after a success", "after a failure"])
def test_unknown_kids_ask_at_most_once_in_five_seconds_from_the_end_of_any_attempt(
    world: World, answer: TransportError | None
) -> None:
    def slowly(_asked: Asked) -> Response:
        world.clock.advance(3)
        if answer is not None:
            raise answer
        return jwks_response(ONE)

    world.transport.answers[JWKS] = slowly
    world.keeper.refresh()
    world.clock.advance(4.9)
    assert not world.keeper.may_find("x")
    world.keeper.find("x")
    assert world.fetches() == 1
    world.clock.advance(0.1)
    assert world.keeper.may_find("x")
    world.keeper.find("x")
    assert world.fetches() == 2
    world.clock.advance(4.9)
    assert not world.keeper.may_find("y")
    world.clock.advance(0.1)
    assert world.keeper.may_find("y")


def test_a_kid_that_was_not_found_is_not_asked_for_again_for_a_minute(ready: World) -> None:
    ready.keeper.find("x")
    ready.clock.advance(59.9)
    assert not ready.keeper.may_find("x")
    assert ready.keeper.may_find("y")
    ready.clock.advance(0.1)
    assert ready.keeper.may_find("x")


def test_a_fetch_that_failed_does_not_say_that_a_kid_is_unknown(ready: World) -> None:
    ready.transport.answers[JWKS] = DOWN
    ready.keeper.find("two")
    ready.publish(ONE, TWO)
    ready.clock.advance(5)
    ready.keeper.find("two")
    assert "two" in ready.kids()


def test_a_kid_that_was_not_found_is_known_once_it_is_published(ready: World) -> None:
    ready.keeper.find("two")
    ready.publish(ONE, TWO)
    ready.keeper.refresh()
    assert "two" in ready.kids()


@pytest.mark.slow
def test_a_thousand_kids_that_were_not_found_are_remembered_the_oldest_go_first(ready: World) -> None:
    # One fetch has to answer for many, or the first would be forgotten for their age.
    waiting = [f"kid-{number}" for number in range(1001)]
    ready.keeper.find(waiting[0])
    ready.clock.advance(5)
    together(ready, [lambda kid=kid: ready.keeper.find(kid) for kid in waiting[1:]])
    ready.clock.advance(5)
    assert ready.keeper.may_find(waiting[0])
    assert not any(ready.keeper.may_find(kid) for kid in waiting[1:])


@pytest.mark.spec("S05")
def test_ten_thousand_random_kids_cause_a_handful_of_fetches(ready: World) -> None:
    source = random.Random(7)
    for _ in range(10_000):
        ready.keeper.find(f"{source.getrandbits(64):x}")
    assert ready.fetches() == 2
    for _ in range(10_000):
        ready.clock.advance(0.002)
        ready.keeper.find(f"{source.getrandbits(64):x}")
    # 20 seconds went by.
    assert ready.fetches() <= 2 + 4


def test_a_kid_that_no_key_can_have_fetches_nothing(ready: World) -> None:
    assert ready.keeper.may_find("x" * 256)
    assert not ready.keeper.may_find("x" * 257)


def test_before_the_first_keys_an_unknown_kid_may_fetch_them(world: World) -> None:
    assert world.keeper.may_find("one")
    world.keeper.find("one")
    assert world.kids() == {"one"}


# One fetch for all


def together(world: World, calls: list[Any]) -> list[Any]:
    """Make the calls on as many threads; the authority answers only when all of them have boarded its one answer."""
    boarded, all_there = 0, threading.Event()
    outcomes: list[Any] = []
    answer = world.transport.answers[JWKS]
    board = world.keeper._board

    def counting() -> Any:
        nonlocal boarded
        # Under the keeper's lock, as every boarding is.
        boarded += 1
        if boarded == len(calls):
            all_there.set()
        return board()

    def patiently(_asked: Asked) -> Response:
        assert all_there.wait(60)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Response)
        return answer

    world.transport.answers[JWKS] = patiently
    world.keeper._board = counting  # type: ignore[method-assign]
    threads = [threading.Thread(target=lambda call=call: outcomes.append(call())) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.transport.answers[JWKS] = answer
    world.keeper._board = board  # type: ignore[method-assign]
    return outcomes


@pytest.mark.spec("S05")
def test_a_thousand_threads_share_one_fetch(ready: World) -> None:
    ready.publish(ONE, TWO)
    calls = [ready.keeper.refresh, lambda: ready.keeper.find("two")] * 500
    outcomes = together(ready, calls)
    assert ready.fetches() == 2
    assert sorted(outcomes, key=str) == [None] * 500 + [True] * 500
    assert ready.keeper.fetches == 2


@pytest.mark.slow
def test_a_thousand_threads_share_one_failure(ready: World) -> None:
    ready.transport.answers[JWKS] = DOWN
    assert together(ready, [ready.keeper.refresh] * 1000) == [False] * 1000
    assert (ready.keeper.fetches, ready.keeper.failures) == (2, 1)


# Emergencies


def test_a_dropped_key_is_gone_at_once_and_stays_away_whatever_is_published(ready: World) -> None:
    ready.publish(ONE, TWO)
    ready.keeper.refresh()
    former = ready.keeper.keys
    ready.keeper.drop("one", ready.clock.now() + 900)
    assert ready.kids() == {"two"}
    assert ready.keeper.keys is not former
    assert ready.changes == 3
    for _ in range(2):
        ready.publish(ONE, TWO, THREE)
        assert ready.keeper.refresh()
    assert ready.kids() == {"two", "three"}
    ready.clock.advance(900)
    ready.keeper.refresh()
    assert ready.kids() == {"one", "two", "three"}


def test_a_key_may_be_dropped_before_it_was_ever_seen(world: World) -> None:
    world.keeper.drop("one", world.clock.now() + 900)
    assert world.changes == 0
    world.publish(ONE, TWO)
    world.keeper.refresh()
    assert world.kids() == {"two"}


def test_a_dropped_key_does_not_return_with_a_fetch_that_was_under_way(ready: World) -> None:
    def meanwhile(_asked: Asked) -> Response:
        ready.keeper.drop("one", ready.clock.now() + 900)
        return jwks_response(ONE, TWO)

    ready.transport.answers[JWKS] = meanwhile
    ready.keeper.refresh()
    assert ready.kids() == {"two"}


def test_nobody_asks_for_a_dropped_key(ready: World) -> None:
    ready.keeper.drop("one", ready.clock.now() + 900)
    assert not ready.keeper.may_find("one")
    ready.clock.advance(900)
    assert ready.keeper.may_find("one")


def test_dropping_the_last_key_leaves_none_that_is_good(ready: World) -> None:
    ready.keeper.drop("one", ready.clock.now() + 900)
    assert ready.kids() == set()
    assert ready.keeper.refresh()
    assert ready.kids() == set()


def test_the_later_end_counts_and_a_repetition_changes_nothing(ready: World) -> None:
    ready.keeper.drop("one", ready.clock.now() + 900)
    ready.keeper.drop("one", ready.clock.now() + 10)
    assert ready.changes == 2
    ready.clock.advance(899)
    ready.keeper.refresh()
    assert ready.kids() == set()


def test_drops_whose_time_has_come_are_forgotten(ready: World) -> None:
    for number in range(100):
        ready.keeper.drop(f"kid-{number}", ready.clock.now() + 1)
        ready.clock.advance(1)
    assert len(ready.keeper._dropped) == 1


# What is told


def test_a_failure_and_its_end_are_told_once(ready: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mintmark.verifier")
    ready.transport.answers[JWKS] = DOWN
    for _ in range(5):
        ready.keeper.refresh()
    ready.publish(ONE)
    for _ in range(5):
        ready.keeper.refresh()
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", f"the keys of {ISSUER} cannot be fetched: no answer in time"),
        ("INFO", f"the keys of {ISSUER} can be fetched again"),
    ]


@pytest.mark.spec("S07")
def test_what_came_back_is_not_told(ready: World, caplog: pytest.LogCaptureFixture) -> None:
    for answer in (
        Response(200, {}, b'{"keys": "hush-hush"'),
        json_response({"keys": "hush-hush"}),
        ValueError("hush-hush"),
    ):
        ready.transport.answers[JWKS] = answer
        ready.keeper.refresh()
    assert len(caplog.records) == 2
    assert "hush" not in caplog.text


def test_attempts_and_failures_are_counted(ready: World) -> None:
    ready.transport.answers[JWKS] = DOWN
    ready.keeper.refresh()
    ready.keeper.refresh()
    assert (ready.keeper.fetches, ready.keeper.failures) == (3, 2)


# Forks


def test_a_child_forgets_the_fetch_of_a_thread_that_it_does_not_have(ready: World) -> None:
    inside, go = threading.Event(), threading.Event()

    def patiently(_asked: Asked) -> Response:
        inside.set()
        assert go.wait(60)
        return jwks_response(ONE)

    ready.transport.answers[JWKS] = patiently
    thread = threading.Thread(target=ready.keeper.refresh)
    thread.start()
    assert inside.wait(60)
    child = os.fork()
    if child == 0:
        end_after(30)
        # No exception may come out of here: the child would go on as a second pytest.
        try:
            ready.keeper.reset_after_fork()
            ready.publish(TWO)
            is_fine = ready.kids() == {"one"} and ready.keeper.refresh() and ready.kids() == {"two"}
        except BaseException:  # noqa: BLE001
            is_fine = False
        os._exit(0 if is_fine else 1)
    _, status = os.waitpid(child, 0)
    go.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0


def test_the_workers_of_one_server_do_not_refresh_in_step(ready: World) -> None:
    twins = []
    for _ in range(2):
        keeper = KeyKeeper(ISSUER, ready.transport, ready.clock, on_change=lambda: None, randomness=random.Random(1))
        keeper.reset_after_fork()
        keeper.refresh()
        twins.append(keeper.due_in())
    assert twins[0] != twins[1]
