"""A verifier under watch: what it says of tokens, over and over, and how long it went on saying so."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Self

from mintmark.verifier import TokenRejected, Verifier, VerifierUnavailable

PATIENCE: Final = 60.0
"""Seconds after which a test gives up waiting for what has to come about."""


@dataclass
class Watched:
    """A token, and what became of it."""

    raw: str
    may_go: bool = False
    revoked_at: float | None = None
    accepted_at: float = 0.0


@dataclass
class Watch:
    """A thread that verifies the same tokens over and over, as the traffic of a service does.

    Attributes:
        wrong: Rejections of tokens that nobody has revoked.
    """

    verifier: Verifier
    tokens: list[Watched] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    rounds: int = 0
    _is_over: bool = False

    def add(self, raws: list[str]) -> list[Watched]:
        added = [Watched(raw) for raw in raws]
        self.tokens += added
        return added

    @contextmanager
    def going_on(self) -> Iterator[Self]:
        thread = threading.Thread(target=self._verify_for_ever)
        thread.start()
        try:
            yield self
        finally:
            self._is_over = True
            thread.join()
        assert self.wrong == [], self.wrong

    def whole_rounds(self, count: int = 2) -> None:
        """Wait until every token was looked at so often."""
        done = self.rounds + count
        wait_until(lambda: self.rounds >= done)

    def lags(self) -> list[float]:
        """How long each revoked token was still accepted after its revocation was answered, seconds."""
        return [max(0.0, one.accepted_at - one.revoked_at) for one in self.tokens if one.revoked_at is not None]

    def _verify_for_ever(self) -> None:
        while not self._is_over:
            for one in list(self.tokens):
                may_go = one.may_go
                began = time.monotonic()
                try:
                    self.verifier.verify(one.raw)
                    one.accepted_at = began
                except (TokenRejected, VerifierUnavailable) as problem:
                    if not may_go:
                        self.wrong.append(repr(problem))
            self.rounds += 1
            time.sleep(0.001)  # other threads want to go on as well


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> float:
    """Wait for something that has to come about; return how long that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not come about"
        time.sleep(0.005)
    return time.monotonic() - began


def outcome(verifier: Verifier, raw: str) -> str:
    try:
        verifier.verify(raw)
    except TokenRejected as problem:
        return problem.code
    except VerifierUnavailable:
        return "unavailable"
    return "accepted"
