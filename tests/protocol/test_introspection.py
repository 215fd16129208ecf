"""Introspection (RFC 7662)."""

from dataclasses import replace
from typing import Any

import pytest
from tests.protocol.answers import assert_error, assert_not_stored, assert_tokens, claims_of, part
from tests.protocol.inhabitants import change_client, user_of
from tests.support.installation import API, CALLBACK, ISSUER, PREFIX, REPORTS, Installation, install
from tests.support.world import SeededRandomness

from mintmark import bootstrap
from mintmark.authority.model import Client
from mintmark.authority.people import set_disabled
from mintmark.jose import base64url, jwt, strict_json

REPORTER = Client(client_id="reporter", name="Serves reports", grant_types=("client_credentials",), serves=(REPORTS,))
OTHER = Client(client_id="other", name="Another client", redirect_uris=(CALLBACK,), scope=("openid",))
INACTIVE = b'{"active":false}'


async def introspect(mint: Installation, token: str, client_id: str = "service", **extra: Any) -> dict[str, Any]:
    response = await mint.post("/introspect", client_id, token=token, **extra)
    assert response.status_code == 200, response.text
    assert_not_stored(response)
    body: dict[str, Any] = response.json()
    return body


def forge(mint: Installation, token: str, *, typ: str | None = "at+jwt", **changes: Any) -> str:
    """Sign a token's claims again with the authority's own key, changed."""
    key = mint.authority.keyring.signing_key("RS256", mint.clock.now())
    claims = {name: value for name, value in (claims_of(token) | changes).items() if value is not None}
    return jwt.encode(claims, key, typ=typ)


@pytest.mark.spec("N01", "T11", "RFC 7662 §2.1")
async def test_the_caller_must_be_authorised(mint: Installation) -> None:
    """No or bad credentials, or a public client: 401, byte for byte the same for a good token and for garbage."""
    token = (await mint.obtain())["access_token"]
    forms: list[dict[str, str]] = [
        {},
        {"client_id": "service"},
        {"client_id": "service", "client_secret": "wrong"},
        {"client_id": "spa"},
        {"client_id": "nobody", "client_secret": "x"},
    ]
    for form in forms:
        async with mint.http() as http:
            url = PREFIX + "/introspect"
            answers = [await http.post(url, data={"token": each, **form}) for each in (token, "garbage")]
        for answer in answers:
            assert_error(answer, "invalid_client", 401)
        assert answers[0].content == answers[1].content
    assert await mint.is_active(token)


@pytest.mark.spec("N01")
async def test_an_access_token_does_not_authorise_the_caller(mint: Installation) -> None:
    """Callers authenticate as clients; a bearer token, though good, is not that."""
    token = (await mint.post("/token", "service", grant_type="client_credentials")).json()["access_token"]
    async with mint.http() as http:
        answer = await http.post(
            PREFIX + "/introspect", data={"token": token}, headers={"authorization": f"Bearer {token}"}
        )
    assert_error(answer, "invalid_client", 401)


@pytest.mark.spec("N02", "N03", "RFC 7662 §2.2")
async def test_whatever_is_not_active_looks_the_same(stored_mint: Installation) -> None:
    """Unknown, malformed, expired, revoked, not for this caller, of the wrong kind: the same bytes, nothing else."""
    mint = stored_mint
    good, revoked, ended = await mint.obtain(), await mint.obtain(), await mint.obtain()
    await mint.post("/revoke", "web", token=revoked["access_token"])
    await mint.post("/revoke", "web", token=ended["refresh_token"])
    spent = good["refresh_token"]
    good = assert_tokens(await mint.refresh(spent))
    short = await mint.obtain("spa", scope="openid orders:read")
    tokens = {
        "unknown": "x",
        "not ASCII": "\u00fc",
        "malformed": "a.b.c",
        "none": "eyJhbGciOiJub25lIn0.e30.",
        "long": "x" * 30_000,
        "forged": good["access_token"][:-4] + "AAAA",
        "revoked": revoked["access_token"],
        "of an ended grant": ended["access_token"],
        "ID token": good["id_token"],
        "code": await mint.grant(),
        "another client's refresh token": good["refresh_token"],
        "another client's short token": short["refresh_token"],
    }
    bodies = {name: (await mint.post("/introspect", "service", token=token)).content for name, token in tokens.items()}
    own = {"spent": spent, "ended": ended["refresh_token"], "forged refresh": spent[:-3] + "AAA"}
    bodies |= {name: (await mint.post("/introspect", "web", token=token)).content for name, token in own.items()}
    mint.clock.advance(good["expires_in"])
    bodies["expired"] = (await mint.post("/introspect", "service", token=good["access_token"])).content
    assert bodies == dict.fromkeys(bodies, INACTIVE)
    assert await mint.is_active(assert_tokens(await mint.refresh(good["refresh_token"]))["access_token"])


