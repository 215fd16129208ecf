"""One run: everything is started, lives, is disturbed, settles, and is looked at."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.chaos.checker import LIVE_BOUND, SETTLING, Violation, check
from tests.chaos.clients import Population, World
from tests.chaos.cluster import Cluster, running
from tests.chaos.endings import Endings
from tests.chaos.faults import inflict
from tests.chaos.history import History, Kept
from tests.chaos.inhabitants import SERVICE, Inhabitants, settings_of, settle
from tests.chaos.plan import NODES, plan
from tests.chaos.report import lines
from tests.chaos.services import Services, serving

from mintmark import bootstrap
from mintmark.authority.core import Authority
from mintmark.jose import base64url

SETTINGS: Final[dict[str, Any]] = {
    "signing_algorithms": ["ES256"],
    "jwks_lifetime": 20,
    "key_rotation_interval": 40,
    "cleanup_interval": 2,
    "log_level": "warning",
}
CALM: Final = 8.0
"""Seconds before and after the faults in which revocations are looked at strictly."""
_LAST_WORD: Final = 60.0
"""Seconds that clients get in the end to come to an answer."""

_BYSTANDERS: Final = 10
"""Clients whose access tokens verifiers look at from the beginning, revoked or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a run is like.

    Attributes:
        seed: Of everything that is left to chance here; what processes do at the same time is not.
        seconds: For how long there are faults; 0 for none.
        variants: What each node is, see ``tests.chaos.node``.
        revoke_every: Seconds between two revocations.
    """

    seed: int
    seconds: float = 30.0
    clients: int = 200
    verifiers: int = 50
    variants: Sequence[str] = ("whole",) * NODES
    revoke_every: float = 1.0

    @property
    def grants(self) -> int:
        """How many there have to be, since many are ended."""
        return self.clients + int((self.seconds + SETTLING + 2 * CALM) / self.revoke_every)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it."""

    history: History
    violations: list[Violation]
    lines: list[str]


def run(setup: Setup, folder: Path, say: Callable[[str], None]) -> Result:
    """Do a run with its files in ``folder``, an empty one, and return what came of it."""
    with running(folder, setup.variants, SETTINGS) as cluster:
        has_cables = cluster.nodes[0].wires.has_cable
        say("network namespaces: one per node" if has_cables else "no network namespaces here: proxies swallow instead")
        return asyncio.run(_run(setup, cluster, folder, say))


async def _run(setup: Setup, cluster: Cluster, folder: Path, say: Callable[[str], None]) -> Result:
    settings = settings_of(cluster, SETTINGS)
    inhabitants = await settle(settings, setup.grants)
    for node in cluster.nodes:
        node.start()
    history = History()
    world = World(cluster.port, inhabitants, history)
    async with _background(cluster.watch()):
        await asyncio.gather(*(node.ready() for node in cluster.nodes))
        with serving(cluster.issuer, inhabitants.secrets[SERVICE], setup.verifiers, folder) as services:
            say("everything is up")
            await _live(setup, cluster, world, services, say)
            history.sightings += await asyncio.to_thread(services.finish)
    async with bootstrap.running(settings) as authority:
        history.kept += await _kept(authority, inhabitants)
    violations = check(history)
    said = lines(history, violations, world.answers)
    said.append(
        f"nodes ended by themselves {cluster.exits} times; verifiers could not say {services.unavailable} times"
    )
    return Result(history, violations, said)


async def _live(setup: Setup, cluster: Cluster, world: World, services: Services, say: Callable[[str], None]) -> None:
    chance = random.Random(setup.seed)
    population = Population(world, random.Random(chance.random()), list(world.inhabitants.grants))
    for _ in range(setup.clients):
        population.admit()
    endings = Endings(population, services, random.Random(chance.random()))
    async with _background(endings.go_on(setup.revoke_every)):
        await asyncio.sleep(CALM)
        for device in population.devices[:_BYSTANDERS]:
            services.watch(device.seed.gid, device.access_tokens[-1:])
        if setup.seconds:
            say("faults begin")
            lanes = plan(setup.seed, setup.seconds)
            await asyncio.gather(*(inflict(lane, cluster, world.history, setup.seconds) for lane in lanes))
            say("faults are over")
            await asyncio.sleep(SETTLING)
        await asyncio.sleep(CALM)
    await asyncio.sleep(LIVE_BOUND)
    await population.end(_LAST_WORD)


async def _kept(authority: Authority, inhabitants: Inhabitants) -> list[Kept]:
    """Read what the database says, past all nodes."""
    found = []
    for seed in inhabitants.grants:
        row = await authority.store.grants.get(base64url.decode(seed.gid))
        if row is not None:
            events = await authority.store.audit.latest(100, gid=seed.gid)
            forwards = sum(one.event == "grant.fast_forwarded" for one in events)
            found.append(
                Kept(
                    grant=seed.gid,
                    generation=row.generation,
                    has_ended=row.ended_at is not None,
                    fast_forwards=forwards,
                )
            )
    return found


@contextlib.asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do ``work`` while the context lasts; fail if it fails."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()
