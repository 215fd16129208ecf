"""The store is away: 503 and Retry-After, never invalid_grant, and nothing half-written (invariant I4)."""

import json
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs
from tests.protocol.answers import assert_error, assert_tokens
from tests.support.failing import FailingStore
from tests.support.installation import PREFIX, Installation, install

from mintmark.storage.memory import MemoryStore
from mintmark.storage.sqlite import SQLiteStore


@dataclass
class Case:
    """A request, made ready by ``prepare``, with the status it has while all is well."""

    prepare: Callable[[Installation], Awaitable[Callable[[], Awaitable[httpx.Response]]]]
    status: int = 200


async def _code(mint: Installation) -> Callable[[], Awaitable[httpx.Response]]:
    code = await mint.grant()
    return lambda: mint.redeem(code)


async def _code_reuse(mint: Installation) -> Callable[[], Awaitable[httpx.Response]]:
    code = await mint.grant()
    assert_tokens(await mint.redeem(code))
    return lambda: mint.redeem(code)


async def _refresh(mint: Installation) -> Callable[[], Awaitable[httpx.Response]]:
    token = (await mint.obtain())["refresh_token"]
    return lambda: mint.refresh(token)


async def _replay(mint: Installation) -> Callable[[], Awaitable[httpx.Response]]:
    token = (await mint.obtain())["refresh_token"]
    assert_tokens(await mint.refresh(token))
    return lambda: mint.refresh(token)


async def _refresh_reuse(mint: Installation) -> Callable[[], Awaitable[httpx.Response]]:
    token = (await mint.obtain())["refresh_token"]
    assert_tokens(await mint.refresh(token))
    mint.clock.advance(60)
    return lambda: mint.refresh(token)


async def _client_credentials(mint: Installation) -> Callable[[], Awaitable[httpx.Response]]:
    return lambda: mint.post("/token", "service", grant_type="client_credentials")


def _with_token(path: str, kind: str, client_id: str) -> Callable[[Installation], Awaitable[Any]]:
    async def prepare(mint: Installation) -> Callable[[], Awaitable[httpx.Response]]:
        token = (await mint.obtain())[kind]
        return lambda: mint.post(path, client_id, token=token)

    return prepare


async def _userinfo(mint: Installation) -> Callable[[], Awaitable[httpx.Response]]:
    token = (await mint.obtain())["access_token"]

    async def ask() -> httpx.Response:
        async with mint.http() as http:
            return await http.get(PREFIX + "/userinfo", headers={"authorization": f"Bearer {token}"})

    return ask


CASES = {
    "code": Case(_code),
    "code reuse": Case(_code_reuse, 400),
    "refresh": Case(_refresh),
    "replay": Case(_replay),
    "refresh reuse": Case(_refresh_reuse, 400),
    "client credentials": Case(_client_credentials),
    "revoke refresh token": Case(_with_token("/revoke", "refresh_token", "web")),
    "revoke access token": Case(_with_token("/revoke", "access_token", "web")),
    "introspect refresh token": Case(_with_token("/introspect", "refresh_token", "web")),
    "introspect access token": Case(_with_token("/introspect", "access_token", "service")),
    "userinfo": Case(_userinfo),
}


def assert_unavailable(response: httpx.Response) -> None:
    """The only answer while the store is away."""
    assert_error(response, "temporarily_unavailable", 503)
    assert int(response.headers["retry-after"]) >= 1