@pytest.mark.spec("N02", "RFC 7662 §4")
async def test_only_who_serves_the_audience_or_got_the_token_may_see_it() -> None:
    """Another resource server, and another client, learn nothing."""
    mint = await install(clients=[REPORTER, OTHER])
    token = (await mint.obtain("web", scope="orders:read"))["access_token"]
    assert claims_of(token)["aud"] == API
    sees = {who: (await introspect(mint, token, who))["active"] for who in ("service", "web", "reporter", "other")}
    assert sees == {"service": True, "web": True, "reporter": False, "other": False}
    both = (await mint.obtain("web", scope="orders:read reports:read", resource=[API, REPORTS]))["access_token"]
    assert (await introspect(mint, both, "reporter"))["active"]


@pytest.mark.spec("N02")
async def test_a_refresh_token_is_for_its_client_only() -> None:
    """Its owner sees it; a resource server that may see its access tokens does not."""
    mint = await install(clients=[OTHER])
    token = (await mint.obtain("web"))["refresh_token"]
    sees = {who: (await introspect(mint, token, who))["active"] for who in ("web", "service", "other")}
    assert sees == {"web": True, "service": False, "other": False}
    client = await change_client(mint, "web", refresh_idle_lifetime=100)
    assert client.refresh_idle_lifetime == 100
    newer = assert_tokens(await mint.refresh(token))["refresh_token"]
    assert (await introspect(mint, newer, "web"))["exp"] == mint.clock.now() + 100
    mint.clock.advance(100)
    assert await introspect(mint, newer, "web") == {"active": False}


@pytest.mark.spec("N04", "J02", "J06")
async def test_an_edited_token_is_inactive(mint: Installation) -> None:
    """Every claim changed without the key, the signature of another token, no signature at all."""
    token = (await mint.obtain())["access_token"]
    header, payload, signature = token.split(".")
    another = (await mint.obtain())["access_token"].split(".")
    edited = [
        ".".join((header, base64url.encode(strict_json.dumps(claims_of(token) | change)), signature))
        for change in ({"scope": "orders:admin"}, {"exp": 9_999_999_999}, {"sub": "usr_root"}, {"aud": [API]}, {"x": 1})
    ]
    edited += [
        f"{header}.{payload}.{another[2]}",
        f"{header}.{payload}.",
        f"{header}.{payload}",
        f"{header}.{payload}.{signature}.",
        f"{header}.{payload}.{signature}=",
    ]
    for alg in ("none", "None", "nOnE", "HS256", "RS512", "PS256", "ES256", ""):
        changed = base64url.encode(strict_json.dumps(part(token, 0) | {"alg": alg}))
        edited += [f"{changed}.{payload}.{signature}", f"{changed}.{payload}."]
    for each in edited:
        assert await introspect(mint, each) == {"active": False}
    assert (await introspect(mint, token))["active"]


