"""Time and chance under the test's control."""

import hashlib


class FixedClock:
    """A clock that moves only when told."""

    def __init__(self, at: int = 1_700_000_000) -> None:
        self.at = at

    def now(self) -> int:
        return self.at

    def advance(self, seconds: int) -> None:
        self.at += seconds


class SeededRandomness:
    """Bytes that look random and are the same in each run."""

    def __init__(self, seed: str = "mintmark") -> None:
        self._seed = seed
        self._count = 0

    def bytes(self, nbytes: int) -> bytes:
        self._count += 1
        return hashlib.shake_256(f"{self._seed} {self._count}".encode()).digest(nbytes)
