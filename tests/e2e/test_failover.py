"""A primary stopped at once under load, its standby some hundred milliseconds behind promoted (invariants I6, I11).

Real servers, real nodes, real Redis. Everybody refreshes on, and nothing that was revoked in the window comes back: the
nodes' memory and the Redis stream know what the new primary does not.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from tests.support.families import Family, Load, found
from tests.support.replicated import DATABASE, NODES, Replicated, replicated

from mintmark import bootstrap

pytestmark = [
    pytest.mark.slow,
    pytest.mark.anyio,
    pytest.mark.timeout(600),
    pytest.mark.spec("invariant I6", "invariant I11"),
]

REFRESHING: Final = 30
SIGNED_OUT: Final = 40
BEHIND: Final = 0.4
"""Seconds by which the standby is behind, at least."""
LOST: Final = 5
"""Revocations answered while it is, at least."""
HEARD_AFTER: Final = 0.5
"""Seconds in which a node has heard of what another one has committed."""
SIGN_OUT_EVERY: Final = 0.05
MOST_SECONDS: Final = 60.0


async def until(is_so: Callable[[], bool], what: str) -> None:
    """Wait until something has come about under load."""
    deadline = time.monotonic() + MOST_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"not in {MOST_SECONDS:.0f} s: {what}"
        await asyncio.sleep(0.01)


class Outcome:
    """What a failover did."""

    def __init__(self, world: Replicated, load: Load, refreshing: list[Family], signed_out: list[Family]) -> None:
        self.world = world
        self.load = load
        self.refreshing = refreshing
        self.signed_out = signed_out
        self.lost: set[tuple[str, str]] = set()
        """Revocations that a node had answered, and the new primary never heard of."""
        self.behind = 0.0
        """Seconds by which the standby was behind."""

    @property
    def revoked(self) -> list[Family]:
        return [family for family in self.signed_out if family.revoked_at is not None]

    def audited(self, event: str) -> int:
        """Return of how many grants the new primary has an event; two nodes may both have done what it tells of."""
        (count,) = self.world.standby.execute(
            f"SELECT count(DISTINCT gid) FROM audit_events WHERE event = '{event}'", DATABASE
        )
        return int(count)

    def has_gone_on(self, since: float) -> bool:
        """Tell whether every client was answered after ``since``, or something is wrong already."""
        return bool(self.load.wrong) or all(family.refreshed_at > since for family in self.refreshing)

    def tell(self, what: str) -> None:
        gaps = [family.gap for family in self.refreshing]
        print(
            f"\nfailover, {what}: standby {self.behind:.1f} s behind, {len(self.refreshing)} clients, {sum(each.refreshed for each in self.refreshing)} refreshes, "
            f"{self.load.unanswered.total()} unanswered ({dict(self.load.unanswered)}), longest gap {max(gaps):.1f} s; "
            f"{self.audited('grant.fast_forwarded')} fast-forwarded; {len(self.revoked)} revoked, {len(self.lost)} of them "
            f"unknown to the new primary, {self.audited('revocation.reapplied')} re-applied; wrong: {len(self.load.wrong)}"
        )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Replicated]:
    entered = replicated(tmp_path)
    world = await asyncio.to_thread(entered.__enter__)
    try:
        yield world
    finally:
        await asyncio.to_thread(entered.__exit__, None, None, None)


@asynccontextmanager
async def under_load(world: Replicated) -> AsyncIterator[Outcome]:
    """Two nodes, and clients that refresh while others are signed out; the context begins when all have."""
    async with bootstrap.running(world.settings) as authority:
        families, secret = await found(authority, REFRESHING + SIGNED_OUT)
    for _ in range(NODES):
        await asyncio.to_thread(world.start_node)
    load = Load(world.urls, secret)
    outcome = Outcome(world, load, families[:REFRESHING], families[REFRESHING:])
    async with load.http, asyncio.TaskGroup() as tasks:
        for family in outcome.refreshing:
            tasks.create_task(load.refresh_for_ever(family))
        tasks.create_task(load.sign_out(outcome.signed_out, SIGN_OUT_EVERY))
        tasks.create_task(load.try_what_is_revoked(outcome.signed_out))
        try:
            await until(lambda: outcome.has_gone_on(0) and len(outcome.revoked) >= LOST, "load")
            yield outcome
        finally:
            load.is_over.set()


async def crash(outcome: Outcome) -> None:
    """Let the standby fall behind, then stop the primary at once."""
    world = outcome.world
    await asyncio.to_thread(world.cut_off)
    began, revoked = time.monotonic(), len(outcome.revoked)
    await until(lambda: time.monotonic() > began + BEHIND and len(outcome.revoked) >= revoked + LOST, "revocations")
    outcome.behind = time.monotonic() - began
    await asyncio.to_thread(world.crash_primary)
    # Whoever was told so a moment before counts as well.
    answered = {family.name for family in outcome.revoked}
    outcome.lost = answered - await asyncio.to_thread(world.known_to_standby)
    assert len(outcome.lost) >= LOST, "the standby was not behind"


async def promote(outcome: Outcome) -> None:
    """Promote the standby and wait until every client was answered and all that was lost is written back."""
    await asyncio.to_thread(outcome.world.standby.promote)
    # What was answered until now may have been under way in the crash.
    promoted = time.monotonic()
    await until(lambda: outcome.has_gone_on(promoted), "all go on")
    while await asyncio.to_thread(outcome.audited, "revocation.reapplied") < len(outcome.lost):
        assert time.monotonic() < promoted + MOST_SECONDS, "it is not written back"
    assert not outcome.load.wrong, outcome.load.wrong


async def assert_revoked(load: Load, families: Sequence[Family], url: str) -> None:
    """A node takes nothing of them."""
    for family in families:
        assert not await load.is_active(family.access_token, url), family
        status, body = await load.refresh(family, url)
        assert (status, body.get("error")) == (400, "invalid_grant"), (status, body, family)


async def test_a_standby_that_was_behind_takes_over_and_nothing_is_forgotten(world: Replicated) -> None:
    async with under_load(world) as outcome:
        await crash(outcome)
        await promote(outcome)
        # By the store alone: it has neither Redis nor anything to remember.
        newcomer = await asyncio.to_thread(world.start_node, with_redis=False)
        for url in (*world.urls, newcomer):
            await assert_revoked(outcome.load, outcome.revoked, url)
    outcome.tell("two nodes and Redis")
    assert not outcome.load.wrong, outcome.load.wrong
    assert outcome.audited("grant.fast_forwarded") > 0
    assert any("the store went back in time" in world.said(url) for url in world.urls)


async def test_without_redis_the_memory_of_one_node_is_enough(world: Replicated) -> None:
    async with under_load(world) as outcome:
        await crash(outcome)
        revoked = outcome.revoked
        # Time for the other node to have heard of what was revoked in the last moment.
        await asyncio.sleep(HEARD_AFTER)
        await asyncio.to_thread(world.redis.kill)
        await asyncio.to_thread(world.kill_node, random.choice(world.urls))
        await promote(outcome)
        newcomer = await asyncio.to_thread(world.start_node, with_redis=False)
        for url in (world.urls[0], newcomer):
            await assert_revoked(outcome.load, revoked, url)
    outcome.tell("one node left, no Redis")
    assert not outcome.load.wrong, outcome.load.wrong


async def test_without_any_node_redis_is_enough(world: Replicated) -> None:
    """All of them died in the window; the first to start writes back before it answers."""
    async with under_load(world) as outcome:
        await crash(outcome)
        for url in list(world.urls):
            await asyncio.to_thread(world.kill_node, url)
        outcome.load.is_over.set()
    await asyncio.to_thread(world.standby.promote)
    await judge_a_new_start(world, outcome, "no node left", is_lost=False)


async def test_what_nobody_knows_any_more_is_lost(world: Replicated) -> None:
    """The documented limit, and the proof that the tests above would notice."""
    async with under_load(world) as outcome:
        await crash(outcome)
        for url in list(world.urls):
            await asyncio.to_thread(world.kill_node, url)
        await asyncio.to_thread(world.redis.restart)
        outcome.load.is_over.set()
    await asyncio.to_thread(world.standby.promote)
    await judge_a_new_start(world, outcome, "nobody left", is_lost=True)


async def judge_a_new_start(world: Replicated, outcome: Outcome, what: str, *, is_lost: bool) -> None:
    """Start two nodes on the new primary and look at what they make of everybody's tokens."""
    assert not outcome.load.wrong, outcome.load.wrong
    for _ in range(NODES):
        await asyncio.to_thread(world.start_node)
    load = Load(world.urls, outcome.load.secret)
    async with load.http:
        lost = [family for family in outcome.revoked if family.name in outcome.lost]
        kept = [family for family in outcome.revoked if family.name not in outcome.lost]
        await assert_revoked(load, kept if is_lost else outcome.revoked, world.urls[0])
        if is_lost:
            assert all([await load.is_active(family.access_token, world.urls[1]) for family in lost])
            assert [(await load.refresh(family))[0] for family in lost] == [200] * len(lost)
        # A client may have been answered by a node that died before it could say so: it asks again.
        assert [(await load.refresh(family))[0] for family in outcome.refreshing] == [200] * REFRESHING
    outcome.tell(what)
    assert outcome.audited("revocation.reapplied") == (0 if is_lost else len(lost))
    assert outcome.audited("grant.fast_forwarded") > 0