@pytest.mark.spec("N04", "J08")
async def test_another_issuers_token_is_inactive(mint: Installation) -> None:
    """Another authority with other keys; and one with our keys and another name."""
    stranger = await install()
    theirs = (await stranger.obtain())["access_token"]
    assert await stranger.is_active(theirs)
    assert await introspect(mint, theirs) == {"active": False}
    policy = replace(mint.authority.policy, issuer="https://other.example")
    world = bootstrap.World(mint.clock, SeededRandomness("other"), has_cheap_passwords=True)
    twin = bootstrap.assemble(
        policy, mint.authority.store, mint.authority.keyring.master_keys, world, signing_threads=1
    )
    await twin.start()
    renamed = Installation(twin, mint.clock, mint.secrets, mint.user)
    token = (await renamed.obtain(scope="orders:read"))["access_token"]
    assert part(token, 0)["kid"] == part((await mint.obtain())["access_token"], 0)["kid"]
    assert await renamed.is_active(token)
    assert await introspect(mint, token) == {"active": False}


@pytest.mark.spec("N04", "J09")
async def test_times_are_checked_at_each_call(mint: Installation) -> None:
    """Good until exp, exclusive; not before nbf."""
    tokens = await mint.obtain()
    mint.clock.advance(tokens["expires_in"] - 1)
    assert (await introspect(mint, tokens["access_token"]))["active"]
    mint.clock.advance(1)
    assert await introspect(mint, tokens["access_token"]) == {"active": False}
    fresh = (await mint.obtain())["access_token"]
    mint.clock.advance(-3600)
    assert await introspect(mint, fresh) == {"active": False}


@pytest.mark.spec("N04", "J09")
@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": True},
        {"nbf": "1"},
        {"iss": None},
        {"iss": [ISSUER]},
        {"aud": []},
        {"aud": 1},
    ],
    ids=str,
)
async def test_claims_of_the_wrong_shape_are_inactive(mint: Installation, changes: dict[str, Any]) -> None:
    """Although our own key signed them."""
    token = (await mint.obtain())["access_token"]
    assert (await introspect(mint, forge(mint, token)))["active"]
    assert await introspect(mint, forge(mint, token, **changes)) == {"active": False}


@pytest.mark.spec("N04", "invariant I6")
async def test_revocation_is_checked_at_each_call(mint: Installation) -> None:
    """By the token, by its grant, by its person."""
    tokens = await mint.obtain()
    assert (await introspect(mint, tokens["access_token"]))["active"]
    await set_disabled(mint.authority, await user_of(mint), is_disabled=True)
    assert await introspect(mint, tokens["access_token"]) == {"active": False}


@pytest.mark.spec("N05", "RFC 7662 §2.2")
@pytest.mark.parametrize("hint", [None, "access_token", "refresh_token", "foo"])
async def test_an_active_answer_agrees_with_the_token(mint: Installation, hint: str | None) -> None:
    """Every member of the token is there, unchanged, whatever the hint."""
    token = (await mint.obtain())["access_token"]
    answer = await introspect(mint, token, token_type_hint=hint)
    claims = claims_of(token)
    assert answer == {"active": True, "token_type": "Bearer"} | claims
    for name in ("scope", "client_id", "sub", "aud", "iss", "exp", "iat", "jti"):
        assert answer[name] == claims[name]


@pytest.mark.spec("N05")
async def test_an_active_answer_about_a_refresh_token(mint: Installation) -> None:
    """What there is to say; no token_type, since it is none."""
    tokens = await mint.obtain(scope="openid orders:read")
    answer = await introspect(mint, tokens["refresh_token"], "web")
    idle = 3 * 86400
    assert answer == {
        "active": True,
        "iss": ISSUER,
        "sub": claims_of(tokens["access_token"])["sub"],
        "client_id": "web",
        "scope": "openid orders:read",
        "iat": mint.clock.now(),
        "exp": mint.clock.now() + idle,
    }


@pytest.mark.spec("N05")
async def test_the_token_is_required(mint: Installation) -> None:
    """A request without one is malformed."""
    assert_error(await mint.post("/introspect", "service"), "invalid_request")
