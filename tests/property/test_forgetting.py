"""Nothing that was revoked comes back while anybody knows it, whatever is lost in whatever order (invariants I6, I11)."""

import asyncio
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.property.grant_machine import populated_memory
from tests.protocol.answers import claims_of
from tests.support.nodes import CALLBACK, START, VERIFIER, MemoryDisk, Node
from tests.support.streams import FakeStream
from tests.support.world import FixedClock

from mintmark.authority.ports import GrantSelector
from mintmark.authority.reapplying import reapply
from mintmark.authority.revocation import revoke
from mintmark.authority.token import CodeRequest, RefreshRequest, TokenResponse, token
from mintmark.bootstrap.hearing import Relay
from mintmark.oauth.errors import OAuthError

NODES, GRANTS = 2, 2
Act = tuple[str, int, int]

ACTS = st.one_of(
    st.tuples(
        st.sampled_from(["refresh", "revoke", "revoke access"]), st.integers(0, NODES - 1), st.integers(0, GRANTS - 1)
    ),
    st.tuples(st.sampled_from(["hear", "listen", "publish", "mend", "restart"]), st.integers(0, NODES - 1), st.just(0)),
    st.tuples(st.sampled_from(["back up", "restore", "lose the stream"]), st.just(0), st.just(0)),
)


class Story:
    """Nodes, their store and their stream, and what clients were told.

    Attributes:
        answered: What was revoked and answered so: ``gid`` or ``jti``, and its value; without what nobody knows any more.
        ended: Indexes of the grants that anybody ever revoked.
    """

    def __init__(self, content: object) -> None:
        self.clock = FixedClock(START + 60)
        self.disk = MemoryDisk(content)
        self.stream = FakeStream()
        self.nodes: list[tuple[Node, Relay]] = []
        self.newest: list[TokenResponse] = []
        self.answered: set[tuple[str, str]] = set()
        self.ended: set[int] = set()
        self.starts = 0

    async def begin(self) -> None:
        self.nodes = [await self.start() for _ in range(NODES)]
        node, _ = self.nodes[0]
        for _ in range(GRANTS):
            code = await node.issue("web", "usr_ada", scope=("openid", "orders:read"))
            request = CodeRequest(code=code, redirect_uri=CALLBACK, code_verifier=VERIFIER)
            self.newest.append(await token(node.authority, await node.client("web"), request))
        self.copy = await self.disk.copy()

    async def start(self) -> tuple[Node, Relay]:
        """Start a node as ``hearing`` does."""
        self.starts += 1
        node = Node(self.disk, self.clock, f"node {self.starts}")
        node.authority = replace(node.authority, stream=self.stream)
        await node.authority.start()
        relay = Relay(node.authority, self.stream, asyncio.Event())
        await relay.catch_up()
        await node.authority.denylist.pull(node.authority.store)
        await reapply(node.authority)
        return node, relay

    async def act(self, act: str, number: int, index: int) -> None:
        node, relay = self.nodes[number]
        match act:
            case "refresh":
                await self.refresh(node, index)
            case "revoke":
                await revoke(node.authority, await node.client("web"), self.newest[index].refresh_token or "")
                self.answered.add(("gid", self.gid(index)))
                self.ended.add(index)
            case "revoke access":
                await revoke(node.authority, await node.client("web"), self.newest[index].access_token)
                if index not in self.ended:
                    self.answered.add(("jti", claims_of(self.newest[index].access_token)["jti"]))
            case "hear":
                await node.authority.denylist.pull(node.authority.store)
            case "listen":
                await relay.catch_up()
            case "publish":
                await relay.publish()
            case "mend":
                await reapply(node.authority)
            case "restart":
                self.nodes[number] = await self.start()
            case "back up":
                self.copy = await self.disk.copy()
            case "restore":
                await self.disk.restore(self.copy)
            case "lose the stream":
                self.stream.lose_everything()
        self.answered = {each for each in self.answered if await self.is_known(*each)}

    async def refresh(self, node: Node, index: int) -> None:
        is_known = node.authority.denylist.has_ended(self.gid(index))
        request = RefreshRequest(refresh_token=self.newest[index].refresh_token or "")
        try:
            self.newest[index] = await token(node.authority, await node.client("web"), request)
        except OAuthError as refused:
            if refused.error != "invalid_grant" or index not in self.ended:
                raise
        else:
            assert not is_known

    async def is_known(self, kind: str, value: str) -> bool:
        """Tell whether anybody is left who knows."""
        entries = [*await self.nodes[0][0].store.revocations.after(0, 1000), *self.stream.published]
        return (kind, value) in {(entry.kind, entry.value) for entry in entries} or any(
            node.authority.denylist.revokes({kind: value}, "") for node, _ in self.nodes
        )

    def gid(self, index: int) -> str:
        return str(claims_of(self.newest[index].access_token)["gid"])

    async def settle(self) -> None:
        """Let every node do what it does all the time."""
        for _ in range(3):
            for node, relay in self.nodes:
                await relay.catch_up()
                await node.authority.denylist.pull(node.authority.store)
                await reapply(node.authority)
                await relay.publish()

    async def judge(self) -> None:
        """What is known to anybody is known to everybody, above all to one who asks the store alone."""
        newcomer = Node(self.disk, self.clock, "newcomer")
        await newcomer.authority.start()
        for node in (newcomer, *(node for node, _ in self.nodes)):
            assert node.authority.denylist.forgotten == {}
            assert all(node.authority.denylist.revokes({kind: value}, "") for kind, value in self.answered)
        for index in range(GRANTS):
            if ("gid", self.gid(index)) in self.answered:
                request = RefreshRequest(refresh_token=self.newest[index].refresh_token or "")
                web = await newcomer.client("web")
                with pytest.raises(OAuthError, match="invalid_grant"):
                    await token(newcomer.authority, web, request)
            elif index not in self.ended:
                await self.refresh(newcomer, index)
        live = await newcomer.store.grants.live(GrantSelector(subject="usr_ada"), self.clock.now())
        assert not {("gid", grant.gid) for grant in live} & self.answered


@cache
def content() -> object:
    return populated_memory()


async def play(acts: list[Act]) -> None:
    story = Story(await asyncio.to_thread(content))
    await story.begin()
    for act in acts:
        await story.act(*act)
    await story.settle()
    await story.judge()


@pytest.mark.spec("invariant I6", "invariant I11")
@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.lists(ACTS, max_size=25))
# The node that revoked, and its store, are lost before another one has read it; it was heard of by the stream alone.
@example([("revoke", 0, 0), ("publish", 0, 0), ("restore", 0, 0), ("listen", 1, 0), ("restart", 0, 0)])
# One forgot, another did not: issued from the row that went back, by the one that forgot.
@example([("revoke", 0, 0), ("restore", 0, 0), ("lose the stream", 0, 0), ("restart", 1, 0), ("refresh", 1, 0)])
def test_what_was_revoked_stays_revoked_while_anybody_knows_it(acts: list[Act]) -> None:
    asyncio.run(play(acts))
