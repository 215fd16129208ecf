"""The revocation feed as JSON: who may read it, pages, positions, and what arrives on it (ADR 0021)."""

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from tests.protocol.answers import assert_error, assert_not_stored, assert_tokens, claims_of, part
from tests.protocol.inhabitants import change_client, client_of, user_of
from tests.storage.store_things import event
from tests.support.failing import FailingStore
from tests.support.feed import PATH, table_of
from tests.support.installation import PASSWORD, Installation, install

from mintmark.authority import keyring, login, people
from mintmark.authority.registration import rotate_secret, set_client_disabled
from mintmark.oauth.revocations import KEPT_BEYOND_EXPIRY, Revocation
from mintmark.storage.memory import MemoryStore

NEW_PASSWORD = "nine yellow bicycles waiting"


async def ask(
    mint: Installation, client_id: str = "service", secret: str | None = None, **query: str
) -> httpx.Response:
    async with mint.http() as http:
        return await http.get(PATH, params=query, auth=(client_id, secret or mint.secrets.get(client_id, "none")))


async def read(mint: Installation, **query: str) -> dict[str, Any]:
    response = await ask(mint, **query)
    assert response.status_code == 200, response.text
    assert_not_stored(response)
    body: dict[str, Any] = response.json()
    assert set(body) == {"cursor", "more", "entries"}
    return body


async def revoke(mint: Installation, count: int = 1) -> list[str]:
    """Revoke tokens; return their names."""
    names = []
    for _ in range(count):
        token = assert_tokens(await mint.post("/token", "service", grant_type="client_credentials"))["access_token"]
        assert (await mint.post("/revoke", "service", token=token)).status_code == 200
        names.append(claims_of(token)["jti"])
    return names


def names_in(page: dict[str, Any]) -> list[str]:
    return [entry["jti"] for entry in page["entries"]]


def basic(text: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}


@pytest.mark.spec("T11", "T04")
async def test_only_a_resource_server_that_proves_who_it_is_reads(mint: Installation) -> None:
    """Nothing, wrong, public, disabled: 401, all alike. The right one is let in with either of its secrets."""
    await change_client(mint, "web", serves=("https://api.example",))
    await set_client_disabled(mint.authority, await client_of(mint, "web"), is_disabled=True)
    secret = mint.secrets["service"]
    token = assert_tokens(await mint.post("/token", "service", grant_type="client_credentials"))["access_token"]
    attempts: list[dict[str, str]] = [
        {},
        basic("service:wrong"),
        basic("service:"),
        basic("service"),
        basic(f"nobody:{secret}"),
        basic("spa:"),
        basic("spa:x"),
        basic(f"web:{mint.secrets['web']}"),
        basic(f"web:{secret}"),
        {"authorization": f"Bearer {token}"},
        {"authorization": ""},
    ]
    refusals = set()
    async with mint.http() as http:
        for headers in attempts:
            for accept in ("application/json", "text/event-stream"):
                answer = await http.get(PATH, headers={**headers, "accept": accept})
                assert_error(answer, "invalid_client", 401)
                assert answer.headers["www-authenticate"].startswith("Basic realm=")
                refusals.add(answer.content)
    assert len(refusals) == 1
    assert (await ask(mint)).status_code == 200
    newer = await rotate_secret(mint.authority, await client_of(mint, "service"))
    assert (await ask(mint, secret=newer)).status_code == 200
    assert (await ask(mint)).status_code == 200


@pytest.mark.spec("T11")
async def test_credentials_in_the_url_count_for_nothing(mint: Installation) -> None:
    async with mint.http() as http:
        assert_error(await http.get(PATH, params=mint.credentials("service")), "invalid_client", 401)


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
async def test_a_client_that_serves_nothing_is_told_what_to_register(mint: Installation, accept: str) -> None:
    async with mint.http() as http:
        answer = await http.get(PATH, auth=("web", mint.secrets["web"]), headers={"accept": accept})
    assert_error(answer, "unauthorized_client", 403)
    assert "register the resources that this client serves" in answer.json()["error_description"]
    await change_client(mint, "web", serves=("https://api.example",))
    assert (await ask(mint, "web")).status_code == 200


