"""One code, one refresh token, fifty at once, at one node and at two: exactly one lineage (invariants I1, I2, I3, I9)."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.property.grant_machine import populated_file, populated_memory
from tests.support.nodes import (
    CALLBACK,
    PACE,
    START,
    VERIFIER,
    Disk,
    GrantsWithoutCompareAndSet,
    InterruptedGrants,
    MemoryDisk,
    Node,
    PacedGrants,
    SQLiteDisk,
    settle,
)
from tests.support.world import FixedClock

from mintmark.authority import derivation
from mintmark.authority.introspection import introspect
from mintmark.authority.login import end_session
from mintmark.authority.model import Grant
from mintmark.authority.people import sign_out_everywhere
from mintmark.authority.ports import Grants, Store
from mintmark.authority.revocation import revoke
from mintmark.authority.token import CodeRequest, RefreshRequest, TokenRequest, TokenResponse, token
from mintmark.oauth.errors import OAuthError
from mintmark.storage.postgresql import PostgreSQLStore

pytestmark = pytest.mark.anyio

AT_ONCE = 50
SHAPES = {"memory": 1, "memory, two nodes": 2, "sqlite": 1, "sqlite, two nodes": 2, "postgresql, two nodes": 2}
MARKED = [pytest.param(shape, marks=pytest.mark.slow) if shape.startswith("postgresql") else shape for shape in SHAPES]


@dataclass
class Place:
    """The nodes that are asked in turn."""

    nodes: list[Node]
    clock: FixedClock

    async def redeemed(self) -> str:
        code = await self.nodes[0].issue("web", "usr_ada")
        return (await self.one(code_request(code))).refresh_token or ""

    async def one(self, request: TokenRequest) -> TokenResponse:
        node = self.nodes[0]
        return await token(node.authority, await node.client("web"), request)

    async def storm(self, request: TokenRequest, seed: int) -> list[TokenResponse]:
        """Present it fifty times at once, each at its own pace; return what was answered. Only refusals are fine."""
        chance = random.Random(seed)

        async def ask(number: int) -> TokenResponse | None:
            node = self.nodes[number % len(self.nodes)]
            client = await node.client("web")
            PACE.set(itertools.cycle([chance.randrange(1, 4) for _ in range(5)]))
            try:
                return await token(node.authority, client, request)
            except OAuthError as error:
                if error.error != "invalid_grant":
                    raise
                return None

        answers = await asyncio.gather(*(ask(number) for number in range(AT_ONCE)))
        return [answer for answer in answers if answer is not None]

    async def row(self, token_or_code: str) -> Grant:
        parsed = derivation.parse(token_or_code, "refresh") or derivation.parse(token_or_code, "code")
        assert parsed is not None
        grant = await self.nodes[0].store.grants.get(parsed.grant_id)
        assert grant is not None
        return grant

    async def is_dead(self, answer: TokenResponse) -> bool:
        """Whether neither of its tokens works at any node."""
        for node in self.nodes:
            await node.authority.catch_up()
            owner, api = await node.client("web"), await node.client("api")
            for caller, value in ((owner, answer.refresh_token or ""), (api, answer.access_token)):
                if (await introspect(node.authority, caller, value))["active"]:
                    return False
        return True


class OpenedDisk:
    """Stores that were opened for the nodes, one for each, since to open them takes an event loop."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self._stores = iter(stores)

    def open(self) -> Store:
        return next(self._stores)

    async def copy(self) -> object:
        raise NotImplementedError

    async def restore(self, copy: object) -> None:
        raise NotImplementedError

    async def release(self, store: Store) -> None:
        await store.close()


def code_request(code: str) -> CodeRequest:
    return CodeRequest(code=code, redirect_uri=CALLBACK, code_verifier=VERIFIER)


@pytest.fixture(params=MARKED)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async for found in place_of(request, tmp_path, PacedGrants):
        yield found


@pytest.fixture(params=MARKED)
async def broken_place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """A place without compare-and-set."""
    async for found in place_of(request, tmp_path, GrantsWithoutCompareAndSet):
        yield found


