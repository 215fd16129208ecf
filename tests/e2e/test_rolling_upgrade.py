"""The next version takes over node by node, on a database that it has migrated while the present one served.

There is no earlier version with PostgreSQL, so the present one is the code as it is, and the next ones are copies of it
with a further migration: one that expands, then one that contracts. A client notices nothing but a retry.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import pytest
from tests.e2e.versions import SOURCE, Node, Version, drained
from tests.support.installation import API, CALLBACK, PREFIX, install
from tests.support.postgres import PostgreSQL
from tests.support.world import FixedClock
from tests.unit.cli.processes import Process, free_port

from mintmark.authority.model import Client
from mintmark.authority.policy import Policy
from mintmark.storage.postgresql import PostgreSQLStore
from mintmark.system.clock import SystemClock

pytestmark = [pytest.mark.slow, pytest.mark.anyio, pytest.mark.timeout(600)]

CLIENTS: Final = 16
ATTEMPTS: Final = 6
PAUSE: Final = 0.03
DATABASE: Final = "rolling"
_EXPAND: Final = """\
-- works with: {present}
ALTER TABLE grants ADD COLUMN advanced_by TEXT;
CREATE TABLE notes (id BIGINT PRIMARY KEY, note TEXT NOT NULL);
CREATE INDEX grants_by_note ON grants (advanced_by) WHERE advanced_by = 'nobody';
"""
_CONTRACT: Final = """\
-- works with: {next}
UPDATE grants SET advanced_by = 'present' WHERE advanced_by IS NULL;
ALTER TABLE grants ALTER COLUMN advanced_by SET DEFAULT 'nobody', ALTER COLUMN advanced_by SET NOT NULL;
DROP TABLE notes;
"""


@dataclass
class Load:
    """Clients that refresh for ever, and what they saw.

    Attributes:
        addresses: The nodes, in turn.
        answered: How many refreshes.
        retries: Why a node was not answering, and the next one was asked.
        wrong: Answers that a client must never get, or none at all.
        phase: What is going on.
        longest: The longest time a client waited for its tokens, retries included, in seconds, by phase.
    """

    issuer: str
    addresses: list[str]
    credentials: dict[str, str]
    tokens: list[str]
    answered: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    phase: str = "start"
    longest: dict[str, float] = field(default_factory=dict)

    async def refresh_for_ever(self, http: httpx.AsyncClient, token: str, first: int) -> None:
        """Be one client: keep the token until there is the next, and ask the next node when one does not answer."""
        nodes = itertools.cycle(self.addresses[first:] + self.addresses[:first])
        while not self.wrong:
            began = time.monotonic()
            answer = await self._refresh(http, token, nodes)
            if answer is None:
                return
            token = answer
            self.longest[self.phase] = max(self.longest.get(self.phase, 0.0), time.monotonic() - began)
            self.answered += 1
            await asyncio.sleep(PAUSE)

    async def _refresh(self, http: httpx.AsyncClient, token: str, nodes: "itertools.cycle[str]") -> str | None:
        form = {"grant_type": "refresh_token", "refresh_token": token} | self.credentials
        for _ in range(ATTEMPTS):
            try:
                answer = await http.post(f"{next(nodes)}{PREFIX}/token", data=form)
            except httpx.TransportError as problem:
                self.retries[type(problem).__name__] += 1
            else:
                if answer.status_code == 200:
                    return str(answer.json()["refresh_token"])
                if answer.status_code != 503:
                    self.wrong.append(f"{answer.status_code} {answer.text}")
                    return None
                self.retries["503"] += 1
            await asyncio.sleep(PAUSE)
        self.wrong.append(f"no answer in {ATTEMPTS} attempts: {self.retries}")
        return None

    async def goes_on(self, phase: str, count: int = 100) -> None:
        """Wait until so many more refreshes were answered."""
        self.phase = phase
        wanted = self.answered + count
        while self.answered < wanted:
            assert not self.wrong, self.wrong
            await asyncio.sleep(0.02)
        assert not self.wrong, self.wrong


@asynccontextmanager
async def loaded(load: Load) -> AsyncIterator[None]:
    """Run the clients while the context lasts."""
    host = httpx.URL(load.issuer).netloc.decode()
    async with (
        httpx.AsyncClient(trust_env=False, timeout=10, headers={"host": host}) as http,
        asyncio.TaskGroup() as group,
    ):
        tasks = [
            group.create_task(load.refresh_for_ever(http, token, number % len(load.addresses)))
            for number, token in enumerate(load.tokens)
        ]
        yield
        for task in tasks:
            task.cancel()


async def settle(url: str, issuer: str, addresses: list[str]) -> Load:
    """Let a person sign in to an application on many devices."""
    scope = ("openid", "profile", "email", "offline_access", "orders:read", "orders:write")
    # An answer that was lost may be asked for again much later, on a machine that is busy.
    app = Client(
        client_id="app",
        name="App",
        redirect_uris=(CALLBACK,),
        scope=scope,
        resources=(API,),
        refresh_grace=3600,
        skip_consent=True,
        access_token_signed_response_alg="ES256",
        id_token_signed_response_alg="ES256",
    )
    store = await PostgreSQLStore.open(url)
    try:
        policy = Policy(issuer=issuer)
        mint = await install(store=store, clock=FixedClock(SystemClock().now()), policy=policy, clients=(app,))
        session = await mint.session()
        tokens = [str((await mint.obtain("app", session=session))["refresh_token"]) for _ in range(CLIENTS)]
        return Load(issuer, addresses, mint.credentials("app"), tokens)
    finally:
        await store.close()


@dataclass(frozen=True)
class Versions:
    """What is released one after the other; each works with the schema of the one before and after it."""

    present: Version
    next: Version
    later: Version


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    present = Version("present", SOURCE)
    following = present.copy(tmp_path, "next", _EXPAND.format(present=present.schema()))
    # It uses what is new.
    following.replace(
        "storage/statements.py", "replays = replays + ?7\n", "replays = replays + ?7, advanced_by = 'next'\n"
    )
    later = following.copy(tmp_path, "later", _CONTRACT.format(next=following.schema()))
    return Versions(present, following, later)


async def test_nodes_are_replaced_one_by_one_under_load(
    postgresql_server: PostgreSQL, versions: Versions, tmp_path: Path
) -> None:
    url = postgresql_server.create_database(DATABASE)
    issuer, key = f"http://127.0.0.1:{free_port()}", tmp_path / "mintmark.key"
    key.write_text(bytes(32).hex())
    key.chmod(0o600)
    lines = f'issuer = "{issuer}"\ndatabase = "{url}"\nmaster_key_file = "{key}"\n'
    nodes = [Node(tmp_path / f"node{number}", free_port(), lines) for number in range(3)]
    *serving, idle = nodes
    here = idle.folder
    present, following, later = versions.present, versions.next, versions.later

    assert "missing  0001_initial" in present.run("migrate", "--check", cwd=here, expect=1)
    present.run("migrate", cwd=here)
    present.run("migrate", "--check", cwd=here)
    load = await settle(url, issuer, [node.address for node in serving])

    with ExitStack() as stack:
        # In threads: the clients go on meanwhile.
        async def started(node: Node, version: Version) -> Process:
            return await asyncio.to_thread(stack.enter_context, node.serving(version))

        async def run(version: Version, *words: str, expect: int = 0) -> str:
            return await asyncio.to_thread(version.run, *words, cwd=here, expect=expect)

        processes = [await started(node, present) for node in serving]
        async with loaded(load), httpx.AsyncClient(trust_env=False) as http:

            async def is_ready(node: Node) -> bool:
                return (await http.get(f"{node.address}/readyz")).status_code == 200

            await load.goes_on("present version")

            # Expand, while the present version serves.
            said = await run(following, "migrate", "--check", expect=1)
            assert f"missing  {following.schema():04}_next" in said
            load.phase = "expanding"
            await run(following, "migrate")
            await run(following, "migrate", "--check")
            await run(present, "migrate", "--check")
            await load.goes_on("expanded")
            assert [await is_ready(node) for node in serving] == [True, True]
            assert advanced_by(postgresql_server) == {""}
            # One that starts again meanwhile, or that nobody thinks of.
            forgotten = await started(idle, present)
            assert await is_ready(idle)

            # Replace the nodes, one by one.
            for node, process in zip(serving, processes, strict=True):
                load.phase = "replacing"
                await asyncio.to_thread(drained, process)
                await load.goes_on("one node", 20)
                await started(node, following)
                await load.goes_on("replaced")
            assert "next" in advanced_by(postgresql_server)

            # Contract: the next version works with it, the one before does not any more.
            load.phase = "contracting"
            await run(later, "migrate")
            await load.goes_on("contracted")
            assert [await is_ready(node) for node in nodes] == [True, True, False]
            await asyncio.to_thread(drained, forgotten)
            for refused in (("serve",), ("migrate", "--check"), ("migrate",)):
                said = " ".join((await run(present, *refused, expect=1)).split())
                assert f"needs a mintmark that knows schema {following.schema()}" in said, refused
                assert "Install that version or a later one" in said, refused
            await started(idle, following)
            assert await is_ready(idle)
            await load.goes_on("end")
    waits = ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in load.longest.items())
    print(
        f"\nrolling upgrade: {load.answered} refreshes by {CLIENTS} clients while the schema grew, 2 nodes were replaced and "
        f"the schema shrank; {load.retries.total()} retries ({dict(load.retries)}), none failed, none was refused; "
        f"longest waits for a token in s: {waits}"
    )


def advanced_by(server: PostgreSQL) -> set[str]:
    """Return which versions wrote the new column."""
    return set(server.execute("SELECT DISTINCT advanced_by FROM grants", DATABASE))
