"""Several nodes as processes on one database: keys rotate once whatever the clocks, and a paused leader cannot write."""

import asyncio
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
import pytest
from tests.storage.store_things import event, grant_id, refreshed
from tests.support.leading import ROTATION, settings_of, world_of
from tests.unit.cli.processes import clean_environment

from mintmark import bootstrap
from mintmark.authority import keys as schedule
from mintmark.authority.core import Authority
from mintmark.authority.leadership import UPKEEP
from mintmark.authority.model import Client, Resource, SigningKey
from mintmark.authority.ports import Store
from mintmark.authority.registration import create_client
from mintmark.authority.resources import create_resource
from mintmark.jose import base64url

pytestmark = [pytest.mark.slow, pytest.mark.anyio, pytest.mark.timeout(180)]

ROOT: Final = Path(__file__).parents[2]
API: Final = "https://api.example"
SKEW: Final = 5
ROTATES_FOR: Final = 25.0
PAUSED_FOR: Final = 3.5
STOP_SECONDS: Final = 10


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that several processes can use."""
    if request.param == "sqlite":
        return str(tmp_path / "mintmark.sqlite3")
    url: str = request.getfixturevalue("postgresql_url")
    return url


@dataclass
class Node:
    """A process and what it has said."""

    process: asyncio.subprocess.Process
    said: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0

    async def until(self, is_it: Callable[[dict[str, Any]], bool], seconds: float = 30) -> dict[str, Any]:
        """Return the first thing it said, or will say, that is so."""
        assert self.process.stdout is not None
        async with asyncio.timeout(seconds):
            while (found := next(filter(is_it, self.said), None)) is None:
                line = await self.process.stdout.readline()
                assert line, f"it ended: {self.said}"
                self.said.append(json.loads(line))
        return found

    async def says(self, name: str, seconds: float = 30) -> Any:
        """Return what it says under ``name``."""
        return (await self.until(lambda line: name in line, seconds))[name]

    async def pauses(self) -> None:
        """Wait until it has stopped itself."""
        await self.says("paused")
        async with asyncio.timeout(10):
            while psutil.Process(self.process.pid).status() != psutil.STATUS_STOPPED:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    def signal(self, kind: signal.Signals) -> None:
        os.kill(self.process.pid, kind)


@asynccontextmanager
async def node(database: str, *, skew: int = 0, stop_before: str = "") -> AsyncIterator[Node]:
    """Run a node while the context lasts."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.leading", database, str(skew), stop_before),
        cwd=ROOT,
        env=clean_environment(),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        started = Node(process)
        started.port = await started.says("ready")
        yield started
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


async def held_by(store: Store, is_it: Callable[[str], bool], seconds: float = 20) -> str:
    """Wait until the lease is held by somebody who ``is_it``; return who."""
    async with asyncio.timeout(seconds):
        while True:
            lease = await store.leases.get(UPKEEP)
            if lease is not None and lease.holder and is_it(lease.holder):
                return lease.holder
            await asyncio.sleep(0.05)


async def service(authority: Authority) -> str:
    """Make a client that may have tokens of its own; return its secret."""
    await create_resource(authority, Resource(resource=API, name="Orders", scopes=("orders:read",)))
    _, secret = await create_client(
        authority,
        Client(
            client_id="service",
            name="Service",
            grant_types=("client_credentials",),
            scope=("orders:read",),
            resources=(API,),
            default_resource=API,
            access_token_signed_response_alg="ES256",
            id_token_signed_response_alg="ES256",
        ),
    )
    assert secret is not None
    return secret


def assert_one_line(keys: list[SigningKey]) -> None:
    """No fork: each key retires when the next one starts to sign, each signs for its time, one is published ahead."""
    line = sorted(keys, key=lambda key: key.active_at)
    assert [key.retired_at for key in line] == [*(key.active_at for key in line[1:]), None]
    pauses = [after.active_at - before.active_at for before, after in itertools.pairwise(line)]
    assert all(pause >= ROTATION for pause in pauses), pauses


@pytest.mark.spec("I7", "I9")
async def test_nodes_whose_clocks_are_ten_seconds_apart_never_rotate_twice(database: str) -> None:
    """The lease goes to and fro meanwhile: whoever leads is stopped for longer than the others' patience."""
    async with bootstrap.running(settings_of(database), world_of(0)) as authority, AsyncExitStack() as stack:
        secret = await service(authority)
        nodes = [await stack.enter_async_context(node(database, skew=skew)) for skew in (-SKEW, SKEW)]
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=10, trust_env=False))
        for each in nodes:
            await signs(http, each, secret)
        kids = set[str]()
        stopped: Node | None = None
        loop = asyncio.get_running_loop()
        ends_at, turn_at, turns = loop.time() + ROTATES_FOR, loop.time() + PAUSED_FOR, 0
        while loop.time() < ends_at:
            for each in nodes:
                if each is not stopped:
                    kids.add(await issue(http, each, secret))
            assert_one_line(await authority.store.keys.signing_keys())
            if loop.time() >= turn_at:
                if stopped is not None:
                    stopped.signal(signal.SIGCONT)
                stopped = nodes[turns % 2]
                stopped.signal(signal.SIGSTOP)
                turn_at, turns = loop.time() + PAUSED_FOR, turns + 1
            await asyncio.sleep(0.1)
        if stopped is not None:
            stopped.signal(signal.SIGCONT)
        keys = await authority.store.keys.signing_keys()
        assert_one_line(keys)
        events = [each for each in await authority.store.audit.latest(10_000) if each.event == "keys.scheduled"]
        # The first made two keys, each of the others one.
        assert len(events) == len(keys) - 1
        lease = await authority.store.leases.get(UPKEEP)
        assert lease is not None
        print(f"\n{len(events) - 1} rotations, {lease.fence} leaders, {len(kids)} keys signed")
        assert lease.fence >= 4
        assert len(events) >= 4
        assert len(kids) >= 3