@pytest.mark.spec("invariant I4", "invariant I3")
@pytest.mark.parametrize("does_the_work", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", CASES)
async def test_an_outage_at_any_verb_is_503_and_nothing_is_half_written(name: str, *, does_the_work: bool) -> None:
    """Each verb a request calls fails in turn, before or after its work; when the store is back, all is as it should be."""
    case = CASES[name]
    memory = MemoryStore()
    failing = FailingStore(memory)
    mint = await install(store=failing.as_store())
    request = await case.prepare(mint)
    before, heard = memory.snapshot(), mint.authority.denylist.last
    failing.watch()
    assert (await request()).status_code == case.status
    verbs, after = failing.calls, memory.snapshot()
    assert verbs
    for at, verb in enumerate(verbs):
        memory.restore(before)
        mint.authority.denylist.last = heard
        mint.authority.denylist.forget(2**40)
        failing.watch(at, does_the_work=does_the_work)
        assert_unavailable(await request())
        assert failing.calls == verbs[: at + 1]
        # All or nothing: as before, or as if the answer had merely been lost.
        assert memory.snapshot() in (before, after), verb
        failing.watch()
        again = await request()
        # A code has no grace: whose answer was lost after the commit has to start anew (RFC 6749 §4.1.2).
        is_spent = name == "code" and does_the_work and verb == "grants.advance"
        assert again.status_code == (400 if is_spent else case.status), (verb, again.text)


@pytest.mark.spec("invariant I4", "invariant I2")
async def test_a_commit_whose_outcome_nobody_knows_is_healed_by_the_grace() -> None:
    """The rotation was made, the answer was 503: the client asks again and gets the successor of that very rotation."""
    memory = MemoryStore()
    failing = FailingStore(memory)
    mint = await install(store=failing.as_store())
    token = (await mint.obtain())["refresh_token"]
    failing.watch()
    answers = []
    for verb in range(20):
        failing.watch(verb, does_the_work=True)
        answers.append(await mint.refresh(token))
        if answers[-1].status_code == 200:
            break
    for answer in answers[:-1]:
        assert_unavailable(answer)
    tokens = assert_tokens(answers[-1])
    assert len(answers) > 4
    failing.watch()
    assert_tokens(await mint.refresh(tokens["refresh_token"]))


@pytest.mark.spec("invariant I4", "invariant I3")
async def test_a_reuse_found_during_an_outage_ends_the_grant_later() -> None:
    """Ending failed: 503, not invalid_grant; the next presentation ends it, with its access tokens."""
    failing = FailingStore(MemoryStore())
    mint = await install(store=failing.as_store())
    first = await mint.obtain()
    second = assert_tokens(await mint.refresh(first["refresh_token"]))
    mint.clock.advance(60)
    failing.watch()
    await mint.post("/introspect", "service", token="x")
    failing.watch(2)
    assert_unavailable(await mint.refresh(first["refresh_token"]))
    assert failing.calls == ["clients.get", "grants.get", "grants.end"]
    failing.watch()
    assert await mint.is_active(second["access_token"])
    assert_error(await mint.refresh(first["refresh_token"]), "invalid_grant")
    assert not await mint.is_active(second["access_token"])
    assert_error(await mint.refresh(second["refresh_token"]), "invalid_grant")


@pytest.mark.spec("invariant I4")
async def test_losing_every_race_is_503(mint: Installation) -> None:
    """The row moves on each time: could not decide is not a refusal."""

    class Contended(FailingStore):
        async def call(self, name: str, verb: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            return False if name == "grants.advance" else await verb(*args, **kwargs)

    token = (await mint.obtain())["refresh_token"]
    from dataclasses import replace

    contended = Contended(mint.authority.store)
    loser = Installation(replace(mint.authority, store=contended.as_store()), mint.clock, mint.secrets, mint.user)
    assert_unavailable(await loser.refresh(token))
    assert contended.calls.count("grants.advance") == 5
    assert_tokens(await mint.refresh(token))


@pytest.mark.spec("invariant I4")
async def test_a_closed_store_is_503_everywhere(stored_mint: Installation) -> None:
    """A real one, shut: every request that needs it."""
    mint = stored_mint
    tokens = await mint.obtain()
    await mint.authority.store.close()
    for answer in (
        await mint.refresh(tokens["refresh_token"]),
        await mint.post("/revoke", "web", token=tokens["refresh_token"]),
        await mint.post("/introspect", "service", token=tokens["access_token"]),
        await mint.post("/token", "service", grant_type="client_credentials"),
    ):
        assert_unavailable(answer)


@pytest.mark.spec("invariant I4")
async def test_a_database_locked_by_another_process_is_503(tmp_path: Path) -> None:
    """Writing has to wait for too long; reading goes on, and afterwards everything does."""
    path = tmp_path / "mintmark.db"
    store = SQLiteStore.open(path, now=1_700_000_000, busy_timeout=0.05)
    mint = await install(store=store)
    tokens = await mint.obtain()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert_unavailable(await mint.refresh(tokens["refresh_token"]))
    assert_unavailable(await mint.post("/revoke", "web", token=tokens["refresh_token"]))
    assert await mint.is_active(tokens["access_token"])
    other.execute("ROLLBACK")
    other.close()
    assert_tokens(await mint.refresh(tokens["refresh_token"]))
    await store.close()


@pytest.mark.spec("invariant I4", "invariant I8")
@pytest.mark.parametrize("error", [RuntimeError, ValueError, KeyError, TimeoutError, AssertionError])
async def test_a_fault_of_ours_is_server_error_and_says_nothing(error: type[Exception]) -> None:
    """500 in the dialect; neither the answer nor the log has the exception's text."""
    failing = FailingStore(MemoryStore())
    mint = await install(store=failing.as_store())
    token = (await mint.obtain())["refresh_token"]
    failing.watch(1, error=error(f"could not use {token}"))
    with capture_logs() as logs:
        answer = await mint.refresh(token)
    assert_error(answer, "server_error", 500)
    assert token not in answer.text
    assert "could not use" not in answer.text + json.dumps(logs)
    assert [entry["event"] for entry in logs if entry["log_level"] != "debug"] == ["fault"]
    failing.watch()
    assert_tokens(await mint.refresh(token))
