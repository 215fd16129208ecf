"""Revocation (RFC 7009)."""

from typing import Any

import pytest
from tests.protocol.answers import assert_error, assert_tokens, claims_of
from tests.protocol.inhabitants import change_client, client_of, grant_of
from tests.support.installation import PREFIX, Installation

from mintmark.authority.registration import set_client_disabled


async def revoke(mint: Installation, token: str, client_id: str = "web", **extra: Any) -> None:
    """Revoke; the answer is 200 and nothing (RFC 7009 §2.2)."""
    response = await mint.post("/revoke", client_id, token=token, **extra)
    assert (response.status_code, response.content) == (200, b""), response.text
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.spec("V01", "V05", "RFC 7009 §2.1")
@pytest.mark.parametrize("client_id", ["web", "spa"])
async def test_revoking_a_refresh_token_ends_the_grant(stored_mint: Installation, client_id: str) -> None:
    """It is dead, and with it every access token that came of the grant; another grant lives."""
    mint = stored_mint
    first, other = await mint.obtain(client_id), await mint.obtain(client_id)
    second = assert_tokens(await mint.refresh(first["refresh_token"], client_id))
    assert await mint.is_active(first["access_token"])
    await revoke(mint, second["refresh_token"], client_id)
    assert_error(await mint.refresh(second["refresh_token"], client_id), "invalid_grant")
    for tokens in (first, second):
        assert not await mint.is_active(tokens["access_token"])
    assert await mint.is_active(other["access_token"])
    assert_tokens(await mint.refresh(other["refresh_token"], client_id))


@pytest.mark.spec("V01")
async def test_revoking_an_old_refresh_token_ends_the_grant_too(mint: Installation) -> None:
    """The client wants it gone, whichever generation it still has."""
    first = await mint.obtain()
    second = assert_tokens(await mint.refresh(first["refresh_token"]))
    await revoke(mint, first["refresh_token"])
    assert_error(await mint.refresh(second["refresh_token"]), "invalid_grant")
    assert (await grant_of(mint, first["refresh_token"])).end_reason == "revoked"


@pytest.mark.spec("V01", "RFC 7009 §2.1")
@pytest.mark.parametrize("client_id", ["web", "spa"])
async def test_revoking_an_access_token_takes_only_that_one(stored_mint: Installation, client_id: str) -> None:
    """Its siblings and the refresh token go on."""
    mint = stored_mint
    first = await mint.obtain(client_id)
    second = assert_tokens(await mint.refresh(first["refresh_token"], client_id))
    await revoke(mint, first["access_token"], client_id)
    assert not await mint.is_active(first["access_token"])
    assert await mint.is_active(second["access_token"])
    assert_tokens(await mint.refresh(second["refresh_token"], client_id))


@pytest.mark.spec("V01")
async def test_a_clients_own_token_can_be_revoked(mint: Installation) -> None:
    """Client credentials have no grant; the token is named by its jti."""
    mine, other = [
        (await mint.post("/token", "service", grant_type="client_credentials")).json()["access_token"] for _ in range(2)
    ]
    await revoke(mint, mine, "service")
    assert not await mint.is_active(mine)
    assert await mint.is_active(other)


@pytest.mark.spec("V02", "RFC 7009 §2.1")
@pytest.mark.parametrize("thief", ["spa", "service"])
@pytest.mark.parametrize("kind", ["refresh_token", "access_token"])
async def test_another_clients_token_is_refused_and_stays(mint: Installation, thief: str, kind: str) -> None:
    """invalid_request, and it is as active as before; its owner can revoke it."""
    tokens = await mint.obtain("web")
    assert_error(await mint.post("/revoke", thief, token=tokens[kind]), "invalid_request")
    assert await mint.is_active(tokens["access_token"])
    tokens = assert_tokens(await mint.refresh(tokens["refresh_token"]))
    await revoke(mint, tokens[kind])
    assert not await mint.is_active(tokens["access_token"])


@pytest.mark.spec("V02", "T11")
@pytest.mark.parametrize("kind", ["refresh_token", "access_token"])
async def test_revocation_needs_the_client_to_authenticate(mint: Installation, kind: str) -> None:
    """No credentials, wrong ones, the name alone: 401 and the token stays."""
    tokens = await mint.obtain("web")
    for form in ({}, {"client_id": "web"}, {"client_id": "web", "client_secret": "wrong"}):
        async with mint.http() as http:
            answer = await http.post(PREFIX + "/revoke", data={"token": tokens[kind], **form})
        assert_error(answer, "invalid_client", 401)
    assert await mint.is_active(tokens["access_token"])
    assert_tokens(await mint.refresh(tokens["refresh_token"]))


@pytest.mark.spec("V03", "RFC 7009 §2.1")
@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "foo", "", "x" * 1000])
@pytest.mark.parametrize("kind", ["refresh_token", "access_token"])
async def test_no_hint_misleads(mint: Installation, kind: str, hint: str) -> None:
    """Swapped, unknown or empty: the token is revoked."""
    tokens = await mint.obtain()
    await revoke(mint, tokens[kind], token_type_hint=hint)
    assert not await mint.is_active(tokens["access_token"])