async def asked(http: httpx.AsyncClient, signing: Node, secret: str) -> httpx.Response:
    """Ask a node for a token."""
    form = {"grant_type": "client_credentials", "client_id": "service", "client_secret": secret}
    return await http.post(f"http://127.0.0.1:{signing.port}/api/v2/auth/token", data=form)


async def signs(http: httpx.AsyncClient, signing: Node, secret: str) -> None:
    """Wait until a node can sign: the very first key is too young for it while its clock is behind the founder's."""
    async with asyncio.timeout(3 * SKEW):
        while (await asked(http, signing, secret)).status_code != 200:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.2)


async def issue(http: httpx.AsyncClient, signing: Node, secret: str) -> str:
    """Have a token signed by a node; return its key, which that node publishes."""
    base = f"http://127.0.0.1:{signing.port}"
    answer = await asked(http, signing, secret)
    assert answer.status_code == 200, answer.text
    head = json.loads(base64url.decode(answer.json()["access_token"].partition(".")[0]))
    published = (await http.get(f"{base}/.well-known/jwks.json")).json()["keys"]
    kid: str = head["kid"]
    assert kid in [key["kid"] for key in published]
    return kid


@pytest.mark.spec("I9")
@pytest.mark.parametrize("verb", ["keys.change", "sweep"])
async def test_a_leader_that_was_paused_cannot_write_after_it_was_superseded(database: str, verb: str) -> None:
    """The other node's clock is far behind, so that nothing is due for it: what changes would be the old leader's doing."""
    async with bootstrap.running(settings_of(database), world_of(0)) as authority:
        await authority.store.grants.add(_spent(authority), event())
        async with node(database, stop_before=verb) as old:
            await old.pauses()
            first = await held_by(authority.store, lambda _: True)
            before = await _everything(authority)
            async with node(database, skew=-100_000) as new:
                await held_by(authority.store, lambda holder: holder != first)
                await new.until(lambda line: line.get("event") == "leads the upkeep")
                old.signal(signal.SIGCONT)
                assert await old.says("outcome") == "SupersededError"
                await old.until(lambda line: line.get("event") == "superseded")
                await old.until(lambda line: line.get("event") == "no longer leads the upkeep")
                await held_by(authority.store, lambda holder: holder != first)
                assert await _everything(authority) == before
                # Stopped in an orderly way it leaves at once, and the old one may do its work after all.
                new.process.terminate()
                await held_by(authority.store, lambda holder: holder == first, seconds=5)


@pytest.mark.parametrize("verb", ["keys.change", "sweep"])
async def test_a_leader_that_was_paused_and_not_superseded_goes_on(database: str, verb: str) -> None:
    async with bootstrap.running(settings_of(database), world_of(0)) as authority:
        await authority.store.grants.add(_spent(authority), event())
        before = await _everything(authority)
        async with node(database, stop_before=verb) as only:
            await only.pauses()
            only.signal(signal.SIGCONT)
            assert await only.says("outcome") == "done"
        assert await _everything(authority) != before


@pytest.mark.spec("I9")
async def test_a_leader_that_was_paused_in_the_midst_of_a_transaction_holds_nobody_up(postgresql_url: str) -> None:
    """It has locked the row of the lease. PostgreSQL ends the transaction before anybody has to look for the node."""
    async with bootstrap.running(settings_of(postgresql_url), world_of(0)) as authority:
        await authority.store.grants.add(_spent(authority), event())
        async with node(postgresql_url, stop_before="transaction") as old:
            await old.pauses()
            first = await held_by(authority.store, lambda _: True)
            before = await _everything(authority)
            async with node(postgresql_url, skew=-100_000) as new:
                await held_by(authority.store, lambda holder: holder != first, seconds=30)
                old.signal(signal.SIGCONT)
                await old.until(lambda line: line.get("event") == "no longer leads the upkeep")
                assert await _everything(authority) == before
                new.process.terminate()
                await held_by(authority.store, lambda holder: holder == first, seconds=10)
                async with asyncio.timeout(10):
                    while await _everything(authority) == before:  # noqa: ASYNC110 - the store tells nobody
                        await asyncio.sleep(0.1)


def _spent(authority: Authority) -> Any:
    now = authority.clock.now()
    return refreshed(created_at=now - 9, idle_expires_at=now - 5, expires_at=now - 5, access_expires_at=now - 5)


async def _everything(authority: Authority) -> tuple[object, ...]:
    """Return what the upkeep would change."""
    keys = [key.kid for key in await authority.store.keys.signing_keys() if schedule.state(key, 0) != "removed"]
    events = [each.event for each in await authority.store.audit.latest(10_000)]
    return keys, events, await authority.store.grants.get(grant_id("g"))