async def test_guessing_secrets_gets_slow_here_too(mint: Installation) -> None:
    statuses = [(await ask(mint, secret=f"wrong {number}")).status_code for number in range(25)]
    assert (set(statuses[:20]), set(statuses[20:])) == ({401}, {429})
    assert (await ask(mint)).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_it_is_read_and_nothing_else(mint: Installation, method: str) -> None:
    """And by no script of another origin."""
    async with mint.http() as http:
        answer = await http.request(method, PATH, auth=("service", mint.secrets["service"]))
        assert_error(answer, "invalid_request", 405)
        head = await http.head(PATH, auth=("service", mint.secrets["service"]), headers={"accept": "text/event-stream"})
    assert {name.strip() for name in answer.headers["allow"].split(",")} == {"GET", "HEAD"}
    assert "access-control-allow-origin" not in (await ask(mint)).headers
    assert (head.status_code, head.content, head.headers["content-type"]) == (200, b"", "text/event-stream")


@pytest.mark.spec("A07")
async def test_of_the_query_only_the_cursor_is_read_and_only_once(mint: Installation) -> None:
    await revoke(mint)
    assert names_in(await read(mint, cursor="", limit="0", foo="bar")) == names_in(await read(mint))
    async with mint.http() as http:
        twice = await http.get(f"{PATH}?cursor=0&cursor=0", auth=("service", mint.secrets["service"]))
    assert_error(twice, "invalid_request")


async def test_an_empty_list(mint: Installation) -> None:
    assert await read(mint) == {"cursor": "0", "more": False, "entries": []}


async def test_whoever_goes_on_from_the_cursor_has_everything_once(stored_mint: Installation) -> None:
    mint = stored_mint
    first = await revoke(mint, 3)
    page = await read(mint)
    assert (names_in(page), page["more"]) == (first, False)
    assert await read(mint, cursor=page["cursor"]) == {**page, "entries": []}
    second = await revoke(mint, 2)
    page = await read(mint, cursor=page["cursor"])
    assert names_in(page) == second
    # At another node, too.
    third = await revoke(mint)
    node = await mint.node()
    assert names_in(await read(node, cursor=page["cursor"])) == third


async def test_a_long_list_comes_in_pages(mint: Installation) -> None:
    names = [f"j{number}" for number in range(20_001)]
    for name in names:
        await mint.authority.store.revocations.add(
            Revocation(kind="jti", value=name, expires_at=mint.clock.now() + 900), event()
        )
    await mint.authority.catch_up()
    seen, position, mores = list[str](), "0", list[bool]()
    while not mores or mores[-1]:
        page = await read(mint, cursor=position)
        seen += names_in(page)
        position = page["cursor"]
        mores.append(page["more"])
    assert seen == names
    assert mores == [True, True, False]


@pytest.mark.parametrize(
    "cursor", ["x", "-1", "1", "1-", "2-000000000000", "99999999999999999999999", "9-abc", "\u0663", "1-\u00fc", "'"]
)
async def test_a_cursor_nobody_gave_starts_over(mint: Installation, cursor: str) -> None:
    """To read twice is harmless, to miss something is not."""
    names = await revoke(mint, 2)
    assert names_in(await read(mint, cursor=cursor)) == names


@pytest.mark.spec("invariant I11")
async def test_a_cursor_of_before_the_store_went_back_starts_over() -> None:
    """The same numbers stand for other entries now; the reader is told all of them."""
    store = MemoryStore()
    mint = await install(store=store)
    backup = store.snapshot()
    await revoke(mint, 3)
    position = (await read(mint))["cursor"]
    store.restore(backup)
    names = await revoke(mint, 4)
    assert names_in(await read(mint, cursor=position)) == names


async def test_an_entry_is_told_for_as_long_as_somebody_may_need_it(stored_mint: Installation) -> None:
    mint = stored_mint
    await revoke(mint)
    (entry,) = (await read(mint))["entries"]
    mint.clock.advance(entry["exp"] + KEPT_BEYOND_EXPIRY - 1 - mint.clock.now())
    await mint.authority.upkeep(100)
    for node in (mint, await mint.node()):
        assert (await read(node))["entries"] == [entry]
    mint.clock.advance(1)
    await mint.authority.upkeep(100)
    for node in (mint, await mint.node()):
        assert await read(node) == {"cursor": "0", "more": False, "entries": []}


