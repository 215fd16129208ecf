"""The way to Redis: every call is bounded in time, and what failed is not asked again at once."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from redis.exceptions import NoScriptError, ResponseError

from mintmark.authority.ports import StoreUnavailableError
from mintmark.storage.redis.nodes import Nodes, prefix_of

LONGEST_WAIT: Final = 1.0
"""Seconds that one call waits for news at most."""

PATIENCE: Final = 0.5
"""Seconds for a call as a whole: waiting for its turn, connecting, finding the node of a cluster."""
_PART: Final = 0.8
"""How much of it may go by until a server answers: then there is time to find another one."""
_REST: Final = 1.0
"""Seconds after a failure in which nobody is asked."""
_QUIET: Final = 30.0
"""Seconds without a refusal after which Redis is taken to refuse nothing: one that is full still reads."""
_AT_A_TIME: Final = 16
"""Calls under way at most, and so connections of a kind."""

log = structlog.get_logger("mintmark")


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script; Redis knows it by its digest once it has run it, and may forget it at any time."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False)  # what EVALSHA takes
        object.__setattr__(self, "sha", digest.hexdigest())


class RedisConnection:
    """What all that is kept in Redis goes through; implements ``Shared``.

    After a failure nobody asks for a second, and then one call alone until it was answered: a Redis that hangs costs
    one request in each second the time allowed for a call, and the others nothing.

    Args:
        url: Where it is.
        password: What it asks for.
        issuer: Whose keys they are: authorities that share a Redis know nothing of each other.
        is_cluster: Whether ``url`` is a node of a Redis Cluster.
        patience: Seconds for a call.
        monotonic: The time.

    Attributes:
        is_up: Whether the last call was answered, and none was refused lately.
        failures: How many calls were not, since the process began; those that were not made do not count.
    """

    def __init__(
        self,
        url: str,
        password: str | None = None,
        *,
        issuer: str,
        is_cluster: bool = False,
        patience: float = PATIENCE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_up = True
        self.failures = 0
        self._patience = patience
        self._monotonic = monotonic
        self._prefix = prefix_of(issuer)
        self._has_failed = False
        self._ask_again_at = 0.0
        self._refusal, self._quiet_at = "", 0.0
        self._turns = asyncio.Semaphore(_AT_A_TIME)
        self._nodes = Nodes(url, password, prefix=self._prefix, is_cluster=is_cluster, patience=_PART * patience)

    async def run(self, script: Script, keys: Sequence[str], words: Sequence[str | int] = ()) -> Any:
        """Run ``script`` and return its answer.

        Raises:
            StoreUnavailableError: No answer, or an error; whether it ran is unknown.
        """

        async def call() -> Any:
            rest = (len(keys), *(self._prefix + key for key in keys), *words)
            try:
                return await self._nodes.ask("EVALSHA", script.sha, *rest)
            except NoScriptError:
                return await self._nodes.ask("EVAL", script.text, *rest)

        return await self._answer(call)

    async def set_if_absent(self, key: str, lifetime: int) -> bool:
        """Set ``key`` for ``lifetime`` seconds if it is not there; tell whether it was not.

        Raises:
            StoreUnavailableError: As ``run``.
        """
        answer = await self._answer(lambda: self._nodes.ask("SET", self._prefix + key, 1, "NX", "EX", lifetime))
        return answer is not None

    async def wait_for_entry(self, stream: str, after: str, seconds: float) -> bool:
        """Wait at most ``seconds``, or ``LONGEST_WAIT``, for an entry after ``after``; tell whether there is one.

        Raises:
            StoreUnavailableError: As ``run``.
        """
        milliseconds = max(1, int(min(seconds, LONGEST_WAIT) * 1000))
        words = ("XREAD", "COUNT", 1, "BLOCK", milliseconds, "STREAMS", self._prefix + stream, after)
        return bool(await self._answer(lambda: self._nodes.ask(*words, wait=LONGEST_WAIT), LONGEST_WAIT))

    async def check(self) -> None:
        """Raise ``StoreUnavailableError`` unless Redis answers, and has refused nothing lately."""
        await self._answer(lambda: self._nodes.ask("EXISTS", f"{self._prefix}check"))
        if not self.is_up:
            raise StoreUnavailableError(f"redis refuses: {self._refusal}")

    async def close(self) -> None:
        """Let go of all connections."""
        await self._nodes.close()

    async def _answer(self, call: Callable[[], Awaitable[Any]], wait: float = 0.0) -> Any:
        now = self._monotonic()
        if now < self._ask_again_at:
            raise StoreUnavailableError("redis is not asked again so soon")
        if self._has_failed:
            self._ask_again_at = now + _REST
        try:
            async with asyncio.timeout(self._patience + wait), self._turns:
                answer = await call()
        except Exception as problem:  # noqa: BLE001 - whatever the library stumbles over: nothing depends on Redis
            self._fail(problem)
            # Not its text, which may name hosts and users.
            raise StoreUnavailableError(f"redis: {_name_of(problem)}") from None
        self._succeed()
        return answer

    def _succeed(self) -> None:
        if self._has_failed:
            self._has_failed, self._ask_again_at = False, 0.0
        if not self.is_up and self._monotonic() >= self._quiet_at:
            self.is_up = True
            log.info("redis answers again")

    def _fail(self, problem: Exception) -> None:
        now = self._monotonic()
        self.failures += 1
        self._has_failed, self._ask_again_at = True, now + _REST
        if isinstance(problem, ResponseError):
            # It answers, and perhaps it does everything else.
            self._refusal, self._quiet_at = _name_of(problem), now + _QUIET
        self._nodes.doubt()
        if self.is_up:
            self.is_up = False
            log.warning("redis does not answer", reason=_name_of(problem))


def _name_of(problem: Exception) -> str:
    """Name ``problem`` without its text, except for the code that an error of Redis itself begins with."""
    code = str(problem).partition(" ")[0] if isinstance(problem, ResponseError) else ""
    return f"{type(problem).__name__} {code}" if code.isalpha() and code.isupper() else type(problem).__name__
