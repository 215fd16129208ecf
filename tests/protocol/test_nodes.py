"""Many nodes, coarse clocks, and a database that went back in time (invariants I6, I9, I11)."""

import base64
from dataclasses import replace

import pytest
from tests.protocol.answers import assert_error, assert_tokens, claims_of
from tests.protocol.inhabitants import change_client, events_of, grant_of
from tests.support.installation import PREFIX, Installation, install
from tests.support.world import FixedClock

from mintmark.storage.memory import MemoryStore


def memory_of(mint: Installation) -> MemoryStore:
    store = mint.authority.store
    assert isinstance(store, MemoryStore)
    return store


async def behind(mint: Installation, seconds: int) -> Installation:
    """Return a further node whose clock is behind."""
    node = await mint.node()
    node.clock = FixedClock(mint.clock.now() - seconds)
    node.authority = replace(node.authority, clock=node.clock)
    return node


@pytest.mark.spec("invariant I9")
async def test_it_does_not_matter_which_node_answers(stored_mint: Installation) -> None:
    """The code of one is redeemed at another, refreshed at a third, replayed at a fourth, verified anywhere."""
    one = stored_mint
    two, three, four = [await one.node(name) for name in ("two", "three", "four")]
    code = await one.grant()
    first = assert_tokens(await two.redeem(code))
    second = assert_tokens(await three.refresh(first["refresh_token"]))
    again = assert_tokens(await four.refresh(first["refresh_token"]))
    assert again["refresh_token"] == second["refresh_token"]
    for node in (one, two, three, four):
        for tokens in (first, second, again):
            assert await node.is_active(tokens["access_token"])
    assert_tokens(await two.refresh(second["refresh_token"]))
    assert_error(await one.refresh(first["refresh_token"]), "invalid_grant")
    for node in (one, two, three, four):
        assert_error(await node.refresh(again["refresh_token"]), "invalid_grant")


@pytest.mark.spec("invariant I9", "invariant I1")
async def test_a_code_is_redeemed_once_whichever_nodes_are_asked(stored_mint: Installation) -> None:
    """The second node knows at once, and so does every other as soon as it has heard of the revocation."""
    one, two = stored_mint, await stored_mint.node()
    code = await one.grant()
    tokens = assert_tokens(await one.redeem(code))
    assert_error(await two.redeem(code), "invalid_grant")
    assert_error(await one.refresh(tokens["refresh_token"]), "invalid_grant")
    assert not await two.is_active(tokens["access_token"])
    await one.authority.catch_up()
    assert not await one.is_active(tokens["access_token"])


@pytest.mark.spec("invariant I6")
@pytest.mark.parametrize("kind", ["refresh_token", "access_token"])
async def test_a_revocation_reaches_every_node(stored_mint: Installation, kind: str) -> None:
    """No node issues from the grant once it was answered; every node rejects its tokens after its next turn."""
    one, two = stored_mint, await stored_mint.node()
    tokens = await one.obtain()
    assert await two.is_active(tokens["access_token"])
    assert (await one.post("/revoke", "web", token=tokens[kind])).status_code == 200
    assert not await one.is_active(tokens["access_token"])
    if kind == "refresh_token":
        assert_error(await two.refresh(tokens["refresh_token"]), "invalid_grant")
    await two.authority.catch_up()
    assert not await two.is_active(tokens["access_token"])
    async with two.http() as http:
        bearer = {"authorization": f"Bearer {tokens['access_token']}"}
        assert (await http.get(PREFIX + "/userinfo", headers=bearer)).status_code == 401


