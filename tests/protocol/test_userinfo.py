"""Userinfo (OIDC Core §5.3, RFC 6750)."""

import httpx
import pytest
from tests.protocol.answers import assert_error, assert_not_stored, assert_tokens, claims_of
from tests.protocol.inhabitants import client_of, user_of
from tests.support.installation import API, PASSWORD, PREFIX, Installation

from mintmark.authority import people
from mintmark.authority.registration import set_client_disabled

USERINFO = PREFIX + "/userinfo"


async def ask(mint: Installation, token: str, method: str = "GET") -> httpx.Response:
    async with mint.http() as http:
        return await http.request(method, USERINFO, headers={"authorization": f"Bearer {token}"})


def assert_refused(response: httpx.Response, error: str, status: int) -> None:
    """An RFC 6750 §3 error, in the header and in the body."""
    assert_error(response, error, status)
    challenge = response.headers["www-authenticate"]
    assert challenge.startswith("Bearer ")
    assert f'error="{error}"' in challenge


@pytest.mark.spec("O04", "OIDC Core §5.3")
async def test_by_get_and_by_post_in_header_and_form(mint: Installation) -> None:
    """The same answer; the sub is that of the ID token; scheme names have no case."""
    tokens = await mint.obtain()
    token = tokens["access_token"]
    async with mint.http() as http:
        answers = [
            await http.get(USERINFO, headers={"authorization": f"Bearer {token}"}),
            await http.get(USERINFO, headers={"authorization": f"bEARER  {token}"}),
            await http.post(USERINFO, headers={"authorization": f"Bearer {token}"}),
            await http.post(USERINFO, data={"access_token": token}),
            await http.post(USERINFO, data={"other": "x"}, headers={"authorization": f"Bearer {token}"}),
        ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert_not_stored(answer)
        assert answer.content == answers[0].content
    assert answers[0].json() == {
        "sub": claims_of(tokens["id_token"])["sub"],
        "name": "Ada Lovelace",
        "updated_at": mint.clock.now(),
        "email": "ada@example.com",
        "email_verified": False,
    }


@pytest.mark.spec("O04", "OIDC Core §5.4")
@pytest.mark.parametrize(
    ("scope", "claims", "told"),
    [
        ("openid", None, {"sub"}),
        ("openid email", None, {"sub", "email", "email_verified"}),
        ("openid profile", None, {"sub", "name", "updated_at"}),
        ("openid", '{"userinfo": {"email": null}}', {"sub", "email"}),
        ("openid", '{"id_token": {"email": null}}', {"sub"}),
        ("openid email orders:read", None, {"sub", "email", "email_verified"}),
    ],
)
async def test_it_tells_what_was_allowed(mint: Installation, scope: str, claims: str | None, told: set[str]) -> None:
    """By scope, or by name in the claims parameter; nothing else."""
    token = (await mint.obtain(scope=scope, claims=claims))["access_token"]
    assert set((await ask(mint, token)).json()) == told


@pytest.mark.spec("O04", "S01", "RFC 6750 §3.1")
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_without_a_token_there_is_a_challenge_and_no_error(mint: Installation, method: str) -> None:
    """Who sent no token gets no error code; a token in the URL is not looked at."""
    token = (await mint.obtain())["access_token"]
    async with mint.http() as http:
        for params in ({}, {"access_token": token}):
            answer = await http.request(method, USERINFO, params=params)
            assert answer.status_code == 401
            challenge = answer.headers["www-authenticate"]
            assert challenge.startswith("Bearer ")
            assert "error" not in challenge
            assert answer.headers["cache-control"] == "no-store"


@pytest.mark.spec("O04", "RFC 6750 §3.1")
async def test_a_bad_token_is_invalid_token(mint: Installation) -> None:
    """Garbage, edited, expired, revoked, of the wrong kind: 401 and one text for all."""
    tokens, revoked = await mint.obtain(), await mint.obtain()
    await mint.post("/revoke", "web", token=revoked["access_token"])
    bad = [
        "x",
        "a.b.c",
        tokens["access_token"][:-4] + "AAAA",
        tokens["id_token"],
        tokens["refresh_token"],
        revoked["access_token"],
    ]
    answers = [await ask(mint, token) for token in bad]
    assert (await ask(mint, tokens["access_token"])).status_code == 200
    mint.clock.advance(tokens["expires_in"])
    answers.append(await ask(mint, tokens["access_token"]))
    for answer in answers:
        assert_refused(answer, "invalid_token", 401)
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.spec("O04")
@pytest.mark.parametrize("header", ["Basic d2ViOng=", "Bearer", "Bearer ", "DPoP abc", "nonsense", "\u00fc"])
async def test_another_scheme_is_no_token(mint: Installation, header: str) -> None:
    """401, never more."""
    async with mint.http() as http:
        answer = await http.get(USERINFO, headers=[(b"authorization", header.encode())])
    assert_refused(answer, "invalid_token", 401)


@pytest.mark.spec("O04", "S02", "RFC 6750 §2")
async def test_one_transport_per_request(mint: Installation) -> None:
    """Header and form, or two headers, are refused although each token is good."""
    token = (await mint.obtain())["access_token"]
    bearer = ("authorization", f"Bearer {token}")
    async with mint.http() as http:
        for answer in (
            await http.post(USERINFO, data={"access_token": token}, headers=[bearer]),
            await http.get(USERINFO, headers=[bearer, bearer]),
            await http.post(
                USERINFO,
                content=f"access_token={token}&access_token={token}",
                headers={"content-type": "application/x-www-form-urlencoded"},
            ),
        ):
            assert_error(answer, "invalid_request")
        assert (await http.get(USERINFO, headers=[bearer])).status_code == 200


@pytest.mark.spec("O04")
async def test_a_token_not_meant_for_userinfo_is_refused(mint: Installation) -> None:
    """A client's own token, and one for another audience: invalid_token."""
    own = assert_tokens(await mint.post("/token", "service", grant_type="client_credentials"))["access_token"]
    elsewhere = (await mint.obtain(scope="openid orders:read", resource=API))["access_token"]
    for token in (own, elsewhere):
        assert await mint.is_active(token)
        assert_refused(await ask(mint, token), "invalid_token", 401)


@pytest.mark.spec("O04", "S01", "RFC 6750 §3.1")
async def test_openid_is_needed(mint: Installation) -> None:
    """insufficient_scope, and the challenge names the scope."""
    token = (await mint.obtain(scope="profile"))["access_token"]
    answer = await ask(mint, token)
    assert_refused(answer, "insufficient_scope", 403)
    assert 'scope="openid"' in answer.headers["www-authenticate"]


@pytest.mark.spec("O04", "invariant I6")
@pytest.mark.parametrize(
    "event", ["refresh token revoked", "disabled", "removed", "password", "reuse", "client disabled"]
)
async def test_it_knows_at_once_what_was_taken_back(stored_mint: Installation, event: str) -> None:
    """The grant, the person or the client is gone: invalid_token."""
    mint = stored_mint
    code = await mint.grant()
    tokens = assert_tokens(await mint.redeem(code))
    assert (await ask(mint, tokens["access_token"])).status_code == 200
    match event:
        case "refresh token revoked":
            await mint.post("/revoke", "web", token=tokens["refresh_token"])
        case "disabled":
            await people.set_disabled(mint.authority, await user_of(mint), is_disabled=True)
        case "removed":
            await people.remove_user(mint.authority, await user_of(mint))
        case "password":
            await people.change_password(
                mint.authority, await user_of(mint), current=PASSWORD, new="seven purple elephants"
            )
        case "reuse":
            await mint.redeem(code)
        case "client disabled":
            await set_client_disabled(mint.authority, await client_of(mint, "web"), is_disabled=True)
    assert_refused(await ask(mint, tokens["access_token"]), "invalid_token", 401)


@pytest.mark.spec("O05", "OIDC Core §8")
async def test_a_subject_is_never_given_again(mint: Installation) -> None:
    """Removed and created anew with the same email: another sub, and the old tokens mean nobody."""
    old = await mint.obtain()
    await people.remove_user(mint.authority, await user_of(mint))
    again = await people.create_user(mint.authority, email="ada@example.com", password=PASSWORD, name="Ada Lovelace")
    new = await mint.obtain()
    assert claims_of(new["id_token"])["sub"] == again.subject != claims_of(old["id_token"])["sub"]
    assert_refused(await ask(mint, old["access_token"]), "invalid_token", 401)
    assert (await ask(mint, new["access_token"])).json()["sub"] == again.subject


@pytest.mark.spec("O05")
async def test_a_subject_is_the_same_for_every_client_and_at_every_time(mint: Installation) -> None:
    """Public subjects, as the metadata says; a new email or name changes nothing."""
    from dataclasses import replace

    subjects = {claims_of((await mint.obtain(client_id))["id_token"])["sub"] for client_id in ("web", "spa")}
    user = await user_of(mint)
    assert await mint.authority.store.users.replace(user, replace(user, email="countess@example.com", name="Ada King"))
    session = await mint.session("countess@example.com")
    token = await mint.obtain(session=session)
    subjects.add(claims_of(token["id_token"])["sub"])
    assert len(subjects) == 1
    assert (await ask(mint, token["access_token"])).json()["name"] == "Ada King"
