"""The real authority on a store in memory, put together as ``bootstrap`` does, but with ports that never wait.

Its use cases are coroutines, since stores and signers take their time elsewhere. Here nothing does: each runs to its
end at the first step, with or without an event loop around.
"""

import threading
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final, NoReturn, TypeVar

from mintmark.authority import keyring as keyrings
from mintmark.authority.core import Authority
from mintmark.authority.denylist import Denylist
from mintmark.authority.model import AuditEvent
from mintmark.authority.policy import Policy
from mintmark.authority.wrapping import MASTER_KEY_BYTES, MasterKeys
from mintmark.jose import jws
from mintmark.jose.jwk import Key
from mintmark.storage.memory import MemoryStore
from mintmark.system.clock import SystemClock, SystemRandomness
from mintmark.system.limiting import MemoryLimiter
from mintmark.system.replaying import MemoryReplays
from mintmark.testing.keys import ALGORITHM, LentKeyring
from mintmark.verifier.ports import SYSTEM_CLOCK

_Result = TypeVar("_Result")


class StandingClock:
    """Time that stands still until it is moved; one for the issuer and its verifiers. It starts now."""

    def __init__(self) -> None:
        self._now = SystemClock().now()
        self._uptime = SYSTEM_CLOCK.uptime()

    def now(self) -> int:
        """Return Unix time in seconds."""
        return self._now

    def uptime(self) -> float:
        """Return seconds on a clock that never goes back."""
        return self._uptime

    def move(self, seconds: int) -> None:
        """Let time pass; a negative number sets the clock on the wall back."""
        self._now += seconds
        self._uptime += max(seconds, 0)

    def wait(self, seconds: float) -> None:
        """Let time pass on no wall."""
        self._uptime += seconds


class _InlineSigner:
    async def sign(self, key: Key, signing_input: bytes) -> bytes:
        return jws.sign_input(key, signing_input)


class _NoPasswords:
    """Nobody signs in here."""

    async def hash(self, password: str) -> str:
        _refuse(password)

    async def verify(self, password_hash: str | None, password: str, *, source: str = "") -> bool:
        _refuse(password_hash, password, source)

    async def weakness(self, password: str, words: Sequence[str]) -> str | None:
        _refuse(password, words)

    def is_outdated(self, password_hash: str) -> bool:
        _refuse(password_hash)


def _refuse(*_: object) -> NoReturn:
    raise NotImplementedError("the mint of the tests has no passwords")


class Issuer:
    """An authority and the way to run its use cases. Safe to share between threads."""

    def __init__(self, url: str, clock: StandingClock) -> None:
        policy = self.policy = Policy(issuer=url, signing_algorithms=(ALGORITHM,))
        randomness = SystemRandomness()
        self.keyring: Final = LentKeyring(policy, MasterKeys(bytes(MASTER_KEY_BYTES)), randomness)
        self._authority: Final = Authority(
            policy=policy,
            store=MemoryStore(),
            clock=clock,
            randomness=randomness,
            signer=_InlineSigner(),
            passwords=_NoPasswords(),
            limiter=MemoryLimiter(clock),
            replays=MemoryReplays(clock),
            keyring=self.keyring,
            denylist=Denylist(),
        )
        self.is_closed = False
        self._has_started = False
        self._running = threading.RLock()

    @property
    def authority(self) -> Authority:
        """The authority, started; its keys are made at the first use.

        Raises:
            RuntimeError: It was closed.
        """
        with self._running:
            if self.is_closed:
                raise RuntimeError("this mint is closed")
            if not self._has_started:
                _result_of(self._authority.start())
                self._has_started = True
                self._backdate()
        return self._authority

    def run(self, use_case: Coroutine[Any, Any, _Result]) -> _Result:
        """Return what ``use_case`` returns."""
        with self._running:
            return _result_of(use_case)

    def close(self) -> None:
        """Give the keys back; nothing happens here from now on."""
        with self._running:
            self.is_closed = True
            self.keyring.give_back()

    def rotate(self) -> None:
        """Let the next key sign at once."""
        authority = self.authority
        self._backdate()
        self.run(keyrings.rotate(self.keyring, authority.store, authority.clock, ALGORITHM))

    def retire(self) -> None:
        """Take the key that signs out of use, as one that was stolen; the next one signs at once."""
        authority = self.authority
        self._backdate()
        kid = self.keyring.signing_key(ALGORITHM, authority.clock.now()).kid
        self.run(keyrings.retire_emergency(self.keyring, authority.store, authority.clock, kid))
        self.run(authority.catch_up())

    def _backdate(self) -> None:
        """Let the keys be as old as time: one signs however far the clock is set back, the other may sign at once."""
        authority = self._authority
        now = authority.clock.now()
        old = [
            replace(row, published_at=0, active_at=0 if row.active_at <= now else row.active_at)
            for row in self.keyring.rows
        ]
        self.run(keyrings.change(self.keyring, authority.store, old, AuditEvent(at=now, event="keys.scheduled")))


def _result_of(use_case: Coroutine[Any, Any, _Result]) -> _Result:
    try:
        use_case.send(None)
    except StopIteration as done:
        result: _Result = done.value
        return result
    use_case.close()
    raise RuntimeError("a use case waited for something that is not in memory")
