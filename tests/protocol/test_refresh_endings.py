"""Refresh tokens die when they should, and not before (RFC 6749 §6, RFC 9700 §4.14.2)."""

from collections.abc import Awaitable, Callable

import pytest
from tests.protocol.answers import assert_error, assert_tokens, claims_of
from tests.protocol.inhabitants import ANOTHER_PASSWORD, client_of, grant_of, user_of
from tests.support.installation import PASSWORD, Installation

from mintmark.authority import login, people
from mintmark.authority.registration import create_client, remove_client, set_client_disabled

DAY = 86400


@pytest.mark.spec("R06", "RFC 9700 §4.14.2")
@pytest.mark.parametrize("client_id", ["web", "spa"])
async def test_a_refresh_token_unused_for_too_long_is_dead(mint: Installation, client_id: str) -> None:
    """Good until the last second of its idle time; and refreshing starts it anew."""
    idle = (await client_of(mint, client_id)).lifetimes(mint.authority.policy).refresh_idle_lifetime
    kept, lost = (await mint.obtain(client_id))["refresh_token"], (await mint.obtain(client_id))["refresh_token"]
    mint.clock.advance(idle - 1)
    kept = assert_tokens(await mint.refresh(kept, client_id))["refresh_token"]
    mint.clock.advance(1)
    assert_error(await mint.refresh(lost, client_id), "invalid_grant")
    mint.clock.advance(idle - 2)
    assert_tokens(await mint.refresh(kept, client_id))


@pytest.mark.spec("R06", "invariant I5", "ASVS 10.4.8")
@pytest.mark.parametrize("client_id", ["web", "spa"])
async def test_no_refreshing_outlives_the_absolute_limit(mint: Installation, client_id: str) -> None:
    """Refreshed daily, it dies all the same; and no access token outlives the grant."""
    lifetimes = (await client_of(mint, client_id)).lifetimes(mint.authority.policy)
    ends_at = mint.clock.now() + lifetimes.refresh_token_lifetime
    tokens = await mint.obtain(client_id)
    while mint.clock.now() + DAY < ends_at:
        mint.clock.advance(DAY)
        tokens = assert_tokens(await mint.refresh(tokens["refresh_token"], client_id))
    mint.clock.advance(ends_at - mint.clock.now() - 60)
    tokens = assert_tokens(await mint.refresh(tokens["refresh_token"], client_id))
    assert tokens["expires_in"] == 60
    assert claims_of(tokens["access_token"])["exp"] == ends_at
    mint.clock.advance(59)
    tokens = assert_tokens(await mint.refresh(tokens["refresh_token"], client_id))
    assert tokens["expires_in"] == 1
    mint.clock.advance(1)
    assert_error(await mint.refresh(tokens["refresh_token"], client_id), "invalid_grant")
    assert not await mint.is_active(tokens["access_token"])


async def withdraw_consent(mint: Installation) -> None:
    await people.withdraw_consent(mint.authority, (await user_of(mint)).subject, "web")


async def change_password(mint: Installation) -> None:
    await people.change_password(mint.authority, await user_of(mint), current=PASSWORD, new=ANOTHER_PASSWORD)


async def set_password(mint: Installation) -> None:
    await people.set_password(mint.authority, await user_of(mint), ANOTHER_PASSWORD)


async def disable_user(mint: Installation) -> None:
    await people.set_disabled(mint.authority, await user_of(mint), is_disabled=True)


async def disable_and_enable_user(mint: Installation) -> None:
    await disable_user(mint)
    await people.set_disabled(mint.authority, await user_of(mint), is_disabled=False)


async def remove_user(mint: Installation) -> None:
    await people.remove_user(mint.authority, await user_of(mint))


async def sign_out_everywhere(mint: Installation) -> None:
    await people.sign_out_everywhere(mint.authority, (await user_of(mint)).subject, reason="sign_out")


async def disable_and_enable_client(mint: Installation) -> None:
    client = await set_client_disabled(mint.authority, await client_of(mint, "web"), is_disabled=True)
    await set_client_disabled(mint.authority, client, is_disabled=False)


