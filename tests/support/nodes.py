"""Nodes without edges: authorities put together by hand on one store, with pauses, faults and skew where a test asks."""

import asyncio
import hashlib
import itertools
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from tests.support.world import FixedClock, SeededRandomness

from mintmark.authority import authorize
from mintmark.authority.core import Authority
from mintmark.authority.denylist import Denylist
from mintmark.authority.keyring import Keyring
from mintmark.authority.model import AuditEvent, Client, Grant, Resource, Session, User
from mintmark.authority.policy import Lifetimes, Policy
from mintmark.authority.ports import Advance, Clock, Grants, GrantSelector, Store, StoreUnavailableError
from mintmark.authority.wrapping import MasterKeys
from mintmark.jose import jws
from mintmark.jose.jwk import Key
from mintmark.oauth.parameters import Parameters
from mintmark.oauth.pkce import challenge_of
from mintmark.storage.memory import MemoryStore
from mintmark.storage.sqlite import SQLiteStore
from mintmark.system.replaying import MemoryReplays

ISSUER = "https://id.example"
API = "https://api.example"
REPORTS = "https://reports.example"
CALLBACK = "https://app.example/callback"
VERIFIER = "v" * 43
START = 1_700_000_000
DATABASE = "mintmark.db"

LIFETIMES = Lifetimes(
    access_token_lifetime=300, refresh_token_lifetime=1300, refresh_idle_lifetime=1200, refresh_grace=10
)
POLICY = Policy(
    issuer=ISSUER,
    lifetimes=dict.fromkeys(("public", "internal", "confidential", "restricted"), LIFETIMES),
    code_lifetime=60,
    signing_algorithms=("ES256",),
)
SCOPE = ("openid", "offline_access", "orders:read", "orders:write", "reports:read")

PACE: ContextVar[Iterator[int] | None] = ContextVar("PACE", default=None)
"""How many turns of the event loop the next calls of ports take, for the task that sets it."""

Fault = Literal["crash before commit", "crash after commit", "outage before commit", "outage after commit"]


class Crash(BaseException):
    """The process died here."""


async def pause() -> None:
    """Let others run, as long as this task's pace says."""
    pace = PACE.get()
    for _ in range(next(pace, 0) if pace is not None else 0):
        await asyncio.sleep(0)


class SkewedClock:
    """Another machine's clock."""

    def __init__(self, clock: FixedClock, skew: int) -> None:
        self._clock = clock
        self._skew = skew

    def now(self) -> int:
        return self._clock.now() + self._skew


class PlainPasswords:
    """Passwords that cost nothing."""

    async def hash(self, password: str) -> str:
        return f"hash of {password}"

    async def verify(self, password_hash: str | None, password: str, *, source: str = "") -> bool:
        return password_hash == f"hash of {password}"

    async def weakness(self, password: str, words: Sequence[str]) -> str | None:
        return None

    def is_outdated(self, password_hash: str) -> bool:
        return False


class NoLimiter:
    """Nobody is slowed down."""

    async def take(self, purpose: str, who: str, *, burst: int, period: int) -> int:
        return 0

    async def give_back(self, purpose: str, who: str, *, period: int) -> None:
        pass


class PacedSigner:
    """Signs at once, after the pause of the task."""

    async def sign(self, key: Key, signing_input: bytes) -> bytes:
        await pause()
        return jws.sign_input(key, signing_input)


