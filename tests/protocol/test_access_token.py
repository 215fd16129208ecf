"""JWT access tokens (RFC 9068)."""

import asyncio
from typing import Any

import pytest
from tests.protocol.answers import assert_tokens, claims_of, part
from tests.protocol.inhabitants import another_user, change_client, give_roles
from tests.support.installation import API, ISSUER, PREFIX, Installation

from mintmark.authority.model import Client
from mintmark.authority.people import UnacceptableError
from mintmark.authority.registration import create_client
from mintmark.jose import jwt


async def userinfo_status(mint: Installation, token: str) -> int:
    async with mint.http() as http:
        answer = await http.get(PREFIX + "/userinfo", headers={"authorization": f"Bearer {token}"})
    return answer.status_code


@pytest.mark.spec("X01", "RFC 9068 §2.1")
@pytest.mark.parametrize("client_id", ["web", "spa", "service"])
async def test_the_header_says_what_it_is(mint: Installation, client_id: str) -> None:
    """typ at+jwt, an asymmetric algorithm, a kid, and nothing else."""
    if client_id == "service":
        token = assert_tokens(await mint.post("/token", "service", grant_type="client_credentials"))["access_token"]
    else:
        token = (await mint.obtain(client_id))["access_token"]
    header = part(token, 0)
    assert set(header) == {"alg", "typ", "kid"}
    assert (header["typ"], header["alg"]) == ("at+jwt", "RS256")


@pytest.mark.spec("X01", "RFC 9068 §4", "RFC 8725 §3.11")
@pytest.mark.parametrize(
    ("typ", "accepted"),
    [
        ("at+jwt", True),
        ("at+JWT", True),
        ("AT+JWT", True),
        ("application/at+jwt", True),
        ("application/AT+JWT", True),
        ("JWT", False),
        ("jwt", False),
        (None, False),
        ("", False),
        ("at+jwt ", False),
        ("at jwt", False),
        ("dpop+jwt", False),
        ("logout+jwt", False),
        ("application/jwt", False),
        ("text/at+jwt", False),
    ],
)
async def test_only_its_type_is_taken_for_an_access_token(
    mint: Installation, typ: str | None, *, accepted: bool
) -> None:
    """By userinfo and introspection, although our own key signed it; compared without case."""
    claims = claims_of((await mint.obtain())["access_token"])
    token = jwt.encode(claims, mint.authority.keyring.signing_key("RS256", mint.clock.now()), typ=typ)
    assert await mint.is_active(token) == accepted
    assert await userinfo_status(mint, token) == (200 if accepted else 401)


@pytest.mark.spec("X01", "J10")
async def test_an_id_token_is_no_access_token(mint: Installation) -> None:
    """Nor a code or a refresh token."""
    tokens = await mint.obtain()
    assert await userinfo_status(mint, tokens["access_token"]) == 200
    for other in (tokens["id_token"], tokens["refresh_token"], await mint.grant()):
        assert await userinfo_status(mint, other) == 401


@pytest.mark.spec("X02", "RFC 9068 §2.2")
@pytest.mark.parametrize("client_id", ["web", "spa"])
async def test_the_claims_of_a_person_s_token(mint: Installation, client_id: str) -> None:
    """Everything RFC 9068 asks for, how they signed in, the grant; and nothing personal."""
    tokens = await mint.obtain(client_id)
    claims = claims_of(tokens["access_token"])
    now = mint.clock.now()
    assert mint.user is not None
    assert set(claims) == {
        *("iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id", "scope", "gid", "auth_time", "acr", "amr"),
    }
    assert (claims["iss"], claims["sub"], claims["client_id"]) == (ISSUER, mint.user.subject, client_id)
    assert claims["exp"] == now + tokens["expires_in"]
    assert claims["iat"] == claims["auth_time"] == now
    assert claims["nbf"] == now - 30
    assert (claims["acr"], claims["amr"]) == ("pwd", ["pwd"])
    text = str(claims)
    for personal in ("ada@example.com", "Ada", "Lovelace"):
        assert personal not in text