@pytest.mark.spec("invariant I9")
@pytest.mark.parametrize("drift", [0, -3600])
async def test_order_comes_from_generations_and_never_from_the_clock(mint: Installation, drift: int) -> None:
    """Forty rotations in one second, or while the clock runs backwards: each token is told from the next."""
    mint.clock.advance(7200)  # the first key is two hours old
    chain = [(await mint.obtain(scope="orders:read"))["refresh_token"]]
    mint.clock.advance(drift)
    for _ in range(40):
        chain.append(assert_tokens(await mint.refresh(chain[-1]))["refresh_token"])
    assert len(set(chain)) == 41
    assert (await grant_of(mint, chain[0])).generation == 41
    assert assert_tokens(await mint.refresh(chain[-2]))["refresh_token"] == chain[-1]
    assert_error(await mint.refresh(chain[-3]), "invalid_grant")
    assert_error(await mint.refresh(chain[-1]), "invalid_grant")


@pytest.mark.spec("invariant I9")
async def test_a_node_whose_clock_is_behind_does_not_undo_a_rotation(stored_mint: Installation) -> None:
    """Clocks differ by seconds: the same answers."""
    one = stored_mint
    one.clock.advance(7200)
    two = await behind(one, 5)
    first = (await one.obtain())["refresh_token"]
    second = assert_tokens(await one.refresh(first))["refresh_token"]
    assert assert_tokens(await two.refresh(first))["refresh_token"] == second
    third = assert_tokens(await two.refresh(second))["refresh_token"]
    assert assert_tokens(await one.refresh(second))["refresh_token"] == third
    assert_error(await two.refresh(first), "invalid_grant")


