"""ID tokens (OpenID Connect Core §2, §3.1.3.7, §12.2)."""

import base64
import hashlib

import jwt as pyjwt
import pytest
from tests.protocol.answers import assert_tokens, claims_of, part
from tests.protocol.inhabitants import change_client
from tests.support.installation import ISSUER, Installation


@pytest.mark.spec("O01", "OIDC Core §2")
@pytest.mark.parametrize("client_id", ["web", "spa"])
@pytest.mark.parametrize("alg", ["RS256", "ES256"])
async def test_another_implementation_accepts_the_id_token(mint: Installation, client_id: str, alg: str) -> None:
    """Signed under a published key with a kid, RS256 unless the client says otherwise; iss, sub, aud, exp, iat."""
    if alg != "RS256":
        await change_client(mint, client_id, id_token_signed_response_alg=alg)
    tokens = await mint.obtain(client_id, nonce="n-0S6_WzA2Mj")
    async with mint.http() as http:
        published = pyjwt.PyJWKSet.from_dict((await http.get("/.well-known/jwks.json")).json())
    header = part(tokens["id_token"], 0)
    assert header["alg"] == alg
    claims = pyjwt.decode(
        tokens["id_token"],
        published[header["kid"]],
        algorithms=[alg],
        audience=client_id,
        issuer=ISSUER,
        options={"verify_exp": False, "verify_iat": False, "require": ["iss", "sub", "aud", "exp", "iat"]},
    )
    now = mint.clock.now()
    assert (claims["iat"], claims["exp"]) == (now, now + 600)
    assert claims["nonce"] == "n-0S6_WzA2Mj"
    assert claims["aud"] == claims["azp"] == client_id
    assert claims["sub"] == claims_of(tokens["access_token"])["sub"]
    assert (claims["auth_time"], claims["acr"], claims["amr"]) == (now, "pwd", ["pwd"])
    half = hashlib.sha256(tokens["access_token"].encode()).digest()[:16]
    assert claims["at_hash"] == base64.urlsafe_b64encode(half).rstrip(b"=").decode()


@pytest.mark.spec("O01", "OIDC Core §3.1.2.1")
async def test_without_a_nonce_there_is_none(mint: Installation) -> None:
    """It is echoed, never made up."""
    assert "nonce" not in claims_of((await mint.obtain(nonce=None))["id_token"])


@pytest.mark.spec("O01", "OIDC Core §12.2")
async def test_a_refreshed_id_token_has_no_nonce(mint: Installation) -> None:
    """It belongs to the authorization request; iss, sub, aud, azp, auth_time, sid stay, iat and at_hash are new."""
    first = await mint.obtain()
    mint.clock.advance(100)
    second = assert_tokens(await mint.refresh(first["refresh_token"]))
    before, after = claims_of(first["id_token"]), claims_of(second["id_token"])
    assert "nonce" not in after
    for name in ("iss", "sub", "aud", "azp", "auth_time", "acr", "amr", "sid"):
        assert before[name] == after[name], name
    assert after["iat"] == before["iat"] + 100
    assert after["at_hash"] != before["at_hash"]


@pytest.mark.spec("O01")
async def test_without_openid_there_is_no_id_token(mint: Installation) -> None:
    """OAuth only; and it cannot be had by refreshing."""
    tokens = await mint.obtain(scope="orders:read")
    assert "id_token" not in tokens
    assert "id_token" not in assert_tokens(await mint.refresh(tokens["refresh_token"]))


@pytest.mark.spec("O01", "OIDC Core §5.4")
async def test_it_holds_only_the_personal_claims_asked_for_by_name(mint: Installation) -> None:
    """The scopes profile and email are answered at userinfo; the claims parameter can ask for more."""
    plain = claims_of((await mint.obtain())["id_token"])
    assert not {"name", "email", "email_verified", "updated_at"} & set(plain)
    asked = await mint.obtain(
        claims='{"id_token": {"email": null, "name": {"essential": true}, "sid": null, "x": null}}'
    )
    named = claims_of(asked["id_token"])
    assert (named["email"], named["name"]) == ("ada@example.com", "Ada Lovelace")
    assert set(named) - set(plain) == {"email", "name"}


@pytest.mark.spec("invariant I5")
async def test_it_does_not_outlive_the_grant(mint: Installation) -> None:
    """No token does; the access token beside it is the positive twin."""
    await change_client(mint, "web", refresh_token_lifetime=100, refresh_idle_lifetime=100)
    tokens = await mint.obtain()
    ends_at = mint.clock.now() + 100
    assert claims_of(tokens["access_token"])["exp"] == ends_at
    assert claims_of(tokens["id_token"])["exp"] <= ends_at