class PacedGrants:
    """A store's grants, with a pause before each verb and a fault at the next commit if ``fault`` says so."""

    def __init__(self, inner: Grants) -> None:
        self.inner = inner
        self.fault: Fault | None = None

    async def get(self, grant_id: bytes) -> Grant | None:
        await pause()
        return await self.inner.get(grant_id)

    async def live(self, selector: GrantSelector, now: int) -> list[Grant]:
        return await self.inner.live(selector, now)

    async def add(self, grant: Grant, audit: AuditEvent, *, if_session: str | None = None) -> bool:
        return await self.inner.add(grant, audit, if_session=if_session)

    async def advance(self, step: Advance) -> bool:
        await pause()
        self._fail("before")
        done = await self.inner.advance(step)
        self._fail("after")
        return done

    async def end(
        self,
        selector: GrantSelector,
        *,
        reason: str,
        at: int,
        revoke_until: int = 0,
        keep_scope: str | None = None,
        audit: AuditEvent,
    ) -> int:
        await pause()
        self._fail("before")
        count = await self.inner.end(
            selector, reason=reason, at=at, revoke_until=revoke_until, keep_scope=keep_scope, audit=audit
        )
        self._fail("after")
        return count

    def _fail(self, when: str) -> None:
        fault = self.fault
        if fault is None or fault.split()[1] != when:
            return
        self.fault = None
        raise Crash(fault) if fault.startswith("crash") else StoreUnavailableError(fault)