@pytest.mark.spec("V04", "RFC 7009 §2.2")
async def test_what_cannot_be_revoked_any_more_is_200(mint: Installation) -> None:
    """Garbage, a forged token, an expired one, one revoked already: all the same answer."""
    tokens = await mint.obtain()
    forged = tokens["refresh_token"][:-3] + "AAA"
    garbage = ["x", "mmr_", "a.b.c", "\u00fc", forged, tokens["access_token"][:-3] + "AAA", "x" * 20_000]
    for token in garbage:
        await revoke(mint, token)
    assert await mint.is_active(tokens["access_token"])
    for kind in ("access_token", "refresh_token"):
        await revoke(mint, tokens[kind])
        await revoke(mint, tokens[kind])
    expired = await mint.obtain()
    mint.clock.advance(8 * 86400)
    for kind in ("access_token", "refresh_token"):
        await revoke(mint, expired[kind])
    await mint.authority.upkeep(1000)
    for kind in ("access_token", "refresh_token"):
        await revoke(mint, expired[kind])


@pytest.mark.spec("V04")
async def test_the_token_is_required(mint: Installation) -> None:
    """Nothing to revoke is a mistake in the request."""
    for form in ({}, {"token": ""}):
        assert_error(await mint.post("/revoke", "web", **form), "invalid_request")


@pytest.mark.spec("V01", "RFC 8725 §3.11")
async def test_an_id_token_is_no_access_token(mint: Installation) -> None:
    """Revoking one changes nothing."""
    tokens = await mint.obtain()
    await revoke(mint, tokens["id_token"])
    assert await mint.is_active(tokens["access_token"])
    assert len(mint.authority.denylist) == 0


@pytest.mark.spec("invariant I6", "R07")
@pytest.mark.parametrize("at_the_end", [False, True])
async def test_what_was_revoked_stays_revoked_until_it_expires(stored_mint: Installation, *, at_the_end: bool) -> None:
    """Cleaning up and starting anew included; and nothing of it is kept afterwards."""
    mint = stored_mint
    tokens, single = await mint.obtain(), await mint.obtain()
    await revoke(mint, tokens["refresh_token"])
    await revoke(mint, single["access_token"])
    lifetime = tokens["expires_in"]
    mint.clock.advance(lifetime - 1 if at_the_end else 1)
    await mint.authority.upkeep(1000)
    for node in (mint, await mint.node()):
        for each in (tokens, single):
            assert not await node.is_active(each["access_token"])
    # An entry for a grant is kept as long as any access token may live: the row may have gone back in time.
    mint.clock.advance(mint.authority.policy.longest_access_token_lifetime + 300)
    await mint.authority.upkeep(1000)
    assert len(mint.authority.denylist) == 0
    assert await mint.authority.store.revocations.after(0, 10) == []
    for each in (tokens, single):
        assert not await mint.is_active(each["access_token"])


@pytest.mark.spec("invariant I6", "R07")
async def test_disabling_a_client_takes_all_its_tokens_back(stored_mint: Installation) -> None:
    """Those without a grant, too; enabled again it gets new ones, and the old stay dead."""
    mint = stored_mint
    await change_client(mint, "web", serves=("https://api.example",))
    old = assert_tokens(await mint.post("/token", "service", grant_type="client_credentials"))["access_token"]
    assert await mint.is_active(old, "web")
    client = await set_client_disabled(mint.authority, await client_of(mint, "service"), is_disabled=True)
    assert not await mint.is_active(old, "web")
    await set_client_disabled(mint.authority, client, is_disabled=False)
    mint.clock.advance(1)
    new = assert_tokens(await mint.post("/token", "service", grant_type="client_credentials"))["access_token"]
    assert await mint.is_active(new, "web")
    assert not await mint.is_active(old, "web")


@pytest.mark.spec("invariant I6", "R07")
async def test_disabling_a_client_reaches_tokens_of_an_earlier_longer_lifetime(mint: Installation) -> None:
    """Its lifetime was shortened in between: what lives longer than today's lifetime must be taken back for as long."""
    await change_client(mint, "web", serves=("https://api.example",))
    await change_client(mint, "service", access_token_lifetime=3600)
    token = assert_tokens(await mint.post("/token", "service", grant_type="client_credentials"))["access_token"]
    client = await change_client(mint, "service", access_token_lifetime=60)
    await set_client_disabled(mint.authority, client, is_disabled=True)
    assert not await mint.is_active(token, "web")
    mint.clock.advance(61)
    await mint.authority.upkeep(1000)
    assert claims_of(token)["exp"] > mint.clock.now()
    assert not await mint.is_active(token, "web")


@pytest.mark.spec("invariant I6")
async def test_a_clock_set_back_revives_nothing(mint: Installation) -> None:
    token = (await mint.obtain())["access_token"]
    await revoke(mint, token)
    mint.clock.advance(900)
    await mint.authority.upkeep(1000)
    mint.clock.advance(-20)
    assert not await mint.is_active(token)


@pytest.mark.spec("V01", "invariant I6")
@pytest.mark.parametrize("by", [-40, 901])
async def test_what_another_clock_accepts_can_be_revoked(mint: Installation, by: int) -> None:
    """A node whose clock is ahead issued it, or a verifier forgives that it is over: revoked is revoked."""
    token = (await mint.obtain())["access_token"]
    mint.clock.advance(by)
    assert not await mint.is_active(token)
    await revoke(mint, token)
    mint.clock.advance(-by)
    assert not await mint.is_active(token)