async def remove_and_recreate_client(mint: Installation) -> None:
    client = await client_of(mint, "web")
    await remove_client(mint.authority, client)
    _, secret = await create_client(mint.authority, client)
    assert secret is not None
    mint.secrets["web"] = secret


@pytest.mark.spec("R07", "RFC 9700 §4.14.2", "ASVS 7.4.2")
@pytest.mark.parametrize(
    "event",
    [
        withdraw_consent,
        change_password,
        set_password,
        disable_user,
        disable_and_enable_user,
        remove_user,
        sign_out_everywhere,
        disable_and_enable_client,
        remove_and_recreate_client,
    ],
)
async def test_refresh_tokens_die_with_what_they_rest_on(
    stored_mint: Installation, event: Callable[[Installation], Awaitable[None]]
) -> None:
    """Each event ends the grant for good, offline access included, and its access tokens with it."""
    mint = stored_mint
    tokens = await mint.obtain()
    tokens = assert_tokens(await mint.refresh(tokens["refresh_token"]))
    assert await mint.is_active(tokens["access_token"])
    await event(mint)
    assert_error(await mint.refresh(tokens["refresh_token"]), "invalid_grant")
    assert not await mint.is_active(tokens["access_token"])
    assert (await grant_of(mint, tokens["refresh_token"])).ended_at == mint.clock.now()


@pytest.mark.spec("R07")
async def test_a_disabled_client_cannot_refresh(mint: Installation) -> None:
    """It is not even authenticated."""
    token = (await mint.obtain())["refresh_token"]
    await set_client_disabled(mint.authority, await client_of(mint, "web"), is_disabled=True)
    assert_error(await mint.refresh(token), "invalid_client", 401)


@pytest.mark.spec("R07")
@pytest.mark.parametrize(("scope", "survives"), [("openid orders:read", False), ("openid offline_access", True)])
async def test_logout_ends_the_grants_of_its_session_but_offline_access(
    mint: Installation, scope: str, *, survives: bool
) -> None:
    """What was made in that browser ends; what was allowed offline, and other browsers' grants, go on."""
    session, elsewhere = await mint.session(), await mint.session()
    tokens = await mint.obtain(session=session, scope=scope)
    theirs = await mint.obtain(session=elsewhere, scope=scope)
    await login.end_session(mint.authority, session.sid, session.subject)
    if survives:
        assert_tokens(await mint.refresh(tokens["refresh_token"]))
    else:
        assert_error(await mint.refresh(tokens["refresh_token"]), "invalid_grant")
    assert_tokens(await mint.refresh(theirs["refresh_token"]))


@pytest.mark.spec("R07")
async def test_withdrawing_consent_leaves_other_clients_alone(mint: Installation) -> None:
    """One client's grants, not the person's."""
    web, spa = await mint.obtain("web"), await mint.obtain("spa")
    await withdraw_consent(mint)
    assert_error(await mint.refresh(web["refresh_token"], "web"), "invalid_grant")
    assert_tokens(await mint.refresh(spa["refresh_token"], "spa"))


@pytest.mark.spec("invariant I10")
@pytest.mark.parametrize("hours", [1, 12])
async def test_cleaning_up_forgets_no_grant_that_can_still_refresh(stored_mint: Installation, hours: int) -> None:
    """Cleanup at every step; ended grants go, with their last access token dead, and their tokens are refused still."""
    mint = stored_mint
    tokens, ended = await mint.obtain(), await mint.obtain()
    await mint.post("/revoke", "web", token=ended["refresh_token"])
    for _ in range(4):
        await mint.authority.upkeep(1000)
        mint.clock.advance(hours * 3600)
        tokens = assert_tokens(await mint.refresh(tokens["refresh_token"]))
    await mint.authority.upkeep(1000)
    assert await mint.authority.store.grants.get((await grant_of(mint, tokens["refresh_token"])).id) is not None
    assert_error(await mint.refresh(ended["refresh_token"]), "invalid_grant")
