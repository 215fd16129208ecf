"""The grace: a client that lost the answer asks again (invariant I2), and stable refresh tokens (ADR 0006)."""

from dataclasses import replace

import pytest
from tests.protocol.answers import assert_error, assert_tokens, claims_of
from tests.protocol.inhabitants import change_client, client_of, events_of, grant_of
from tests.support.installation import CALLBACK, ISSUER, Installation, install

from mintmark.authority.model import Client
from mintmark.authority.people import UnacceptableError
from mintmark.authority.policy import LIFETIMES, Policy

DAY = 86400


@pytest.mark.spec("invariant I2")
@pytest.mark.parametrize("client_id", ["web", "spa"])
async def test_a_lost_answer_is_given_again(stored_mint: Installation, client_id: str) -> None:
    """The same refresh token byte for byte, a fresh access token; both access tokens are good."""
    mint = stored_mint
    first = (await mint.obtain(client_id))["refresh_token"]
    lost = assert_tokens(await mint.refresh(first, client_id))
    mint.clock.advance(9)
    again = assert_tokens(await mint.refresh(first, client_id))
    assert again["refresh_token"] == lost["refresh_token"]
    assert claims_of(again["access_token"])["jti"] != claims_of(lost["access_token"])["jti"]
    assert claims_of(again["access_token"])["iat"] == mint.clock.now()
    assert await mint.is_active(lost["access_token"])
    assert await mint.is_active(again["access_token"])
    assert_tokens(await mint.refresh(again["refresh_token"], client_id))


@pytest.mark.spec("invariant I2", "invariant I3")
@pytest.mark.parametrize(("grace", "after"), [(10, 10), (10, 11), (1, 1), (3600, 3600), (0, 0)])
async def test_the_window_ends(mint: Installation, grace: int, after: int) -> None:
    """At its end, to the second, the predecessor is reuse; one second before, it is not."""
    await change_client(mint, "web", refresh_grace=grace)
    if grace:
        in_time = (await mint.obtain())["refresh_token"]
        assert_tokens(await mint.refresh(in_time))
        mint.clock.advance(grace - 1)
        assert_tokens(await mint.refresh(in_time))
    late = (await mint.obtain())["refresh_token"]
    newer = assert_tokens(await mint.refresh(late))["refresh_token"]
    mint.clock.advance(after)
    assert_error(await mint.refresh(late), "invalid_grant")
    assert_error(await mint.refresh(newer), "invalid_grant")


@pytest.mark.spec("invariant I2")
async def test_asking_again_does_not_prolong_the_window(mint: Installation) -> None:
    """It is counted from the rotation, not from the last replay."""
    first = (await mint.obtain())["refresh_token"]
    assert_tokens(await mint.refresh(first))
    for _ in range(3):
        mint.clock.advance(3)
        assert_tokens(await mint.refresh(first))
    mint.clock.advance(1)
    assert_error(await mint.refresh(first), "invalid_grant")
    assert (await grant_of(mint, first)).end_reason == "refresh_reuse"


@pytest.mark.spec("invariant I2", "invariant I3")
async def test_using_the_successor_ends_the_window(mint: Installation) -> None:
    """Within the same second: who still presents the predecessor is somebody else."""
    first = (await mint.obtain())["refresh_token"]
    second = assert_tokens(await mint.refresh(first))["refresh_token"]
    third = assert_tokens(await mint.refresh(second))["refresh_token"]
    # The second is the immediate predecessor now, and the first is not.
    assert assert_tokens(await mint.refresh(second))["refresh_token"] == third
    assert_error(await mint.refresh(first), "invalid_grant")
    assert_error(await mint.refresh(third), "invalid_grant")


@pytest.mark.spec("invariant I2")
async def test_a_client_has_its_own_grace(mint: Installation) -> None:
    """Its override counts, longer or shorter than that of its classification."""
    await change_client(mint, "web", refresh_grace=DAY)
    first = (await mint.obtain())["refresh_token"]
    second = assert_tokens(await mint.refresh(first))["refresh_token"]
    mint.clock.advance(DAY - 1)
    assert assert_tokens(await mint.refresh(first))["refresh_token"] == second
    await change_client(mint, "web", refresh_grace=0)
    assert_error(await mint.refresh(first), "invalid_grant")


@pytest.mark.spec("invariant I2")
@pytest.mark.parametrize(
    ("classification", "grace"), [("public", 10), ("internal", 10), ("confidential", 10), ("restricted", 0)]
)
async def test_each_classification_has_its_grace(classification: str, grace: int) -> None:
    """The default is ten seconds, and none for restricted clients."""
    client = Client(
        client_id="app",
        name="App",
        redirect_uris=(CALLBACK,),
        scope=("openid",),
        classification=classification,  # type: ignore[arg-type]
    )
    mint = await install(clients=[client])
    first = (await mint.obtain("app"))["refresh_token"]
    assert_tokens(await mint.refresh(first, "app"))
    if grace:
        mint.clock.advance(grace - 1)
        assert_tokens(await mint.refresh(first, "app"))
        mint.clock.advance(1)
    assert_error(await mint.refresh(first, "app"), "invalid_grant")


