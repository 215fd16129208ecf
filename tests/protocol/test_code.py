"""Redeeming authorization codes (RFC 6749 §4.1.3, RFC 7636 §4.6)."""

import asyncio
from collections import Counter

import pytest
from tests.protocol.answers import assert_error, assert_tokens
from tests.protocol.inhabitants import change_client
from tests.support.installation import CALLBACK, VERIFIER, Installation, install

from mintmark.authority.model import Client
from mintmark.authority.policy import Policy
from mintmark.oauth.pkce import challenge_of

ISSUER = "https://id.example"
SECOND_CALLBACK = "https://app.example/second"
LAX = Client(
    client_id="lax",
    name="Confidential client without PKCE",
    require_pkce=False,
    redirect_uris=(CALLBACK, SECOND_CALLBACK),
    scope=("openid",),
)
OTHER = Client(client_id="other", name="Another confidential client", redirect_uris=(CALLBACK,), scope=("openid",))


@pytest.mark.spec("A09", "RFC 6749 §4.1.2")
async def test_a_code_works_once_and_its_second_use_takes_back_what_came_of_it(mint: Installation) -> None:
    """The second redemption is refused, and the tokens of the first are dead."""
    code = await mint.grant()
    tokens = assert_tokens(await mint.redeem(code))
    assert await mint.is_active(tokens["access_token"])
    assert_error(await mint.redeem(code), "invalid_grant")
    assert not await mint.is_active(tokens["access_token"])
    assert not await mint.is_active(tokens["refresh_token"], "web")
    assert_error(await mint.refresh(tokens["refresh_token"]), "invalid_grant")


@pytest.mark.spec("A09")
async def test_a_code_used_again_after_refreshes_takes_the_newest_tokens_back(mint: Installation) -> None:
    """However late: the reuse of the code ends the grant as it stands by then."""
    code = await mint.grant()
    first = assert_tokens(await mint.redeem(code))
    mint.clock.advance(3600)
    second = assert_tokens(await mint.refresh(first["refresh_token"]))
    assert await mint.is_active(second["access_token"])
    assert_error(await mint.redeem(code), "invalid_grant")
    assert not await mint.is_active(second["access_token"])
    assert_error(await mint.refresh(second["refresh_token"]), "invalid_grant")
    events = [event.event for event in await mint.authority.store.audit.latest(3)]
    assert "grant.code_reuse" in events


