"""How a node hears of revocations, tells of them, and has the store learn again what it forgot (I6, I11; ADR 0027).

hearing    reads the store, the outbox: ten times a second, and at once when the stream told of something
mending    writes back what the store forgot
telling    says in the log that the store went back in time
listening  hears by the stream what another node has read, before this one reads it
relaying   publishes what this node has read; all that it knows where the stream has lost something

Each is a task of its own: whatever fails or hangs holds up none of the others, and no request. The last two exist with
a stream only; nothing depends on it but how soon nodes hear, and what is known when no node's memory is left.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import structlog

from mintmark.authority.core import Authority
from mintmark.authority.ports import StoreUnavailableError
from mintmark.authority.reapplying import reapply
from mintmark.authority.sharing import RevocationStream
from mintmark.bootstrap.repeating import repeat
from mintmark.oauth.errors import OAuthError

_HEAR_EVERY: Final = 0.1
"""Seconds between two looks for revocations of other processes: one short read each."""
_MEND_EVERY: Final = 0.1
"""Seconds between two looks at whether the store forgot something: at a dictionary."""
_TELL_EVERY: Final = 5.0
_RELAY_EVERY: Final = 1.0
"""Seconds between two looks at whether the stream has lost something."""
_LISTEN_FOR: Final = 1.0
"""Seconds that one reading of the stream waits for news."""
_START_PATIENCE: Final = 10.0
"""Seconds for which a start waits until what the store forgot is written back."""
_BATCH: Final = 1_000
_EARLY: Final = "starts before the store knows all revocations"

log = structlog.get_logger("mintmark")


class Relay:
    """This node's part in the stream.

    Args:
        authority: Whose revocations.
        stream: Where they go, and come from.
        news: Set when the store should be read at once.

    Attributes:
        changed: Set when there is something to publish.
    """

    def __init__(self, authority: Authority, stream: RevocationStream, news: asyncio.Event) -> None:
        self.changed = asyncio.Event()
        self._denylist = authority.denylist
        self._stream = stream
        self._news = news
        self._position, self._heard_epoch = "", 0
        self._published, self._published_epoch = 0, 0

    async def catch_up(self) -> None:
        """Take in everything that the stream has by now.

        Raises:
            StoreUnavailableError: The stream is away.
        """
        while await self._listen(0):
            pass

    async def listen(self) -> None:
        """Take in the entries that come next; wait a while for one.

        Raises:
            StoreUnavailableError: The stream is away.
        """
        await self._listen(_LISTEN_FOR)

    async def _listen(self, seconds: float) -> bool:
        epoch = self._denylist.log.epoch
        # The store went back, or the clock did: what the stream still has of old is wanted now.
        position = self._position if self._heard_epoch == epoch else ""
        self._position, entries = await self._stream.after(position, seconds)
        self._heard_epoch = epoch
        if self._denylist.hear(entries):
            self._news.set()
        return bool(entries)

    async def publish(self) -> None:
        """Publish what was read from the store since the last time, and whatever the stream lost.

        The place is noted after each batch: a failure costs a repetition, never an entry.

        Raises:
            StoreUnavailableError: The stream is away.
        """
        log_of_store = self._denylist.log
        while True:
            if self._published_epoch != log_of_store.epoch:
                self._published, self._published_epoch = 0, log_of_store.epoch
            entries = log_of_store.entries(self._published, _BATCH)
            if not entries:
                break
            await self._stream.publish(entries)
            self._published = entries[-1].cursor
        if not await self._stream.is_whole():
            known = self._denylist.entries()
            for start in range(0, len(known), _BATCH):
                await self._stream.publish(known[start : start + _BATCH])
            await self._stream.set_whole()


@contextlib.asynccontextmanager
async def hearing(authority: Authority) -> AsyncIterator[None]:
    """Hear of revocations, and tell of them, while the context lasts.

    Before that, what the stream knows and the store does not is written back, so that no request is answered on rows
    that went back in time; a stream or store that is away delays that, and a start by ``_START_PATIENCE`` at most.
    """
    denylist, news = authority.denylist, asyncio.Event()
    relay = None if authority.stream is None else Relay(authority, authority.stream, news)

    async def hear() -> None:
        denylist.look_at_clock(authority.clock.now())
        await denylist.pull(authority.store)

    async def mend() -> None:
        if denylist.forgotten:
            await reapply(authority)

    await _begin(authority, relay)
    tasks = [
        _task(hear, "hearing", every=_HEAR_EVERY, wake=news),
        _task(mend, "mending", every=_MEND_EVERY),
        _task(_Alarm(authority).tell, "telling", every=_TELL_EVERY),
    ]
    if relay is not None:
        denylist.on_change.add(relay.changed.set)
        tasks += [
            # Redis says itself that it is away.
            _task(relay.listen, "listening", every=0.0, is_quiet=True),
            _task(relay.publish, "relaying", every=_RELAY_EVERY, wake=relay.changed, is_quiet=True),
        ]
    try:
        yield
    finally:
        if relay is not None:
            denylist.on_change.discard(relay.changed.set)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _begin(authority: Authority, relay: Relay | None) -> None:
    """Write back what the stream still knows and the store has forgotten while no node was there to remember."""
    try:
        async with asyncio.timeout(_START_PATIENCE):
            if relay is not None:
                with contextlib.suppress(StoreUnavailableError):  # then it is listened to later
                    await relay.catch_up()
            await authority.denylist.pull(authority.store)
            await reapply(authority)
    except (StoreUnavailableError, OAuthError, TimeoutError) as problem:
        log.warning(_EARLY, reason=str(problem) or type(problem).__name__)
    except Exception as problem:  # the tasks try again, and say so
        log.exception(_EARLY, kind=type(problem).__name__)


class _Alarm:
    """Says in the log, now and then, that the store went back in time: an operator has to know what else it lost."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._told = (0, 0)

    async def tell(self) -> None:
        now = self._authority.denylist.reapplied, self._authority.meter.verdicts["fast_forwarded"]
        reapplied, fast_forwarded = (count - told for count, told in zip(now, self._told, strict=True))
        if reapplied or fast_forwarded:
            self._told = now
            log.warning("the store went back in time", reapplied=reapplied, fast_forwarded=fast_forwarded)


def _task(
    work: Callable[[], Awaitable[None]],
    during: str,
    *,
    every: float,
    wake: asyncio.Event | None = None,
    is_quiet: bool = False,
) -> "asyncio.Task[None]":
    return asyncio.create_task(
        repeat(work, during, every=every, wake=wake, is_quiet=is_quiet), name=f"mintmark {during}"
    )