@pytest.mark.spec("invariant I9", "N04", "O04")
async def test_a_node_whose_clock_is_behind_accepts_what_another_just_issued(stored_mint: Installation) -> None:
    """Clocks differ by a second: the token is good at introspection and at userinfo, whichever node is asked."""
    one = stored_mint
    one.clock.advance(7200)
    two = await behind(one, 1)
    token = (await one.obtain())["access_token"]
    for node in (one, two):
        assert await node.is_active(token)
        async with node.http() as http:
            answer = await http.get(PREFIX + "/userinfo", headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 200


@pytest.mark.spec("invariant I11")
@pytest.mark.parametrize("lost", [0, 1, 2, 7])
@pytest.mark.parametrize("client_id", ["web", "spa"])
async def test_a_restored_database_logs_nobody_out(mint: Installation, client_id: str, lost: int) -> None:
    """The client's generation is ahead of the row: provably ours. It goes on from there, and it is audited."""
    token = (await mint.obtain(client_id))["refresh_token"]
    backup = memory_of(mint).snapshot()
    for _ in range(lost):
        token = assert_tokens(await mint.refresh(token, client_id))["refresh_token"]
    mint.clock.advance(3600)
    memory_of(mint).restore(backup)
    newer = assert_tokens(await mint.refresh(token, client_id))["refresh_token"]
    events = [event for event in await events_of(mint, token) if event.event == "grant.fast_forwarded"]
    assert len(events) == (1 if lost else 0)
    if lost:
        assert events[0].detail == {"from": 1, "to": lost + 2}
    assert (await grant_of(mint, token)).generation == lost + 2
    assert_tokens(await mint.refresh(newer, client_id))


@pytest.mark.spec("invariant I11", "invariant I3")
async def test_reuse_is_still_found_after_a_restore(mint: Installation) -> None:
    """Once the row has caught up, everything older is reuse as ever."""
    chain = [(await mint.obtain())["refresh_token"]]
    backup = memory_of(mint).snapshot()
    for _ in range(4):
        chain.append(assert_tokens(await mint.refresh(chain[-1]))["refresh_token"])
    memory_of(mint).restore(backup)
    newest = assert_tokens(await mint.refresh(chain[-1]))["refresh_token"]
    mint.clock.advance(60)
    assert_error(await mint.refresh(chain[1]), "invalid_grant")
    assert_error(await mint.refresh(newest), "invalid_grant")


@pytest.mark.spec("invariant I11")
async def test_a_grant_restored_to_before_its_code_was_redeemed_goes_on(mint: Installation) -> None:
    """The row is at generation 0 again, its code long expired; the refresh token works, the code does not."""
    code = await mint.grant()
    backup = memory_of(mint).snapshot()
    tokens = assert_tokens(await mint.redeem(code))
    mint.clock.advance(3600)
    memory_of(mint).restore(backup)
    newer = assert_tokens(await mint.refresh(tokens["refresh_token"]))
    assert claims_of(newer["id_token"])["sub"] == claims_of(tokens["id_token"])["sub"]
    assert_error(await mint.redeem(code), "invalid_grant")


@pytest.mark.spec("invariant I11")
async def test_a_stable_refresh_token_survives_a_restore(mint: Installation) -> None:
    """It stays what it is."""
    await change_client(mint, "web", refresh_rotation="stable")
    code = await mint.grant()
    backup = memory_of(mint).snapshot()
    token = assert_tokens(await mint.redeem(code))["refresh_token"]
    memory_of(mint).restore(backup)
    for _ in range(2):
        assert assert_tokens(await mint.refresh(token))["refresh_token"] == token


@pytest.mark.spec("invariant I11", "invariant I5")
async def test_a_restore_prolongs_nothing(mint: Installation) -> None:
    """The absolute limit of the row holds for a token ahead of it: good in its last second, dead after it."""
    tokens = [(await mint.obtain())["refresh_token"] for _ in range(2)]
    ends_at = (await grant_of(mint, tokens[0])).expires_at
    backup = memory_of(mint).snapshot()
    in_time, late = [assert_tokens(await mint.refresh(token))["refresh_token"] for token in tokens]
    memory_of(mint).restore(backup)
    mint.clock.advance(ends_at - mint.clock.now() - 1)
    newer = assert_tokens(await mint.refresh(in_time))
    assert newer["expires_in"] == 1
    mint.clock.advance(1)
    for token in (newer["refresh_token"], late):
        assert_error(await mint.refresh(token), "invalid_grant")


@pytest.mark.spec("invariant I11")
async def test_a_forged_generation_ahead_is_garbage(mint: Installation) -> None:
    """Only what we derived counts: a number made up by somebody moves nothing."""
    token = (await mint.obtain())["refresh_token"]
    body = base64.urlsafe_b64decode(token[4:] + "=")
    for generation in (2, 3, 2**32 - 1):
        forged = body[:17] + generation.to_bytes(4) + body[21:]
        assert_error(
            await mint.refresh("mmr_" + base64.urlsafe_b64encode(forged).decode().rstrip("=")), "invalid_grant"
        )
    assert (await grant_of(mint, token)).generation == 1
    assert_tokens(await mint.refresh(token))


@pytest.mark.spec("invariant I11")
async def test_a_running_node_still_knows_what_the_restored_database_forgot(mint: Installation) -> None:
    """A revocation is forgotten only if everybody lost it."""
    tokens = await mint.obtain()
    backup = memory_of(mint).snapshot()
    await mint.post("/revoke", "web", token=tokens["access_token"])
    memory_of(mint).restore(backup)
    await mint.authority.catch_up()
    assert not await mint.is_active(tokens["access_token"])


@pytest.mark.spec("invariant I11", "invariant I6")
@pytest.mark.parametrize("kind", ["refresh_token", "access_token"])
async def test_revocations_work_after_a_restore(kind: str) -> None:
    """Nodes go on running while the database is restored; what is revoked afterwards is revoked."""
    mint = await install()
    backup = memory_of(mint).snapshot()
    for _ in range(3):
        await mint.post("/revoke", "web", token=(await mint.obtain())["access_token"])
    memory_of(mint).restore(backup)
    tokens = await mint.obtain()
    assert (await mint.post("/revoke", "web", token=tokens[kind])).status_code == 200
    await mint.authority.catch_up()
    assert not await (await mint.node()).is_active(tokens["access_token"])
    assert not await mint.is_active(tokens["access_token"])
