"""`mintmark serve` killed with SIGKILL again and again under load: nothing acknowledged is lost, nobody is logged out."""

import asyncio
import json
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import pytest
from pydantic import SecretBytes
from tests.support.nodes import API, CALLBACK, VERIFIER
from tests.unit.cli.processes import Process, free_port, started

from mintmark import bootstrap
from mintmark.authority import authorize, derivation
from mintmark.authority.core import Authority
from mintmark.authority.model import AuditEvent, Client, Resource, Session, User
from mintmark.authority.registration import create_client
from mintmark.authority.resources import create_resource
from mintmark.authority.token import CodeRequest, RefreshRequest, token
from mintmark.config import Settings
from mintmark.oauth.parameters import Parameters
from mintmark.oauth.pkce import challenge_of

pytestmark = [pytest.mark.slow, pytest.mark.anyio, pytest.mark.timeout(300)]

ROTATIONS: Final = 5000
CLIENTS: Final = 40
MOST_SECONDS: Final = 150.0
KILL_AFTER: Final = (100, 600)  # acknowledged rotations, drawn anew each time
SEED: Final = 20_240_611


@dataclass
class Family:
    """One grant, as its client knows it."""

    gid: bytes
    refresh_token: str
    generation: int = 1
    acknowledged: int = 0


@dataclass
class Load:
    """What is going on, and what went wrong."""

    issuer: str
    families: list[Family]
    ends_at: float = 0.0
    acknowledged: int = 0
    kills: int = 0
    unanswered: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return self.acknowledged >= ROTATIONS or time.monotonic() > self.ends_at or bool(self.wrong)


async def test_kill_minus_nine_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    database = tmp_path / "mintmark.sqlite3"
    key = tmp_path / "mintmark.key"
    key.write_text(bytes(32).hex())
    key.chmod(0o600)
    config = tmp_path / "mintmark.toml"
    config.write_text(
        f'issuer = "{issuer}"\nport = {port}\ndatabase = "{database}"\nmaster_key_file = "{key}"\ncleanup_interval = 1\n'
    )
    settings = Settings(issuer=issuer, port=port, database=str(database), master_key=SecretBytes(bytes(32)))
    async with bootstrap.running(settings) as authority:
        load = Load(issuer, [family async for family in _found(authority)])
    began = time.monotonic()
    load.ends_at = began + MOST_SECONDS
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_kill(load, tmp_path, config))
        for family in load.families:
            tasks.create_task(_refresh_for_ever(load, family))
    seconds = time.monotonic() - began
    assert not load.wrong, load.wrong
    async with bootstrap.running(settings) as authority:
        unheard, replays = await _judge(authority, load)
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    print(
        f"\nkill -9: {load.kills} kills in {seconds:.0f} s, {load.acknowledged} rotations of {CLIENTS} grants acknowledged, "
        f"{load.unanswered.total()} requests unanswered ({dict(load.unanswered)}), {replays} answered again from a commit "
        f"nobody had heard of, {unheard} of those at the end; none lost, no false invalid_grant, integrity ok"
    )
    assert load.kills >= 3
    assert load.acknowledged >= ROTATIONS
    assert all(family.acknowledged for family in load.families)


async def _kill(load: Load, folder: Path, config: Path) -> None:
    chance = random.Random(SEED)
    while not load.is_over:
        with started(folder, "serve", "--config", str(config)) as process:
            try:
                await asyncio.to_thread(process.read_until, "mintmark is ready")
            except AssertionError as failed:
                load.wrong.append(f"it does not start again: {failed}")
            due = load.acknowledged + chance.randint(*KILL_AFTER)
            while load.acknowledged < due and not load.is_over:  # noqa: ASYNC110 - at no particular moment
                await asyncio.sleep(chance.random() * 0.02)
            await _kill_now(process)
            load.kills += 1


async def _kill_now(process: Process) -> None:
    process.send_signal(signal.SIGKILL)
    assert await asyncio.to_thread(process.wait, 10) == -signal.SIGKILL


async def _refresh_for_ever(load: Load, family: Family) -> None:
    """A good client: it keeps its token until it has the next one, and asks again when it got no answer."""
    while not load.is_over:
        try:
            async with _connected(load.issuer) as (reader, writer):
                while not load.is_over:
                    status, body = await asyncio.wait_for(_ask(reader, writer, load.issuer, family.refresh_token), 10)
                    if status != 200:
                        _note_refusal(load, family, status, body)
                        break
                    _acknowledge(load, family, body["refresh_token"])
        except ConnectionRefusedError:
            await asyncio.sleep(0.1)  # the next one is starting
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as problem:
            load.unanswered[type(problem).__name__] += 1
        await asyncio.sleep(0.01)