class InterruptedGrants(PacedGrants):
    """Something happens just before the next step is taken: ``meanwhile``."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def advance(self, step: Advance) -> bool:
        act, self.meanwhile = self.meanwhile, None
        if act is not None:
            await act()
        return await super().advance(step)


class GrantsWithoutCompareAndSet(PacedGrants):
    """What no adapter may be: a step is taken whatever the row has become. The checkers must notice it."""

    async def advance(self, step: Advance) -> bool:
        await pause()
        grant = await self.inner.get(step.id)
        if grant is not None:
            await self.inner.advance(replace(step, expected=min(grant.generation, step.generation)))
        return True


class PacedStore:
    """A store whose grants are ``grants``; all else is its own."""

    def __init__(self, inner: Store, grants: PacedGrants) -> None:
        self.inner = inner
        self.grants = grants

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Disk(Protocol):
    """What outlives a node: its database, and copies of it."""

    def open(self) -> Store:
        """Return a store on it, as a node that starts does."""
        ...

    async def copy(self) -> object:
        """Return a copy of the whole database, taken while it is used."""
        ...

    async def restore(self, copy: object) -> None:
        """Go back to ``copy``; every node was closed before."""
        ...

    async def release(self, store: Store) -> None:
        """Close what a node had opened."""
        ...


class MemoryDisk:
    """One store in memory that all nodes share."""

    def __init__(self, content: object | None = None) -> None:
        self._store = MemoryStore()
        if content is not None:
            self._store.restore(content)

    def open(self) -> Store:
        return self._store

    async def copy(self) -> object:
        return self._store.snapshot()

    async def restore(self, copy: object) -> None:
        self._store.restore(copy)

    async def release(self, store: Store) -> None:
        """Keep it: the others use it."""


class SQLiteDisk:
    """One file; each node opens it for itself, as processes do."""

    def __init__(self, directory: Path, content: Path | None = None) -> None:
        self._directory = directory
        self._path = directory / DATABASE
        self._copies = itertools.count()
        if content is not None:
            shutil.copyfile(content, self._path)

    def open(self) -> Store:
        return SQLiteStore.open(self._path, now=START)

    async def copy(self) -> Path:
        path = self._directory / f"copy{next(self._copies)}.db"
        source, target = sqlite3.connect(self._path), sqlite3.connect(path)
        source.backup(target)
        source.close()
        target.close()
        return path

    async def restore(self, copy: object) -> None:
        assert isinstance(copy, Path)
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)  # noqa: ASYNC240 - nobody else runs now
        shutil.copyfile(copy, self._path)

    async def release(self, store: Store) -> None:
        await store.close()


class Node:
    """One process: an authority with its own view of the keys and revocations, and its own clock."""

    def __init__(
        self,
        disk: Disk,
        clock: Clock,
        seed: str,
        *,
        policy: Policy = POLICY,
        grants: Callable[[Grants], PacedGrants] = PacedGrants,
    ) -> None:
        self.store = disk.open()
        self.grants = grants(self.store.grants)
        randomness = SeededRandomness(seed)
        self.authority = Authority(
            policy=policy,
            store=cast("Store", PacedStore(self.store, self.grants)),
            clock=clock,
            randomness=randomness,
            signer=PacedSigner(),
            passwords=PlainPasswords(),
            limiter=NoLimiter(),
            replays=MemoryReplays(clock),
            keyring=Keyring(policy, MasterKeys(bytes(32)), randomness),
            denylist=Denylist(),
        )

    async def client(self, client_id: str) -> Client:
        """Return the client as it is registered now."""
        client = await self.store.clients.get(client_id)
        assert client is not None
        return client

    async def issue(
        self,
        client_id: str,
        subject: str,
        *,
        scope: Sequence[str] = SCOPE[:4],
        resources: tuple[str, ...] = (),
        sid: str = "sid",
        auth_time: int = START - 100,
    ) -> str:
        """Let ``subject``, who signed in at ``auth_time``, allow the client; return the code."""
        values = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "scope": " ".join(scope),
            "nonce": "n0nce",
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
        }
        authority = self.authority
        request = await authorize.read(authority, Parameters(values, resources))
        session = Session(
            digest=hashlib.sha256(sid.encode()).digest(),
            sid=sid,
            subject=subject,
            auth_time=auth_time,
            acr="pwd",
            amr=("pwd",),
            user_agent="",
            idle_expires_at=START * 2,
            expires_at=START * 2,
        )
        if await self.store.sessions.get(session.digest) is None:
            audit = AuditEvent(at=auth_time, event="sign_in", subject=subject)
            await self.store.sessions.add(session, replaces=None, audit=audit)
        target = await authorize.target_for(authority, request, subject)
        answer = await authorize.grant_code(authority, request, session, target)
        return answer.parameters["code"]


def inhabitants() -> tuple[list[Resource], list[User], list[Client]]:
    """Return who and what every node's tests need: two people; web, stable and other (confidential), spa (public)."""
    resources = [
        Resource(resource=API, name="Orders", scopes=("orders:read", "orders:write")),
        Resource(resource=REPORTS, name="Reports", scopes=("reports:read",)),
    ]
    users = [
        User(subject=f"usr_{name}", email=f"{name}@example.com", password_hash="x", created_at=START)
        for name in ("ada", "bob")
    ]
    common: dict[str, Any] = {
        "redirect_uris": (CALLBACK,),
        "scope": SCOPE,
        "resources": (API, REPORTS),
        "id_token_signed_response_alg": "ES256",
    }
    clients = [
        Client(client_id="web", name="Web app", **common),
        Client(client_id="spa", name="App", token_endpoint_auth_method="none", classification="public", **common),
        Client(client_id="stable", name="Keeps its token", refresh_rotation="stable", **common),
        Client(client_id="other", name="Somebody else", **common),
        Client(client_id="api", name="Order service", grant_types=("client_credentials",), serves=(API, ISSUER)),
    ]
    return resources, users, clients


async def settle(store: Store) -> None:
    """Put everybody into an empty store."""
    resources, users, clients = inhabitants()
    for resource in resources:
        await store.resources.add(resource)
    for user in users:
        await store.users.add(user)
    for client in clients:
        await store.clients.add(client)


async def populated_memory() -> object:
    """Return the content of a memory store with everybody in it and keys made."""
    disk = MemoryDisk()
    await settle(disk.open())
    await Node(disk, FixedClock(START), "first").authority.start()
    return await disk.copy()


async def populated_file(directory: Path) -> Path:
    """Return a database file with everybody in it and keys made."""
    disk = SQLiteDisk(directory)
    node = Node(disk, FixedClock(START), "first")
    await settle(node.store)
    await node.authority.start()
    copy = await disk.copy()
    await disk.release(node.store)
    return copy