@pytest.mark.spec("A10", "RFC 6749 §4.1.2")
@pytest.mark.parametrize("grace", [0, 10])
async def test_a_code_is_redeemed_once_under_races(stored_mint: Installation, grace: int) -> None:
    """50 parallel redemptions: exactly one gets tokens, and in the end nothing of them is active (both ends are one)."""
    mint = stored_mint
    await change_client(mint, "web", refresh_grace=grace)
    code = await mint.grant()
    answers = await asyncio.gather(*(mint.redeem(code) for _ in range(50)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 400: 49}
    assert {answer.json()["error"] for answer in answers if answer.status_code == 400} == {"invalid_grant"}
    tokens = next(answer.json() for answer in answers if answer.status_code == 200)
    assert not await mint.is_active(tokens["access_token"])
    assert_error(await mint.refresh(tokens["refresh_token"]), "invalid_grant")
    # The positive twin: alone, the same request works and what it returns lives.
    alone = assert_tokens(await mint.redeem(await mint.grant()))
    assert await mint.is_active(alone["access_token"])
    assert_tokens(await mint.refresh(alone["refresh_token"]))


@pytest.mark.spec("A11", "ASVS 10.4.3")
@pytest.mark.parametrize("lifetime", [60, 600])
async def test_a_code_dies_with_its_lifetime(lifetime: int) -> None:
    """Good until the last second, dead at its lifetime; the default is a minute."""
    assert Policy(issuer=ISSUER).code_lifetime == 60
    mint = await install(policy=Policy(issuer=ISSUER, code_lifetime=lifetime))
    early, late, later = await mint.grant(), await mint.grant(), await mint.grant()
    mint.clock.advance(lifetime - 1)
    assert_tokens(await mint.redeem(early))
    mint.clock.advance(1)
    assert_error(await mint.redeem(late), "invalid_grant")
    mint.clock.advance(1)
    assert_error(await mint.redeem(later), "invalid_grant")


@pytest.mark.spec("A11", "invariant I5")
async def test_a_code_does_not_outlive_its_grant() -> None:
    """Where the grant is shorter than the code, the code dies with the grant: no token is born dead."""
    brief = Client(
        client_id="brief",
        name="Short grants",
        redirect_uris=(CALLBACK,),
        scope=("openid",),
        refresh_token_lifetime=60,
        refresh_idle_lifetime=60,
    )
    mint = await install(policy=Policy(issuer=ISSUER, code_lifetime=600), clients=[brief])
    early, late = await mint.grant("brief"), await mint.grant("brief")
    mint.clock.advance(59)
    assert assert_tokens(await mint.redeem(early, "brief"))["expires_in"] == 1
    mint.clock.advance(1)
    assert_error(await mint.redeem(late, "brief"), "invalid_grant")


@pytest.mark.spec("A12", "RFC 6749 §4.1.3")
@pytest.mark.parametrize(
    "uri",
    [SECOND_CALLBACK, None, CALLBACK + "/", CALLBACK + "?a=b", CALLBACK.upper(), CALLBACK.replace("https", "http")],
)
async def test_a_code_is_bound_to_the_redirect_uri_used(uri: str | None) -> None:
    """Another one (registered or not) or none is refused, and the code still works with the right one."""
    mint = await install(clients=[LAX])
    code = await mint.grant("lax", redirect_uri=CALLBACK)
    assert_error(await mint.redeem(code, "lax", redirect_uri=uri), "invalid_grant")
    assert_tokens(await mint.redeem(code, "lax"))


@pytest.mark.spec("A12", "RFC 6749 §4.1.3")
async def test_a_redirect_uri_left_out_in_the_request_may_be_left_out_at_redemption(mint: Installation) -> None:
    """Required only if the authorization request had it."""
    assert_tokens(await mint.redeem(await mint.grant(redirect_uri=None), redirect_uri=None))


@pytest.mark.spec("A12", "RFC 6749 §10.5")
@pytest.mark.parametrize("thief", ["other", "spa"])
async def test_a_code_is_bound_to_its_client(thief: str) -> None:
    """Another client, confidential or public, gets nothing; and cannot spoil the code for its owner."""
    mint = await install(clients=[OTHER])
    code = await mint.grant("web")
    assert_error(await mint.redeem(code, thief), "invalid_grant")
    tokens = assert_tokens(await mint.redeem(code, "web"))
    # Nor does a thief who comes late end the owner's grant.
    assert_error(await mint.redeem(code, thief), "invalid_grant")
    assert await mint.is_active(tokens["access_token"])


@pytest.mark.spec("P03", "RFC 7636 §4.6")
@pytest.mark.parametrize("client_id", ["web", "spa"])
@pytest.mark.parametrize(
    "verifier",
    [
        pytest.param(None, id="missing"),
        pytest.param("", id="empty"),
        pytest.param("w" * 43, id="wrong"),
        pytest.param("v" * 42, id="short"),
        pytest.param("v" * 129, id="long"),
        pytest.param(challenge_of(VERIFIER), id="the challenge itself"),
        pytest.param("v" * 42 + "\u00fc", id="not ASCII"),
        pytest.param(VERIFIER + "\n", id="line end"),
        pytest.param(VERIFIER.upper(), id="upper case"),
    ],
)
async def test_a_challenge_asks_for_its_verifier(mint: Installation, client_id: str, verifier: str | None) -> None:
    """Anything but the verifier is refused, and the code is not spent by it."""
    code = await mint.grant(client_id)
    assert_error(await mint.redeem(code, client_id, code_verifier=verifier), "invalid_grant")
    assert_tokens(await mint.redeem(code, client_id))


@pytest.mark.spec("P03", "RFC 7636 §4.1")
@pytest.mark.parametrize("verifier", ["a" * 42, "a" * 129, "a" * 42 + "+", "a" * 42 + " "])
async def test_a_malformed_verifier_is_refused_although_it_fits(mint: Installation, verifier: str) -> None:
    """43 to 128 unreserved characters, even where the challenge was made of something else."""
    code = await mint.grant(code_challenge=challenge_of(verifier))
    assert_error(await mint.redeem(code, code_verifier=verifier), "invalid_grant")


@pytest.mark.spec("P03", "RFC 7636 §4.1")
@pytest.mark.parametrize("verifier", ["a" * 43, "-._~" * 32, "aZ09" * 11])
async def test_a_verifier_may_have_43_to_128_unreserved_characters(mint: Installation, verifier: str) -> None:
    """The positive twin at both limits."""
    assert_tokens(await mint.redeem(await mint.grant(code_challenge=challenge_of(verifier)), code_verifier=verifier))


@pytest.mark.spec("P04", "RFC 9700 §4.8.2")
async def test_a_verifier_without_a_challenge_is_a_downgrade() -> None:
    """Somebody stripped the challenge: refused, although the client may do without PKCE; then it works without."""
    mint = await install(clients=[LAX])
    code = await mint.grant("lax", code_challenge=None, code_challenge_method=None)
    assert_error(await mint.redeem(code, "lax"), "invalid_grant")
    assert_tokens(await mint.redeem(code, "lax", code_verifier=None))


@pytest.mark.spec("P04", "P03")
async def test_a_client_that_may_do_without_pkce_is_held_to_it_once_it_used_it() -> None:
    """With a challenge the verifier is needed, whatever the client's registration says."""
    mint = await install(clients=[LAX])
    code = await mint.grant("lax")
    assert_error(await mint.redeem(code, "lax", code_verifier=None), "invalid_grant")
    assert_tokens(await mint.redeem(code, "lax"))


@pytest.mark.spec("T10", "invariant I3")
async def test_a_code_is_no_refresh_token_and_the_other_way_round(mint: Installation) -> None:
    """The purpose is part of what is derived, and neither attempt harms the grant."""
    code = await mint.grant()
    for disguised in (code, code.replace("mmc_", "mmr_")):
        assert_error(await mint.refresh(disguised), "invalid_grant")
    tokens = assert_tokens(await mint.redeem(code))
    for disguised in (tokens["refresh_token"], tokens["refresh_token"].replace("mmr_", "mmc_")):
        assert_error(await mint.redeem(disguised), "invalid_grant")
    assert await mint.is_active(tokens["access_token"])
    assert_tokens(await mint.refresh(tokens["refresh_token"]))