@pytest.mark.spec("invariant I2")
async def test_a_public_client_has_sixty_seconds_at_most() -> None:
    """Whatever its classification says; its own number cannot even be registered. A confidential one may have it."""
    hour = {name: replace(lifetimes, refresh_grace=3600) for name, lifetimes in LIFETIMES.items()}
    mint = await install(policy=Policy(issuer=ISSUER, lifetimes=hour))
    with pytest.raises(UnacceptableError, match="60"):
        await change_client(mint, "spa", refresh_grace=61)
    tokens = {client_id: (await mint.obtain(client_id))["refresh_token"] for client_id in ("spa", "web")}
    for client_id, token in tokens.items():
        assert_tokens(await mint.refresh(token, client_id))
    mint.clock.advance(59)
    for client_id, token in tokens.items():
        assert_tokens(await mint.refresh(token, client_id))
    mint.clock.advance(1)
    assert_error(await mint.refresh(tokens["spa"], "spa"), "invalid_grant")
    assert_tokens(await mint.refresh(tokens["web"], "web"))


@pytest.mark.spec("invariant I2")
async def test_the_grace_is_for_the_same_client_only(mint: Installation) -> None:
    """Another one gets nothing and harms nothing."""
    first = (await mint.obtain("web"))["refresh_token"]
    assert_tokens(await mint.refresh(first, "web"))
    assert_error(await mint.refresh(first, "spa"), "invalid_grant")
    assert_tokens(await mint.refresh(first, "web"))


@pytest.mark.spec("invariant I2")
async def test_a_replay_is_counted_and_audited(stored_mint: Installation) -> None:
    """On the grant and in the log; a rotation is neither."""
    mint = stored_mint
    first = (await mint.obtain())["refresh_token"]
    second = assert_tokens(await mint.refresh(first))["refresh_token"]
    assert (await grant_of(mint, first)).replays == 0
    for count in (1, 2):
        assert_tokens(await mint.refresh(first))
        grant = await grant_of(mint, first)
        assert (grant.replays, grant.generation) == (count, 2)
    replayed = [event for event in await events_of(mint, second) if event.event == "grant.replayed"]
    assert len(replayed) == 2
    assert (replayed[0].client_id, replayed[0].at) == ("web", mint.clock.now())


@pytest.mark.spec("invariant I2", "invariant I5")
async def test_a_replay_obeys_all_other_limits(mint: Installation) -> None:
    """Scope, the absolute end, a disabled person: as any refresh."""
    await change_client(mint, "web", refresh_grace=DAY, refresh_token_lifetime=3600, refresh_idle_lifetime=3600)
    first = (await mint.obtain(scope="openid orders:read"))["refresh_token"]
    assert_tokens(await mint.refresh(first))
    assert_error(await mint.refresh(first, scope="orders:write"), "invalid_scope")
    mint.clock.advance(3599)
    assert assert_tokens(await mint.refresh(first))["expires_in"] == 1
    mint.clock.advance(1)
    assert_error(await mint.refresh(first), "invalid_grant")


@pytest.mark.spec("invariant I2")
async def test_a_code_has_no_grace(mint: Installation) -> None:
    """RFC 6749 §4.1.2 leaves no room: a second redemption in the same second ends the grant."""
    await change_client(mint, "web", refresh_grace=DAY)
    code = await mint.grant()
    token = assert_tokens(await mint.redeem(code))["refresh_token"]
    assert_error(await mint.redeem(code), "invalid_grant")
    assert_error(await mint.refresh(token), "invalid_grant")


@pytest.mark.spec("F03", "invariant I1")
async def test_a_stable_refresh_token_stays_the_same(stored_mint: Installation) -> None:
    """For a client registered so, day after day; its idle limit moves and its absolute limit does not."""
    mint = stored_mint
    await change_client(mint, "web", refresh_rotation="stable", refresh_grace=0)
    first = await mint.obtain()
    for _ in range(6):
        mint.clock.advance(DAY)
        answer = assert_tokens(await mint.refresh(first["refresh_token"]))
        assert answer["refresh_token"] == first["refresh_token"]
        assert answer["access_token"] != first["access_token"]
    grant = await grant_of(mint, first["refresh_token"])
    assert (grant.generation, grant.replays) == (1, 0)
    mint.clock.advance(DAY)
    assert_error(await mint.refresh(first["refresh_token"]), "invalid_grant")


@pytest.mark.spec("F03")
async def test_a_stable_refresh_token_idles_out_and_can_be_revoked(mint: Installation) -> None:
    """Stability is no immortality."""
    client = await change_client(mint, "web", refresh_rotation="stable")
    idle = client.lifetimes(mint.authority.policy).refresh_idle_lifetime
    unused, revoked = (await mint.obtain())["refresh_token"], (await mint.obtain())["refresh_token"]
    await mint.post("/revoke", "web", token=revoked)
    assert_error(await mint.refresh(revoked), "invalid_grant")
    mint.clock.advance(idle)
    assert_error(await mint.refresh(unused), "invalid_grant")


@pytest.mark.spec("F03", "R03")
async def test_changing_the_rotation_of_a_client_loses_nobody(mint: Installation) -> None:
    """From rotating to stable and back, with the same grant; what was rotated away stays reuse."""
    first = (await mint.obtain())["refresh_token"]
    second = assert_tokens(await mint.refresh(first))["refresh_token"]
    await change_client(mint, "web", refresh_rotation="stable")
    mint.clock.advance(60)
    assert assert_tokens(await mint.refresh(second))["refresh_token"] == second
    await change_client(mint, "web", refresh_rotation="rotate")
    third = assert_tokens(await mint.refresh(second))["refresh_token"]
    assert third != second
    assert (await client_of(mint, "web")).refresh_rotation == "rotate"
    assert_error(await mint.refresh(first), "invalid_grant")
    assert_error(await mint.refresh(third), "invalid_grant")
