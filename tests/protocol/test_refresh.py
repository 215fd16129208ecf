"""Refresh tokens: bound, rotated, reuse detected, worth what was granted and no more (RFC 6749 §6, RFC 9700 §4.14.2)."""

import asyncio
from collections import Counter

import pytest
from tests.protocol.answers import assert_error, assert_tokens, claims_of
from tests.protocol.inhabitants import change_client, client_of, events_of, give_roles, grant_of
from tests.support.installation import API, CALLBACK, ISSUER, REPORTS, Installation, install

from mintmark.authority import people
from mintmark.authority.model import Client

OTHER = Client(client_id="other", name="Another confidential client", redirect_uris=(CALLBACK,), scope=("openid",))


@pytest.mark.spec("R01", "RFC 6749 §6")
@pytest.mark.parametrize(("owner", "thief"), [("web", "other"), ("web", "spa"), ("spa", "other"), ("spa", "web")])
async def test_a_refresh_token_is_bound_to_its_client(owner: str, thief: str) -> None:
    """Another client gets invalid_grant, and the owner's token works as if nothing had been."""
    mint = await install(clients=[OTHER])
    token = (await mint.obtain(owner))["refresh_token"]
    assert_error(await mint.refresh(token, thief), "invalid_grant")
    newer = assert_tokens(await mint.refresh(token, owner))["refresh_token"]
    # Nor does a spent one in other hands end the grant: whoever is not its client proves nothing.
    mint.clock.advance(60)
    assert_error(await mint.refresh(token, thief), "invalid_grant")
    assert_tokens(await mint.refresh(newer, owner))


@pytest.mark.spec("R02", "RFC 9700 §2.2.2")
@pytest.mark.parametrize("client_id", ["spa", "web"])
async def test_a_refresh_token_is_rotated(mint: Installation, client_id: str) -> None:
    """Each refresh returns a new one, and the first, presented again after the grace, is refused."""
    await change_client(mint, client_id, refresh_grace=0)
    first = (await mint.obtain(client_id))["refresh_token"]
    second = assert_tokens(await mint.refresh(first, client_id))["refresh_token"]
    assert second != first
    assert_error(await mint.refresh(first, client_id), "invalid_grant")


@pytest.mark.spec("R02", "RFC 9700 §2.2.2")
async def test_a_public_client_cannot_have_stable_refresh_tokens(mint: Installation) -> None:
    """Registration refuses it; and if it were stored, rotation would happen all the same."""
    from dataclasses import replace

    with pytest.raises(people.UnacceptableError):
        await change_client(mint, "spa", refresh_rotation="stable")
    spa = await client_of(mint, "spa")
    await mint.authority.store.clients.replace(spa, replace(spa, refresh_rotation="stable"))
    first = (await mint.obtain("spa"))["refresh_token"]
    assert assert_tokens(await mint.refresh(first, "spa"))["refresh_token"] != first


@pytest.mark.spec("R03", "invariant I3", "RFC 9700 §4.14.2")
@pytest.mark.parametrize("client_id", ["web", "spa"])
@pytest.mark.parametrize("rotations", [1, 2, 5])
@pytest.mark.parametrize("presented", [0, -1])
async def test_reuse_ends_the_grant_and_kills_its_access_tokens(
    mint: Installation, client_id: str, rotations: int, presented: int
) -> None:
    """The oldest or the last but one, after its grace: the newest dies, every access token dies, and it is audited."""
    answers = [await mint.obtain(client_id)]
    for _ in range(rotations):
        answers.append(assert_tokens(await mint.refresh(answers[-1]["refresh_token"], client_id)))
    newest = answers[-1]["refresh_token"]
    mint.clock.advance(10)
    assert all([await mint.is_active(answer["access_token"]) for answer in answers])
    assert_error(await mint.refresh(answers[:-1][presented]["refresh_token"], client_id), "invalid_grant")
    assert not any([await mint.is_active(answer["access_token"]) for answer in answers])
    assert_error(await mint.refresh(newest, client_id), "invalid_grant")
    grant = await grant_of(mint, newest)
    assert (grant.end_reason, grant.ended_at) == ("refresh_reuse", mint.clock.now())
    assert [event.event for event in await events_of(mint, newest)].count("grant.refresh_reuse") == 1
    # The same person's other grant is untouched.
    assert_tokens(await mint.refresh((await mint.obtain(client_id))["refresh_token"], client_id))


@pytest.mark.spec("invariant I3")
async def test_reuse_is_recognised_however_old_the_token(mint: Installation) -> None:
    """No table of used tokens that would be cleaned up: 40 rotations and days later the first is still known."""
    first = newest = (await mint.obtain())["refresh_token"]
    for _ in range(40):
        mint.clock.advance(3600)
        newest = assert_tokens(await mint.refresh(newest))["refresh_token"]
        await mint.authority.upkeep(1000)
    assert_error(await mint.refresh(first), "invalid_grant")
    assert_error(await mint.refresh(newest), "invalid_grant")
    assert (await grant_of(mint, first)).end_reason == "refresh_reuse"