@pytest.mark.spec("X02")
async def test_every_jti_is_its_own(mint: Installation) -> None:
    """Across nodes, in one second, for the same client."""
    await change_client(mint, "service", access_token_signed_response_alg="ES256")
    nodes = [mint, *[await mint.node(f"node {number}") for number in range(3)]]
    seen: list[str] = []
    for node in nodes:
        answers = await asyncio.gather(
            *(node.post("/token", "service", grant_type="client_credentials") for _ in range(100))
        )
        seen += [claims_of(assert_tokens(answer)["access_token"])["jti"] for answer in answers]
    assert len(set(seen)) == len(seen) == 400
    assert all(len(jti) == 22 for jti in seen)  # 128 bits


@pytest.mark.spec("X02")
@pytest.mark.parametrize(
    ("classification", "lifetime"), [("public", 3600), ("internal", 1800), ("confidential", 900), ("restricted", 300)]
)
async def test_how_long_it_lives_follows_from_the_classification(
    mint: Installation, classification: str, lifetime: int
) -> None:
    """And from the client's own number, where it has one."""
    await change_client(mint, "service", classification=classification)
    form: dict[str, Any] = {"grant_type": "client_credentials"}
    assert assert_tokens(await mint.post("/token", "service", **form))["expires_in"] == lifetime
    await change_client(mint, "service", access_token_lifetime=77)
    assert assert_tokens(await mint.post("/token", "service", **form))["expires_in"] == 77


@pytest.mark.spec("X02", "RFC 9068 §2.2.3.1")
async def test_roles_and_permissions_are_those_at_the_audience(mint: Installation) -> None:
    """Only where there are any, and never those of another resource."""
    await give_roles(mint, "order-admin")
    claims = claims_of((await mint.obtain(scope="openid orders:read"))["access_token"])
    assert claims["roles"] == ["order-admin"]
    # One that is also a scope needs the scope as well (ADR 0020).
    assert claims["permissions"] == ["orders:approve"]
    claims = claims_of((await mint.obtain(scope="openid orders:read orders:admin"))["access_token"])
    assert claims["permissions"] == ["orders:admin", "orders:approve"]
    elsewhere = claims_of((await mint.obtain(scope="reports:read"))["access_token"])
    assert not {"roles", "permissions"} & set(elsewhere)


@pytest.mark.spec("X04", "RFC 9068 §2.2.3")
async def test_the_scope_is_what_the_audience_understands(mint: Installation) -> None:
    """A token for one resource says nothing about another; the grant still holds it all."""
    whole = await mint.obtain(
        scope="openid orders:read reports:read", resource=[API, "https://reports.example", ISSUER]
    )
    assert set(claims_of(whole["access_token"])["scope"].split()) == {"openid", "orders:read", "reports:read"}
    for resource, scope in ((API, "orders:read"), ("https://reports.example", "reports:read"), (ISSUER, "openid")):
        whole = assert_tokens(await mint.refresh(whole["refresh_token"], resource=resource))
        claims = claims_of(whole["access_token"])
        assert (claims["aud"], claims["scope"]) == (resource, scope)


@pytest.mark.spec("X05", "RFC 9068 §5", "RFC 9700 §4.15")
async def test_a_client_cannot_look_like_a_user(mint: Installation) -> None:
    """No client_id begins as subjects do, and every subject does."""
    assert mint.user is not None
    for subject in (mint.user.subject, (await another_user(mint)).subject):
        assert subject.startswith("usr_")
        for client_id in (subject, "usr_", "usr_x"):
            with pytest.raises(UnacceptableError, match="usr_"):
                await create_client(
                    mint.authority, Client(client_id=client_id, name="x", grant_types=("client_credentials",))
                )
    _, secret = await create_client(
        mint.authority, Client(client_id="user_x", name="x", grant_types=("client_credentials",))
    )
    assert secret is not None
    mint.secrets["user_x"] = secret
    token = assert_tokens(await mint.post("/token", "user_x", grant_type="client_credentials"))["access_token"]
    assert claims_of(token)["sub"] == "user_x"
    assert await userinfo_status(mint, token) == 401