async def place_of(
    request: pytest.FixtureRequest, directory: Path, grants: Callable[[Grants], PacedGrants]
) -> AsyncIterator[Place]:
    disk: Disk
    shape: str = request.param
    # Made in threads: the first two run an event loop of their own when they are made for the first time.
    if shape.startswith("postgresql"):
        url = request.getfixturevalue("postgresql_url")
        stores: list[Store] = [await PostgreSQLStore.open(url, connections=AT_ONCE // 2) for _ in range(SHAPES[shape])]
        await settle(stores[0])
        disk = OpenedDisk(stores)
    elif shape.startswith("memory"):
        disk = MemoryDisk(await asyncio.to_thread(populated_memory))
    else:
        (directory / "template.db").write_bytes(await asyncio.to_thread(populated_file))
        disk = SQLiteDisk(directory, directory / "template.db")
    clock = FixedClock(START + 60)
    made = [Node(disk, clock, f"node {number}", grants=grants) for number in range(SHAPES[shape])]
    for node in made:
        await node.authority.start()
    yield Place(made, clock)
    for node in made:
        await disk.release(node.store)


async def set_grace(place: Place, grace: int) -> None:
    client = await place.nodes[0].client("web")
    assert await place.nodes[0].store.clients.replace(client, replace(client, refresh_grace=grace))


async def check_code(place: Place, seed: int) -> None:
    code = await place.nodes[0].issue("web", "usr_ada")
    answers = await place.storm(code_request(code), seed)
    assert len(answers) == 1
    row = await place.row(code)
    assert (row.generation, row.end_reason) == (1, "code_reuse")
    assert await place.is_dead(answers[0])


async def check_strict(place: Place, seed: int) -> None:
    await set_grace(place, 0)
    first = await place.redeemed()
    answers = await place.storm(RefreshRequest(refresh_token=first), seed)
    assert len(answers) == 1
    row = await place.row(first)
    assert (row.generation, row.end_reason, row.replays) == (2, "refresh_reuse", 0)
    assert await place.is_dead(answers[0])


async def check_grace(place: Place, seed: int) -> None:
    await set_grace(place, 10)
    first = await place.redeemed()
    answers = await place.storm(RefreshRequest(refresh_token=first), seed)
    assert len(answers) == AT_ONCE
    assert len({answer.refresh_token for answer in answers}) == 1
    row = await place.row(first)
    assert (row.generation, row.end_reason, row.replays) == (2, None, AT_ONCE - 1)
    assert not await place.is_dead(answers[0])
    # The one successor goes on; what is older than its predecessor does not.
    third = await place.one(RefreshRequest(refresh_token=answers[0].refresh_token or ""))
    assert third.refresh_token not in {first, answers[0].refresh_token}
    with pytest.raises(OAuthError, match="invalid_grant"):
        await place.one(RefreshRequest(refresh_token=first))
    assert await place.is_dead(third)


CHECKS = {"code": check_code, "grace 0": check_strict, "grace 10": check_grace}


@pytest.mark.spec("A10", "R04")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("check", CHECKS)
async def test_fifty_at_once_make_one_lineage(place: Place, check: str, seed: int) -> None:
    await CHECKS[check](place, seed)


@pytest.mark.parametrize("check", CHECKS)
async def test_without_compare_and_set_the_checks_fail(broken_place: Place, check: str) -> None:
    """The checker is checked: it must notice a store that takes a step whatever the row has become."""
    with pytest.raises(AssertionError):
        await CHECKS[check](broken_place, 0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.spec("R04", "V01")
async def test_nothing_is_issued_after_a_revocation_was_answered(place: Place, seed: int) -> None:
    """Whoever is under way when a grant ends gets nothing that works (invariant I6)."""
    first = await place.redeemed()
    last = place.nodes[-1]

    async def end() -> None:
        PACE.set(iter([seed] * 10))
        await revoke(last.authority, await last.client("web"), first)

    answers, _ = await asyncio.gather(place.storm(RefreshRequest(refresh_token=first), seed), end())
    assert (await place.row(first)).end_reason == "revoked"
    for answer in answers:
        assert await place.is_dead(answer)


@pytest.fixture(params=MARKED)
async def interrupted_place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async for found in place_of(request, tmp_path, InterruptedGrants):
        yield found


@pytest.mark.spec("I6", "V01", "R07")
@pytest.mark.parametrize("what", ["code", "refresh token"])
@pytest.mark.parametrize("how", ["signed out", "signed out everywhere", "revoked", "reused"])
async def test_what_is_under_way_when_a_grant_ends_is_refused(interrupted_place: Place, what: str, how: str) -> None:
    """It was loaded and signed already; the step is not taken, whichever node ended the grant."""
    place, node, other = interrupted_place, interrupted_place.nodes[0], interrupted_place.nodes[-1]
    code = await node.issue("web", "usr_ada", scope=("openid", "orders:read"))
    request: TokenRequest = code_request(code)
    if what == "refresh token":
        request = RefreshRequest(refresh_token=(await place.one(request)).refresh_token or "")
    row = await place.row(code)

    async def end() -> None:
        client = await other.client("web")
        if how == "signed out":
            await end_session(other.authority, "sid", "usr_ada")
        elif how == "signed out everywhere":
            await sign_out_everywhere(other.authority, "usr_ada", reason="account")
        elif how == "revoked":
            presented = other.authority.keyring.secrets.derive("refresh", row, 1)
            await revoke(other.authority, client, presented)
        else:
            for _ in range(2):
                with suppress(OAuthError):
                    await token(other.authority, client, code_request(code))

    assert isinstance(node.grants, InterruptedGrants)
    node.grants.meanwhile = end
    with pytest.raises(OAuthError, match="invalid_grant"):
        await place.one(request)
    ended = await place.row(code)
    assert ended.ended_at is not None
    # With the second redemption the code was redeemed once.
    assert ended.generation == (1 if how == "reused" else row.generation)


@pytest.mark.parametrize("seed", range(5))
async def test_a_thief_and_its_victim_at_once_never_get_two_lineages(place: Place, seed: int) -> None:
    """The token before, the token and the one after it, all at once: what still works is one chain at most."""
    await set_grace(place, 10)
    first = await place.redeemed()
    second = (await place.one(RefreshRequest(refresh_token=first))).refresh_token or ""
    storms = [place.storm(RefreshRequest(refresh_token=value), seed) for value in (first, second)]
    answers = [answer for found in await asyncio.gather(*storms) for answer in found]
    alive = {answer.refresh_token for answer in answers if not await place.is_dead(answer)}
    row = await place.row(first)
    assert len(alive) == (0 if row.ended_at is not None else 1)
    assert row.generation <= 3