@pytest.mark.spec("R04", "invariant I1", "RFC 9700 §4.14.2")
@pytest.mark.parametrize("client_id", ["web", "spa"])
async def test_parallel_refreshes_without_grace_leave_no_chain(stored_mint: Installation, client_id: str) -> None:
    """50 at once, grace 0: one is answered, the others are reuse, and the grant is dead afterwards."""
    mint = stored_mint
    await change_client(mint, client_id, refresh_grace=0)
    token = (await mint.obtain(client_id))["refresh_token"]
    answers = await asyncio.gather(*(mint.refresh(token, client_id) for _ in range(50)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 400: 49}
    assert {answer.json()["error"] for answer in answers if answer.status_code == 400} == {"invalid_grant"}
    winner = next(answer.json() for answer in answers if answer.status_code == 200)
    assert not await mint.is_active(winner["access_token"])
    assert_error(await mint.refresh(winner["refresh_token"], client_id), "invalid_grant")
    grant = await grant_of(mint, token)
    assert (grant.generation, grant.end_reason) == (2, "refresh_reuse")


@pytest.mark.spec("R04", "invariant I1", "invariant I2", "RFC 9700 §4.14.2")
@pytest.mark.parametrize("client_id", ["web", "spa"])
async def test_parallel_refreshes_within_the_grace_are_one_chain(stored_mint: Installation, client_id: str) -> None:
    """50 at once, grace 10: all are answered with one and the same refresh token, and it is the only live one."""
    mint = stored_mint
    await change_client(mint, client_id, refresh_grace=10)
    token = (await mint.obtain(client_id))["refresh_token"]
    answers = [
        assert_tokens(answer) for answer in await asyncio.gather(*(mint.refresh(token, client_id) for _ in range(50)))
    ]
    assert len({answer["refresh_token"] for answer in answers}) == 1
    assert len({answer["access_token"] for answer in answers}) == 50
    grant = await grant_of(mint, token)
    assert (grant.generation, grant.replays, grant.ended_at) == (2, 49, None)
    third = assert_tokens(await mint.refresh(answers[0]["refresh_token"], client_id))["refresh_token"]
    assert_tokens(await mint.refresh(third, client_id))
    assert_error(await mint.refresh(token, client_id), "invalid_grant")
    assert_error(await mint.refresh(third, client_id), "invalid_grant")


@pytest.mark.spec("R04", "invariant I1")
async def test_a_token_and_its_successor_at_once_are_never_two_chains(stored_mint: Installation) -> None:
    """25 each, within the grace: every success of a generation is the same token, and at most one is alive."""
    mint = stored_mint
    old = (await mint.obtain())["refresh_token"]
    new = assert_tokens(await mint.refresh(old))["refresh_token"]
    answers = await asyncio.gather(*(mint.refresh(token) for _ in range(25) for token in (old, new)))
    succeeded = {answer.json()["refresh_token"] for answer in answers if answer.status_code == 200}
    assert {answer.json()["error"] for answer in answers if answer.status_code != 200} <= {"invalid_grant"}
    assert len(succeeded) <= 2  # the successor (again), and its successor
    alive = [token for token in {old, new, *succeeded} if await mint.is_active(token, "web")]
    assert len(alive) <= 1
    assert (await grant_of(mint, old)).generation == 3


@pytest.mark.spec("R04", "invariant I6")
async def test_a_revocation_in_the_middle_of_refreshes_wins(stored_mint: Installation) -> None:
    """Whatever was answered before or after it: in the end nothing of the grant is active, now and later."""
    mint = stored_mint
    tokens = await mint.obtain()
    # A token issued after the revocation would outlive the entry that names its grant.
    mint.clock.advance(tokens["expires_in"] - 300)
    token = tokens["refresh_token"]
    requests = [mint.refresh(token) for _ in range(20)]
    requests.insert(10, mint.post("/revoke", "web", token=token))
    answers = await asyncio.gather(*requests)
    assert answers.pop(10).status_code == 200
    issued = [answer.json()["access_token"] for answer in answers if answer.status_code == 200]
    assert {answer.json()["error"] for answer in answers if answer.status_code != 200} <= {"invalid_grant"}
    for later in (0, 301):
        mint.clock.advance(later)
        await mint.authority.upkeep(1000)
        assert not any([await mint.is_active(each) for each in issued])
    assert_error(await mint.refresh(token), "invalid_grant")


@pytest.mark.spec("R05", "OAuth 2.1 §4.3.3")
async def test_a_rotated_refresh_token_has_the_scope_of_the_grant(mint: Installation) -> None:
    """Narrowed once, all of it may be asked with the next one; and never more."""
    everything = "openid orders:read orders:write"
    first = await mint.obtain(scope=everything)
    narrow = assert_tokens(await mint.refresh(first["refresh_token"], scope="orders:read"))
    assert narrow["scope"] == claims_of(narrow["access_token"])["scope"] == "orders:read"
    assert "id_token" not in narrow
    assert_error(await mint.refresh(narrow["refresh_token"], scope="orders:read email"), "invalid_scope")
    for scope in (None, everything):
        whole = assert_tokens(await mint.refresh(narrow["refresh_token"], scope=scope))
        assert set(whole["scope"].split()) == set(everything.split())


@pytest.mark.spec("R05", "RFC 8707 §2.2")
async def test_a_rotated_refresh_token_has_the_resources_of_the_grant(mint: Installation) -> None:
    """The same for the audience."""
    session = await mint.session()
    first = await mint.obtain(session=session, scope="orders:read reports:read", resource=[API, REPORTS])
    assert set(claims_of(first["access_token"])["aud"]) == {API, REPORTS}
    narrow = assert_tokens(await mint.refresh(first["refresh_token"], resource=REPORTS))
    claims = claims_of(narrow["access_token"])
    assert (claims["aud"], claims["scope"]) == (REPORTS, "reports:read")
    assert_error(await mint.refresh(narrow["refresh_token"], resource="https://else.example"), "invalid_target")
    whole = assert_tokens(await mint.refresh(narrow["refresh_token"]))
    assert set(claims_of(whole["access_token"])["aud"]) == {API, REPORTS}


@pytest.mark.spec("invariant I5")
async def test_a_right_taken_away_is_gone_with_the_next_refresh(mint: Installation) -> None:
    """From the person (a role) or from the client (a scope); given back, it is there again: the grant never held more."""
    await give_roles(mint, "order-admin")
    tokens = await mint.obtain(scope="openid orders:read orders:admin")
    assert "orders:admin" in tokens["scope"].split()
    await give_roles(mint)
    tokens = assert_tokens(await mint.refresh(tokens["refresh_token"]))
    assert set(tokens["scope"].split()) == {"openid", "orders:read"}
    assert not {"roles", "permissions"} & set(claims_of(tokens["access_token"]))
    await give_roles(mint, "order-admin")
    tokens = assert_tokens(await mint.refresh(tokens["refresh_token"]))
    assert set(tokens["scope"].split()) == {"openid", "orders:read", "orders:admin"}
    await change_client(mint, "web", scope=("openid", "orders:read"))
    tokens = assert_tokens(await mint.refresh(tokens["refresh_token"]))
    assert set(tokens["scope"].split()) == {"openid", "orders:read"}


@pytest.mark.spec("invariant I5")
async def test_a_right_given_after_the_grant_does_not_widen_it(mint: Installation) -> None:
    """A role gained later adds no scope to what the person allowed."""
    tokens = await mint.obtain(scope="openid orders:read orders:admin")
    assert set(tokens["scope"].split()) == {"openid", "orders:read"}
    await give_roles(mint, "order-admin")
    newer = assert_tokens(await mint.refresh(tokens["refresh_token"]))
    assert set(newer["scope"].split()) == {"openid", "orders:read"}
    assert_error(await mint.refresh(newer["refresh_token"], scope="orders:admin"), "invalid_scope")


@pytest.mark.spec("R09", "invariant I5", "RFC 9068 §2.2.1", "OIDC Core §12.2")
@pytest.mark.parametrize("steps", ["rotated", "replayed", "narrowed"])
async def test_who_signed_in_and_how_never_changes(mint: Installation, steps: str) -> None:
    """auth_time, acr, amr, sub, aud of both tokens are those of the sign-in, after a new sign-in and hours, too."""
    first = await mint.obtain()
    mint.clock.advance(3600)
    await mint.session()
    later = assert_tokens(await mint.refresh(first["refresh_token"]))
    if steps == "replayed":
        later = assert_tokens(await mint.refresh(first["refresh_token"]))
    if steps == "narrowed":
        later = assert_tokens(await mint.refresh(later["refresh_token"], scope="openid orders:read"))
    for kind in ("access_token", "id_token"):
        before, after = claims_of(first[kind]), claims_of(later[kind])
        for name in ("iss", "sub", "aud", "auth_time", "acr", "amr"):
            assert before[name] == after[name], name
        assert after["iat"] == before["iat"] + 3600
        assert after["auth_time"] == before["iat"]
    assert claims_of(first["id_token"])["sid"] == claims_of(later["id_token"])["sid"]
    assert claims_of(later["id_token"])["iss"] == ISSUER
