"""A store that went back in time learns again what was revoked (invariant I11): what is written, and who may do it."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.protocol.answers import assert_error, assert_tokens
from tests.protocol.inhabitants import change_client, client_of, events_of, grant_of
from tests.support.failing import FailingStore
from tests.support.installation import Installation, install

from mintmark.authority import keyring as keyrings
from mintmark.authority.keys import active
from mintmark.authority.model import AuditEvent
from mintmark.authority.people import sign_out_everywhere
from mintmark.authority.ports import StoreUnavailableError
from mintmark.authority.reapplying import EVENT, SWEPT_EARLY, reapply
from mintmark.authority.registration import set_client_disabled
from mintmark.oauth.revocations import KEPT_BEYOND_EXPIRY, Revocation
from mintmark.storage.memory import MemoryStore

pytestmark = pytest.mark.spec("invariant I11")


@pytest.fixture
async def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def mint(store: MemoryStore) -> Installation:
    mint = await install(store=store)
    mint.clock.advance(7200)  # the first keys have successors
    await mint.authority.upkeep(1000)
    return mint


async def stored(mint: Installation) -> list[tuple[str, str]]:
    """Return what a node that starts now learns."""
    return [(entry.kind, entry.value) for entry in await mint.authority.store.revocations.after(0, 1000)]


async def reapplied(mint: Installation) -> list[dict[str, Any]]:
    events = await mint.authority.store.audit.latest(1000)
    return [event.detail for event in reversed(events) if event.event == EVENT]


async def lose(store: MemoryStore, backup: object, *nodes: Installation) -> None:
    """Go back, and let the nodes notice; of keys they hear later."""
    store.restore(backup)
    for node in nodes:
        await node.authority.denylist.pull(node.authority.store)


@pytest.mark.spec("invariant I6")
async def test_a_node_that_knows_refuses_even_before_it_was_written_back(
    mint: Installation, store: MemoryStore
) -> None:
    """The rows are live again, of both grants; one of them was revoked, and this node remembers."""
    code, refreshed, spared = await mint.grant(), await mint.obtain(), await mint.obtain()
    backup = store.snapshot()
    redeemed = assert_tokens(await mint.redeem(code))
    for tokens in (refreshed, redeemed):
        await mint.post("/revoke", "web", token=tokens["refresh_token"])
    await lose(store, backup, mint)
    assert (await grant_of(mint, refreshed["refresh_token"])).ended_at is None
    assert_error(await mint.refresh(refreshed["refresh_token"]), "invalid_grant")
    assert_error(await mint.redeem(code), "invalid_grant")
    assert_error(await mint.refresh(redeemed["refresh_token"]), "invalid_grant")
    for tokens in (refreshed, redeemed):
        assert not await mint.is_active(tokens["access_token"])
        assert not await mint.is_active(tokens["refresh_token"], "web")
    assert await mint.is_active(spared["refresh_token"], "web")
    assert_tokens(await mint.refresh(spared["refresh_token"]))


@pytest.mark.spec("invariant I6")
async def test_a_grant_that_was_ended_is_ended_again(mint: Installation, store: MemoryStore) -> None:
    lost, spared = await mint.obtain(), await mint.obtain()
    backup = store.snapshot()
    lost = assert_tokens(await mint.refresh(lost["refresh_token"]))
    spared = assert_tokens(await mint.refresh(spared["refresh_token"]))
    await mint.post("/revoke", "web", token=lost["refresh_token"])
    await lose(store, backup, mint)
    assert await reapply(mint.authority) == mint.authority.denylist.reapplied == 1
    grant = await grant_of(mint, lost["refresh_token"])
    assert (grant.end_reason, grant.ended_at) == ("revocation_reapplied", mint.clock.now())
    assert await stored(mint) == [("gid", grant.gid)]
    assert [each.event for each in await events_of(mint, lost["refresh_token"])][-1] == EVENT
    fresh = await mint.node()
    for node in (mint, fresh):
        assert_error(await node.refresh(lost["refresh_token"]), "invalid_grant")
        assert not await node.is_active(lost["access_token"])
        assert await node.is_active(spared["access_token"])
    assert_tokens(await fresh.refresh(spared["refresh_token"]))


@pytest.mark.spec("invariant I6")
async def test_what_a_node_that_did_not_know_issued_meanwhile_dies_as_well(
    mint: Installation, store: MemoryStore
) -> None:
    tokens = await mint.obtain()
    backup = store.snapshot()
    await mint.post("/revoke", "web", token=tokens["refresh_token"])
    mint.clock.advance(mint.authority.policy.longest_access_token_lifetime - 60)
    store.restore(backup)
    ignorant = await mint.node()
    issued = assert_tokens(await ignorant.refresh(tokens["refresh_token"]))
    await mint.authority.catch_up()
    await reapply(mint.authority)
    await ignorant.authority.catch_up()
    mint.clock.advance(issued["expires_in"] - 1)
    await mint.authority.upkeep(1000)
    for node in (mint, ignorant, await mint.node()):
        assert not await node.is_active(issued["access_token"])
        assert_error(await node.refresh(issued["refresh_token"]), "invalid_grant")


async def test_an_access_token_revoked_alone_is_revoked_again(mint: Installation, store: MemoryStore) -> None:
    tokens, spared = await mint.obtain(), await mint.obtain()
    backup = store.snapshot()
    await mint.post("/revoke", "web", token=tokens["access_token"])
    await lose(store, backup, mint)
    assert await reapply(mint.authority) == 1
    fresh = await mint.node()
    assert not await fresh.is_active(tokens["access_token"])
    assert await fresh.is_active(spared["access_token"])
    assert_tokens(await fresh.refresh(tokens["refresh_token"]))


@pytest.mark.parametrize("kind", ["sub", "client_id"])
async def test_of_a_person_or_client_the_grants_that_are_as_old_end_again(
    mint: Installation, store: MemoryStore, kind: Any
) -> None:
    older = await mint.obtain()
    mint.clock.advance(10)
    before, same_second = mint.clock.now(), await mint.obtain()
    other_client = await mint.obtain("spa")
    mint.clock.advance(1)
    younger = await mint.obtain()
    assert mint.user is not None
    value = mint.user.subject if kind == "sub" else "web"
    lost = Revocation(kind=kind, value=value, before=before, expires_at=before + 900)
    mint.authority.denylist.hear([lost])
    await mint.authority.catch_up()
    assert await reapply(mint.authority) == 1
    assert (kind, value) in await stored(mint)
    fresh = await mint.node()
    for tokens in (older, same_second):
        assert_error(await fresh.refresh(tokens["refresh_token"]), "invalid_grant")
        assert not await fresh.is_active(tokens["access_token"])
    assert_tokens(await fresh.refresh(younger["refresh_token"]))
    answer = await fresh.refresh(other_client["refresh_token"], "spa")
    assert answer.status_code == (400 if kind == "sub" else 200)


async def test_without_a_moment_all_grants_end(mint: Installation) -> None:
    tokens = await mint.obtain()
    mint.authority.denylist.hear([Revocation(kind="client_id", value="web", expires_at=mint.clock.now() + 900)])
    await mint.authority.catch_up()
    await reapply(mint.authority)
    assert (await grant_of(mint, tokens["refresh_token"])).ended_at is not None


async def test_a_client_disabled_and_forgotten_has_none_of_its_old_grants(
    mint: Installation, store: MemoryStore
) -> None:
    """That it was disabled is lost, as every registration is; the alarm tells the operator to look."""
    tokens = await mint.obtain()
    backup = store.snapshot()
    await set_client_disabled(mint.authority, await client_of(mint, "web"), is_disabled=True)
    mint.clock.advance(1)
    await lose(store, backup, mint)
    assert await reapply(mint.authority) == 2
    assert_error(await (await mint.node()).refresh(tokens["refresh_token"]), "invalid_grant")
    assert (await client_of(mint, "web")).disabled_at is None


@pytest.mark.spec("invariant I7")
async def test_a_compromised_key_is_taken_out_again(mint: Installation, store: MemoryStore) -> None:
    """It signed again after the store went back: nobody may trust it, and another one signs."""
    tokens = await mint.obtain()
    now, keyring = mint.clock.now(), mint.authority.keyring
    key = active(keyring.rows, "RS256", now)
    assert key is not None
    backup = store.snapshot()
    assert await keyrings.retire_emergency(keyring, store, mint.clock, key.kid)
    await mint.authority.catch_up()
    assert not await mint.is_active(tokens["access_token"])
    await lose(store, backup, mint)
    back = active(await store.keys.signing_keys(), "RS256", now)
    assert back is not None
    assert back.kid == key.kid
    assert await reapply(mint.authority) == 1
    (row,) = [row for row in await store.keys.signing_keys() if row.kid == key.kid]
    assert row.compromised
    fresh = await mint.node()
    assert not await fresh.is_active(tokens["access_token"])
    assert await reapply(mint.authority) == 0
    assert await stored(mint) == [("kid", key.kid)]


@pytest.mark.parametrize("value", ["", "no grant of ours", "AAAAAAAAAAAAAAAAAAAAAA"])
async def test_what_names_no_grant_is_kept_all_the_same(mint: Installation, value: str) -> None:
    """The grant may have been lost with its revocation; its tokens are alive."""
    mint.authority.denylist.hear([Revocation(kind="gid", value=value, expires_at=mint.clock.now() + 900)])
    await mint.authority.catch_up()
    assert await reapply(mint.authority) == 1
    assert await stored(mint) == [("gid", value)]
    assert await reapplied(mint) == [{"kind": "gid", "value": value}]
    assert (await mint.node()).authority.denylist.has_ended(value)


async def test_an_entry_that_no_store_takes_holds_up_none_of_the_others(mint: Installation) -> None:
    """As one of a stream that somebody else wrote to: PostgreSQL takes no number of 65 bits, and no octet 0."""
    until = mint.clock.now() + 900
    odd = Revocation(kind="jti", value="odd", expires_at=until)
    mint.authority.denylist.hear([odd, Revocation(kind="jti", value="sound", expires_at=until)])
    await mint.authority.catch_up()
    add = mint.authority.store.revocations.add

    async def refuse_odd(revocation: Revocation, audit: AuditEvent) -> None:
        if revocation.value == "odd":
            raise ValueError(revocation.value)
        await add(revocation, audit)

    mint.authority.store.revocations.add = refuse_odd  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="odd"):
        await reapply(mint.authority)
    assert await stored(mint) == [("jti", "sound")]
    assert mint.authority.denylist.forgotten == {}
    assert await reapply(mint.authority) == 0
    assert mint.authority.denylist.revokes({"jti": "odd"}, "any")


@pytest.mark.parametrize("left", [-1, 0, 1])
async def test_what_another_node_may_have_swept_is_not_written_back(mint: Installation, left: int) -> None:
    """Its clock may be ahead of ours: it would sweep it again at once."""
    ends = mint.clock.now() - KEPT_BEYOND_EXPIRY + SWEPT_EARLY
    mint.authority.denylist.hear([Revocation(kind="jti", value="j", expires_at=ends + left)])
    await mint.authority.catch_up()
    assert await reapply(mint.authority) == (1 if left > 0 else 0)
    assert mint.authority.denylist.forgotten == {}


async def test_a_grant_ends_again_when_its_access_tokens_are_over(mint: Installation, store: MemoryStore) -> None:
    """Its refresh token is not; and a clock that is behind may still take the access token for good."""
    tokens = await mint.obtain()
    backup = store.snapshot()
    await mint.post("/revoke", "web", token=tokens["refresh_token"])
    mint.clock.advance(mint.authority.policy.longest_access_token_lifetime + 10)
    await lose(store, backup, mint)
    while mint.authority.denylist.forgotten:
        await reapply(mint.authority)
    grant = await grant_of(mint, tokens["refresh_token"])
    assert grant.ended_at is not None
    assert await stored(mint) == [("gid", grant.gid)]


async def test_it_is_done_once_whoever_does_it(mint: Installation, store: MemoryStore) -> None:
    """Three nodes find out at the same time; a repetition changes nothing."""
    nodes = [mint, await mint.node("two"), await mint.node("three")]
    tokens = [await mint.obtain() for _ in range(4)]
    backup = store.snapshot()
    for each in tokens[:2]:
        await mint.post("/revoke", "web", token=each["refresh_token"])
    await mint.post("/revoke", "web", token=tokens[2]["access_token"])
    for node in nodes:
        await node.authority.catch_up()
    await lose(store, backup, *nodes)
    done = await asyncio.gather(*(reapply(node.authority) for node in nodes))
    assert sum(done) == sum(node.authority.denylist.reapplied for node in nodes)
    entries = await stored(mint)
    assert len(set(entries)) == 3
    assert [kind for kind, _ in entries].count("gid") == 2
    assert len(await reapplied(mint)) <= 3 * len(nodes)
    for node in nodes:
        await node.authority.catch_up()
        assert node.authority.denylist.forgotten == {}
        assert await reapply(node.authority) == 0
    assert await stored(mint) == entries
    assert_tokens(await mint.refresh(tokens[3]["refresh_token"]))


async def test_one_after_the_other_finds_nothing_left_to_do(mint: Installation, store: MemoryStore) -> None:
    other = await mint.node()
    tokens = await mint.obtain()
    backup = store.snapshot()
    await mint.post("/revoke", "web", token=tokens["refresh_token"])
    await mint.post("/revoke", "web", token=(await mint.obtain())["access_token"])
    await other.authority.catch_up()
    await lose(store, backup, mint, other)
    assert await reapply(mint.authority) == 2
    assert await reapply(other.authority) == 0
    assert len(await stored(mint)) == len(await reapplied(mint)) == 2


@pytest.mark.slow
@pytest.mark.spec("invariant I4")
@pytest.mark.parametrize("does_the_work", [False, True])
async def test_whatever_fails_in_between_the_next_time_completes_it(does_the_work: bool) -> None:
    """At each verb in turn, before and after it did its work."""
    at, is_over = 0, False
    while not is_over:
        store = MemoryStore()
        mint = await install(store=store)
        mint.clock.advance(7200)
        await mint.authority.upkeep(1000)
        tokens = await mint.obtain()
        key = active(mint.authority.keyring.rows, "RS256", mint.clock.now())
        assert key is not None
        backup = store.snapshot()
        await mint.post("/revoke", "web", token=tokens["refresh_token"])
        await mint.post("/revoke", "web", token=(await mint.obtain())["access_token"])
        await set_client_disabled(mint.authority, await client_of(mint, "spa"), is_disabled=True)
        await keyrings.retire_emergency(mint.authority.keyring, store, mint.clock, key.kid)
        await mint.authority.catch_up()
        await lose(store, backup, mint)
        failing = FailingStore(store)
        authority = replace(mint.authority, store=failing.as_store())
        failing.watch(at, does_the_work=does_the_work)
        try:
            await reapply(authority)
        except StoreUnavailableError:
            failing.watch()
            await reapply(authority)
        else:
            is_over = True
        fresh = await mint.node()
        assert {kind for kind, _ in await stored(mint)} == {"gid", "jti", "client_id", "kid"}
        assert (await grant_of(mint, tokens["refresh_token"])).ended_at is not None
        assert not await fresh.is_active(tokens["access_token"])
        assert fresh.authority.denylist.revokes({}, key.kid)
        await mint.authority.catch_up()
        assert mint.authority.denylist.forgotten == {}
        at += 1
    assert at > 5


async def test_nothing_is_written_where_nothing_was_lost(mint: Installation, store: MemoryStore) -> None:
    """Neither by ordinary revocations, nor because a sweep took the entry that was read last."""
    for _ in range(3):
        await mint.post("/revoke", "web", token=(await mint.obtain())["access_token"])
    assert mint.user is not None
    await sign_out_everywhere(mint.authority, mint.user.subject, reason="test")
    await mint.authority.catch_up()
    entries = await stored(mint)
    assert await reapply(mint.authority) == 0
    mint.clock.advance(3600 + KEPT_BEYOND_EXPIRY)
    await store.sweep(mint.clock.now() + 5, 1000)
    assert len(await stored(mint)) < len(entries)
    await mint.authority.catch_up()
    assert await reapply(mint.authority) == 0
    assert await reapplied(mint) == []


async def test_a_longer_life_of_the_client_is_no_longer_life_of_the_entry(
    mint: Installation, store: MemoryStore
) -> None:
    """Whatever is configured by now: the entry lasts as long as any access token can."""
    tokens = await mint.obtain()
    backup = store.snapshot()
    await mint.post("/revoke", "web", token=tokens["refresh_token"])
    store.restore(backup)
    await change_client(mint, "web", access_token_lifetime=3600)
    late = assert_tokens(await (await mint.node()).refresh(tokens["refresh_token"]))
    await mint.authority.catch_up()
    await reapply(mint.authority)
    mint.clock.advance(3599)
    await mint.authority.upkeep(1000)
    assert not await (await mint.node()).is_active(late["access_token"])
