"""Asking the issuer from many threads: how many questions that costs, and who waits for whom."""

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from tests.support.verifying import FakeClock
from tests.unit.verifier.introspection_things import ACTIVE, FakeTransport, introspector, said

from mintmark.verifier import introspection
from mintmark.verifier.errors import TokenRejected, VerifierUnavailable
from mintmark.verifier.introspection import MAX_QUESTIONS, Introspector
from mintmark.verifier.ports import Response, TransportError


class CountedWaits(threading.Event):
    """An event that tells how many have come to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        self.waiting.release()
        return super().wait(timeout)


class Gate:
    """A transport's answer that is held back until told."""

    def __init__(self, answer: Mapping[str, Any] | Exception = ACTIVE) -> None:
        self.arrived = threading.Semaphore(0)
        self.is_open = threading.Event()
        self.answer = answer

    def __call__(self, _: str) -> Response:
        self.arrived.release()
        assert self.is_open.wait(30)
        if isinstance(self.answer, Exception):
            raise self.answer
        return said(self.answer)


def ask_together(
    asking: Introspector, gate: Gate, pool: ThreadPoolExecutor, followers: int
) -> list[Future[Mapping[str, Any]]]:
    """Ask the same question from several threads: one is at the authority, the others are known to wait for it."""
    first = pool.submit(asking.ask, "t")
    assert gate.arrived.acquire(timeout=30)
    waits = asking._under_way["t"].is_answered = CountedWaits()
    others = [pool.submit(asking.ask, "t") for _ in range(followers)]
    for _ in others:
        assert waits.waiting.acquire(timeout=30)
    return [first, *others]


def test_the_same_question_at_the_same_time_is_asked_once() -> None:
    gate = Gate()
    transport = FakeTransport(gate)
    asking = introspector(transport)
    with ThreadPoolExecutor(8) as pool:
        futures = ask_together(asking, gate, pool, 7)
        gate.is_open.set()
        answers = [future.result(30) for future in futures]
    assert len(transport.asked) == asking.asked == 1
    assert all(answer == answers[0] for answer in answers)
    asking.ask("t")
    assert asking.asked == 2


def test_whoever_shares_a_refusal_gets_an_exception_of_its_own() -> None:
    gate = Gate({**ACTIVE, "exp": 1})
    asking = introspector(FakeTransport(gate))
    with ThreadPoolExecutor(4) as pool:
        futures = ask_together(asking, gate, pool, 3)
        gate.is_open.set()
        errors = [future.exception(30) for future in futures]
    assert len({id(error) for error in errors}) == 4
    assert [(error.code, error.claim) for error in errors if isinstance(error, TokenRejected)] == [
        ("expired", "exp")
    ] * 4


def test_a_question_that_fails_unexpectedly_leaves_nobody_waiting() -> None:
    gate = Gate(MemoryError())
    asking = introspector(FakeTransport(gate))
    with ThreadPoolExecutor(3) as pool:
        first, *others = ask_together(asking, gate, pool, 2)
        gate.is_open.set()
        assert isinstance(first.exception(30), MemoryError)
        assert all(isinstance(other.exception(30), VerifierUnavailable) for other in others)
    gate.answer = ACTIVE
    assert asking.ask("t")["sub"] == "alice"


def test_nobody_waits_for_ever_for_another_ones_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introspection, "_TIMEOUT", 0.01)
    gate = Gate()
    asking = introspector(FakeTransport(gate))
    with ThreadPoolExecutor(2) as pool:
        first, second = ask_together(asking, gate, pool, 1)
        assert isinstance(second.exception(30), VerifierUnavailable)
        gate.is_open.set()
        assert first.result(30)["sub"] == "alice"


@pytest.mark.spec("S07")
def test_so_many_questions_at_once_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    transport = FakeTransport(gate)
    asking = introspector(transport)
    with ThreadPoolExecutor(MAX_QUESTIONS) as pool:
        futures = [pool.submit(asking.ask, f"t{one}") for one in range(MAX_QUESTIONS)]
        for _ in futures:
            assert gate.arrived.acquire(timeout=30)
        monkeypatch.setattr(introspection, "_TIMEOUT", 0.01)
        with pytest.raises(VerifierUnavailable):
            asking.ask("one too many")
        assert len(transport.asked) == MAX_QUESTIONS == 16
        assert asking.failures == 1
        gate.is_open.set()
        assert all(future.result(30)["sub"] == "alice" for future in futures)
    # Turns are given back, also after questions that failed.
    gate.answer = TransportError("refused")
    for one in range(2 * MAX_QUESTIONS):
        with pytest.raises(VerifierUnavailable):
            asking.ask(f"t{one}")
    gate.answer = ACTIVE
    assert asking.ask("t")["sub"] == "alice"


class PassingClock(FakeClock):
    """Moves whenever it is looked at."""

    step = 2.0

    def uptime(self) -> float:
        self.advance(self.step)
        return self.up


def test_waiting_for_a_turn_takes_of_the_time_for_the_question() -> None:
    clock = PassingClock(unix=1_000.0)
    transport = FakeTransport(lambda _: said(ACTIVE))
    asking = introspector(transport)
    asking._clock = clock
    asking.ask("t")
    assert transport.asked[0]["timeout"] == 3.0
    clock.step = 6.0
    with pytest.raises(VerifierUnavailable):
        asking.ask("t")
    assert asking.asked == 1


def test_a_child_process_owes_nothing_to_the_threads_of_its_parent() -> None:
    gate = Gate()
    asking = introspector(FakeTransport(gate))
    with ThreadPoolExecutor(MAX_QUESTIONS) as pool:
        parents = [pool.submit(asking.ask, f"t{one}") for one in range(MAX_QUESTIONS)]
        for _ in parents:
            assert gate.arrived.acquire(timeout=30)
        with asking._changing:  # as at the moment of the fork, when every turn is taken
            asking.reset_after_fork()
            with ThreadPoolExecutor(1) as children:
                child = children.submit(asking.ask, "t0")
                assert gate.arrived.acquire(timeout=30)
                gate.is_open.set()
                assert child.result(30)["sub"] == "alice"
        assert all(parent.result(30)["sub"] == "alice" for parent in parents)