def _acknowledge(load: Load, family: Family, refresh_token: str) -> None:
    parsed = derivation.parse(refresh_token, "refresh")
    # Whether it was rotated just now or before the node died: the successor of what was presented, of this grant.
    if parsed is None or (parsed.grant_id, parsed.generation) != (family.gid, family.generation + 1):
        load.wrong.append(f"{family} was answered {refresh_token}")
        return
    family.refresh_token, family.generation = refresh_token, parsed.generation
    family.acknowledged += 1
    load.acknowledged += 1


def _note_refusal(load: Load, family: Family, status: int, body: dict[str, Any]) -> None:
    if status == 503 and body.get("error") == "temporarily_unavailable":
        load.unanswered["503"] += 1
    else:
        load.wrong.append(f"{family} was answered {status} {body}")


@asynccontextmanager
async def _connected(issuer: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    where = urlsplit(issuer)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, issuer: str, refresh_token: str
) -> tuple[int, dict[str, Any]]:
    form = urlencode({"grant_type": "refresh_token", "client_id": "app", "refresh_token": refresh_token})
    head = (
        f"POST /api/v2/auth/token HTTP/1.1\r\nHost: {urlsplit(issuer).netloc}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n\r\n"
    )
    writer.write((head + form).encode())
    await writer.drain()
    status_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body: dict[str, Any] = json.loads(await reader.readexactly(int(headers["content-length"])))
    return int(status_line.split()[1]), body


async def _found(authority: Authority) -> AsyncIterator[Family]:
    """Let one person allow one application on many devices; yield what each device got."""
    now = authority.clock.now()
    scope = ("offline_access", "orders:read")
    app = Client(
        client_id="app",
        name="App",
        token_endpoint_auth_method="none",
        classification="public",
        redirect_uris=(CALLBACK,),
        scope=scope,
        resources=(API,),
        refresh_grace=60,
        access_token_signed_response_alg="ES256",
    )
    await create_resource(authority, Resource(resource=API, name="Orders", scopes=("orders:read",)))
    await create_client(authority, app)
    user = User(subject="usr_ada", email="ada@example.com")
    await authority.store.users.add(user)
    session = Session(
        digest=bytes(32),
        sid="sid",
        subject=user.subject,
        auth_time=now,
        acr="pwd",
        amr=("pwd",),
        user_agent="",
        idle_expires_at=now + 3600,
        expires_at=now + 3600,
    )
    await authority.store.sessions.add(session, replaces=None, audit=AuditEvent(at=now, event="sign_in"))
    values = {
        "response_type": "code",
        "client_id": "app",
        "redirect_uri": CALLBACK,
        "scope": " ".join(scope),
        "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
    }
    for _ in range(CLIENTS):
        request = await authorize.read(authority, Parameters(values))
        target = await authorize.target_for(authority, request, user.subject)
        answer = await authorize.grant_code(authority, request, session, target)
        code = CodeRequest(code=answer.parameters["code"], redirect_uri=CALLBACK, code_verifier=VERIFIER)
        refresh_token = (await token(authority, app, code)).refresh_token or ""
        parsed = derivation.parse(refresh_token, "refresh")
        assert parsed is not None
        yield Family(parsed.grant_id, refresh_token)


async def _judge(authority: Authority, load: Load) -> tuple[int, int]:
    """Check every grant against what its client was told; return how many last commits nobody heard of, and replays."""
    app = await authority.store.clients.get("app")
    assert app is not None
    unheard = replays = 0
    for family in load.families:
        row = await authority.store.grants.get(family.gid)
        assert row is not None, f"a grant is lost: {family}"
        assert row.ended_at is None, f"{row.end_reason}: {family}"
        # Acknowledged means durable; one commit more may have died with the answer on its way.
        assert row.generation - family.generation in {0, 1}, (row.generation, family)
        unheard += row.generation - family.generation
        replays += row.replays
        answer = await token(authority, app, RefreshRequest(refresh_token=family.refresh_token))
        successor = authority.keyring.secrets.derive("refresh", row, family.generation + 1)
        assert answer.refresh_token == successor, family
        await token(authority, app, RefreshRequest(refresh_token=successor))
    return unheard, replays
