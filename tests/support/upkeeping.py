"""Nodes whose upkeep a test ticks by hand, on one store."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.storage.store_things import NOW, event, grant_id, refreshed
from tests.support.failing import FailingStore
from tests.support.world import FixedClock, SeededRandomness

from mintmark import bootstrap
from mintmark.authority.core import Authority
from mintmark.authority.leadership import UPKEEP
from mintmark.authority.policy import Policy
from mintmark.authority.ports import Store
from mintmark.authority.wrapping import MasterKeys
from mintmark.bootstrap.upkeep import Candidate, Upkeep

POLICY = Policy(
    issuer="https://id.example", signing_algorithms=("ES256",), key_rotation_interval=3600, jwks_lifetime=300
)
INTERVAL = 60
LATER = NOW + 100_000


@dataclass
class Time:
    """Elapsed seconds, the same for all nodes here; their clocks are their own."""

    at: float = 0.0

    def __call__(self) -> float:
        return self.at


@dataclass
class Node:
    """A node, ticked by hand."""

    authority: Authority
    clock: FixedClock
    candidate: Candidate
    upkeep: Upkeep

    async def tick(self) -> None:
        """Let it do what is due."""
        await self.upkeep.tick()


async def node(store: Store, time: Time, name: str, *, skew: int = 0, batch: int = 10, policy: Policy = POLICY) -> Node:
    """Start a node whose clock is ``skew`` seconds ahead."""
    clock = FixedClock(NOW + skew)
    world = bootstrap.World(clock, SeededRandomness(name), has_cheap_passwords=True)
    authority = bootstrap.assemble(policy, store, MasterKeys(bytes(32)), world, signing_threads=1)
    await authority.start()
    candidate = Candidate(store.leases, name, time)
    return Node(authority, clock, candidate, Upkeep(authority, candidate, interval=INTERVAL, batch=batch, elapsed=time))


async def holder(store: Store) -> str | None:
    """Return who holds the lease."""
    found = await store.leases.get(UPKEEP)
    return None if found is None else found.holder


async def fill(store: Store, count: int, **members: Any) -> None:
    """Grants that are spent at ``LATER``."""
    for number in range(count):
        await store.grants.add(refreshed((number, str(members)), access_expires_at=NOW, **members), event())


async def grants_left(store: Store, count: int) -> int:
    """Return how many of those that ``fill`` made are there."""
    return sum([await store.grants.get(grant_id((number, "{}"))) is not None for number in range(count)])


class StoreWithPause(FailingStore):
    """A store with which something happens just before one verb arrives.

    Attributes:
        pause_at: The verb.
        meanwhile: What happens; once.
    """

    pause_at = ""
    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def call(self, name: str, verb: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        if name == self.pause_at and self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return await super().call(name, verb, *args, **kwargs)