@pytest.mark.spec("invariant I4")
async def test_while_the_store_is_away_the_answer_is_503() -> None:
    failing = FailingStore(MemoryStore())
    mint = await install(store=failing.as_store())
    failing.watch(0)
    answer = await ask(mint)
    assert_error(answer, "temporarily_unavailable", 503)
    assert int(answer.headers["retry-after"]) >= 1
    failing.watch()
    assert (await ask(mint)).status_code == 200


Tokens = dict[str, Any]
Act = Callable[[Installation, Tokens], Awaitable[object]]


async def _reuse(mint: Installation, tokens: Tokens) -> None:
    assert_tokens(await mint.refresh(tokens["refresh_token"]))
    mint.clock.advance(60)
    assert_error(await mint.refresh(tokens["refresh_token"]), "invalid_grant")


async def _sign_out(mint: Installation, _: Tokens) -> None:
    (session, *_rest) = await mint.authority.store.sessions.of((await user_of(mint)).subject)
    await login.end_session(mint.authority, session.sid, session.subject)


async def _sign_out_everywhere(mint: Installation, _: Tokens) -> None:
    await people.sign_out_everywhere(mint.authority, (await user_of(mint)).subject, reason="sign_out")


async def _change_password(mint: Installation, _: Tokens) -> None:
    await people.change_password(mint.authority, await user_of(mint), current=PASSWORD, new=NEW_PASSWORD)


async def _disable_user(mint: Installation, _: Tokens) -> None:
    await people.set_disabled(mint.authority, await user_of(mint), is_disabled=True)


async def _withdraw_consent(mint: Installation, _: Tokens) -> None:
    await people.withdraw_consent(mint.authority, (await user_of(mint)).subject, "web")


async def _disable_client(mint: Installation, _: Tokens) -> None:
    await set_client_disabled(mint.authority, await client_of(mint, "web"), is_disabled=True)


async def _retire_key(mint: Installation, tokens: Tokens) -> None:
    authority, kid = mint.authority, part(tokens["access_token"], 0)["kid"]
    assert await keyring.retire_emergency(authority.keyring, authority.store, authority.clock, kid)


async def _redeem_again(mint: Installation, tokens: Tokens) -> None:
    assert_error(await mint.redeem(tokens["code"]), "invalid_grant")


ACTS: dict[str, Act] = {
    "access token revoked": lambda mint, tokens: mint.post("/revoke", "web", token=tokens["access_token"]),
    "refresh token revoked": lambda mint, tokens: mint.post("/revoke", "web", token=tokens["refresh_token"]),
    "refresh token reused": _reuse,
    "code used again": _redeem_again,
    "signed out": _sign_out,
    "signed out everywhere": _sign_out_everywhere,
    "password changed": _change_password,
    "user disabled": _disable_user,
    "consent withdrawn": _withdraw_consent,
    "client disabled": _disable_client,
    "key retired": _retire_key,
}


@pytest.mark.spec("invariant I6", "invariant I3", "invariant I7", "R07")
@pytest.mark.parametrize("name", ACTS)
async def test_whatever_takes_tokens_back_arrives_and_hits_them(name: str) -> None:
    """By what the reply says and nothing else; and what others hold is left alone."""
    mint = await install()
    await people.create_user(mint.authority, email="bob@example.com", password=NEW_PASSWORD, name="Bob")
    bob = await mint.session("bob@example.com", NEW_PASSWORD)
    scope = "openid orders:read"
    others = [await mint.obtain("spa", session=bob, scope=scope)]
    if name != "client disabled":
        others.append(await mint.obtain("web", session=bob, scope=scope))
    code = await mint.grant("web", scope=scope)
    tokens = assert_tokens(await mint.redeem(code)) | {"code": code}
    before = await read(mint)
    await ACTS[name](mint, tokens)
    await mint.authority.catch_up()
    table = table_of((await read(mint, cursor=before["cursor"]))["entries"])
    token = tokens["access_token"]
    assert table.revokes(claims_of(token), part(token, 0)["kid"])
    assert not table_of(before["entries"]).revokes(claims_of(token), part(token, 0)["kid"])
    for other in others if name != "key retired" else []:
        assert not table.revokes(claims_of(other["access_token"]), part(other["access_token"], 0)["kid"])
    # And for as long as a clock that is behind accepts the token.
    assert table.forget(claims_of(token)["exp"] + KEPT_BEYOND_EXPIRY - 1) == 0
