"""What a node does beside answering: its own memory, and, while it holds the lease, what one node does for all."""

import asyncio
import contextlib
import platform
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

from mintmark.authority import leadership
from mintmark.authority.core import Authority
from mintmark.authority.leadership import UPKEEP, Sight
from mintmark.authority.ports import Lease, Leases, Randomness, StoreUnavailableError, SupersededError

_LEAVE_SECONDS: Final = 2.0
"""How long a node that stops may take to give the lease up."""

log = structlog.get_logger("mintmark")


def name_of_this_node(randomness: Randomness) -> str:
    """Return a name that is this process's alone, and tells an operator which machine it is."""
    return f"{platform.node()}/{randomness.bytes(8).hex()}"


class Candidate:
    """One node that would do the work for all, and does while the lease is its own.

    Args:
        leases: Where the lease is kept.
        name: Of this node; no other process ever has it.
        elapsed: Returns seconds that only ever grow, whatever becomes of the machine's clock.
    """

    def __init__(self, leases: Leases, name: str, elapsed: Callable[[], float]) -> None:
        self._leases = leases
        self._name = name
        self._elapsed = elapsed
        self._sight: Sight | None = None
        self._led = False

    async def seek(self) -> Lease | None:
        """Look at the lease, renew or take it if it is time; return it if it is ours.

        Raises:
            StoreUnavailableError: Nobody knows; what we hold we may still hold.
        """
        at = self._elapsed()
        sight = leadership.look(self._sight, await self._leases.get(UPKEEP), at)
        wanted = leadership.change(sight, self._name, at)
        if wanted is not None:
            # Where somebody else was faster, nothing is known until the next look.
            sight = Sight(wanted if await self._leases.put(sight.lease, wanted) else None, at)
        self._sight = sight
        held = sight.lease if leadership.is_held_by(sight.lease, self._name) else None
        if (held is not None) is not self._led:
            self._led = held is not None
            log.info("leads the upkeep" if self._led else "no longer leads the upkeep", node=self._name)
        return held

    async def leave(self) -> None:
        """Give the lease up if it is ours, so that the next takes it without waiting; if that cannot be, they wait."""
        with contextlib.suppress(StoreUnavailableError, TimeoutError):
            async with asyncio.timeout(_LEAVE_SECONDS):
                lease = await self._leases.get(UPKEEP)
                if lease is not None and leadership.is_held_by(lease, self._name):
                    await self._leases.put(lease, leadership.given_up(lease))


class Upkeep:
    """The upkeep of one node.

    Args:
        authority: Whose upkeep.
        candidate: Its part in who leads.
        interval: Seconds between two cleanups.
        batch: Rows of each kind that go at a time.
        elapsed: As of the candidate.
    """

    def __init__(
        self, authority: Authority, candidate: Candidate, *, interval: int, batch: int, elapsed: Callable[[], float]
    ) -> None:
        self._authority = authority
        self._candidate = candidate
        self._interval = interval
        self._batch = batch
        self._elapsed = elapsed
        self._forget_at = self._clean_up_at = elapsed()

    async def tick(self) -> None:
        """Do what is due."""
        if self._elapsed() >= self._forget_at:
            self._authority.forget()
            self._forget_at = self._elapsed() + self._interval
        lease = await self._seek()
        if lease is None or self._elapsed() < self._clean_up_at:
            return
        done: Counter[str] = Counter()
        try:
            await self._clean_up(lease, done)
        except SupersededError as problem:
            log.warning("superseded", during="upkeep", reason=str(problem))
        finally:
            _tell(done)

    async def _clean_up(self, lease: Lease | None, done: Counter[str]) -> None:
        """Clean up until nothing is due; while more is due than a batch removes, the next follows after a pause.

        The pause is as long as the batch took: half of the time is left to others, however slow the database is.
        """
        tell_at = self._elapsed() + self._interval
        while lease is not None:
            began = self._elapsed()
            batch = await self._authority.upkeep(self._batch, lease)
            done.update(batch)
            if sum(batch.values()) < self._batch:
                self._clean_up_at = self._elapsed() + self._interval
                return
            if self._elapsed() >= tell_at:
                _tell(done)
                tell_at = self._elapsed() + self._interval
            await asyncio.sleep(self._elapsed() - began)
            lease = await self._seek()

    async def leave(self) -> None:
        """Leave the work to others."""
        self._authority.meter.leads = False
        await self._candidate.leave()

    async def _seek(self) -> Lease | None:
        lease = None
        try:
            lease = await self._candidate.seek()
        finally:
            self._authority.meter.leads = lease is not None
        return lease


def _tell(done: Counter[str]) -> None:
    """Log what was done since it was last told, if anything."""
    if any(done.values()):
        log.info("upkeep", **+done)
    done.clear()
