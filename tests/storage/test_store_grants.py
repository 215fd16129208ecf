"""Every adapter: authorization grants (invariants I1, I3, I6, I10)."""

import asyncio
from dataclasses import replace

import pytest
from tests.storage.store_things import (
    NOW,
    authorization,
    event,
    events,
    grant,
    grant_id,
    refreshed,
    revoked,
    session,
    step,
)

from mintmark.authority.ports import AlreadyExistsError, GrantSelector, Store

pytestmark = pytest.mark.anyio

BY_ID = GrantSelector(id=grant_id("g"))


@pytest.mark.parametrize(
    "stored",
    [
        grant(),
        grant(binding=replace(grant().binding, redirect_uri=None, code_challenge=None, nonce=None)),  # type: ignore[type-var]
        grant(sid=None, authorization=authorization(scope=(), resources=(), amr=(), claims={})),
        refreshed(replays=3, ended_at=NOW, end_reason="logout", generation=2**31),
    ],
)
async def test_a_grant_comes_back_as_it_was(store: Store, stored: object) -> None:
    assert await store.grants.get(grant_id("g")) is None
    await store.grants.add(stored, event("issued"))  # type: ignore[arg-type]
    assert await store.grants.get(grant_id("g")) == stored
    assert await events(store) == ["issued"]


async def test_an_id_is_taken_once_and_nothing_else_is_written(store: Store) -> None:
    await store.grants.add(grant(), event("first"))
    with pytest.raises(AlreadyExistsError):
        await store.grants.add(grant(subject="usr_eve"), event("second"))
    assert await store.grants.get(grant_id("g")) == grant()
    assert await events(store) == ["first"]


async def test_a_step_up_drops_the_binding_and_says_when(store: Store) -> None:
    await store.grants.add(grant(), event())
    assert await store.grants.advance(step()) is True
    assert await store.grants.get(grant_id("g")) == grant(
        generation=1,
        binding=None,
        advanced_at=NOW + 5,
        idle_expires_at=NOW + 300,
        access_expires_at=NOW + 200,
    )


async def test_a_replay_keeps_generation_binding_and_instant(store: Store) -> None:
    await store.grants.add(grant(access_expires_at=NOW + 900), event())
    assert await store.grants.advance(step(generation=0, is_replay=True)) is True
    assert await store.grants.advance(step(generation=0, is_replay=True, idle_expires_at=NOW + 20)) is True
    # access_expires_at only ever grows; the idle limit is what the step says.
    assert await store.grants.get(grant_id("g")) == grant(
        replays=2, idle_expires_at=NOW + 20, access_expires_at=NOW + 900
    )


async def test_a_row_behind_is_taken_forward_in_one_step(store: Store) -> None:
    """Invariant I11: the database went back in time."""
    await store.grants.add(refreshed(), event())
    assert await store.grants.advance(step(expected=1, generation=7))
    stored = await store.grants.get(grant_id("g"))
    assert stored is not None
    assert stored.generation == 7


async def test_no_step_leads_back(store: Store) -> None:
    await store.grants.add(refreshed(generation=3), event())
    with pytest.raises(ValueError, match="never steps back"):
        await store.grants.advance(step(expected=3, generation=2))


@pytest.mark.parametrize("expected", [0, 2])
async def test_a_step_from_another_generation_writes_nothing(store: Store, expected: int) -> None:
    await store.grants.add(refreshed(), event("issued"))
    assert await store.grants.advance(step(expected=expected, audit=event("refreshed"))) is False
    assert await store.grants.get(grant_id("g")) == refreshed()
    assert await events(store) == ["issued"]


async def test_a_step_of_an_ended_or_missing_grant_writes_nothing(store: Store) -> None:
    await store.grants.add(refreshed(ended_at=NOW, end_reason="logout"), event("issued"))
    assert await store.grants.advance(step(expected=1, audit=event("refreshed"))) is False
    assert await store.grants.advance(step("other", audit=event("refreshed"))) is False
    assert await events(store) == ["issued"]


async def test_the_event_of_a_step_is_written_with_it(store: Store) -> None:
    await store.grants.add(grant(), event("issued"))
    assert await store.grants.advance(step(audit=event("redeemed")))
    assert await events(store) == ["issued", "redeemed"]


async def test_of_50_who_take_the_same_step_one_does(store: Store) -> None:
    """Invariant I1."""
    await store.grants.add(grant(), event("issued"))
    steps = [step(at=NOW + number, audit=event("redeemed") if number % 2 else None) for number in range(50)]
    outcomes = await asyncio.gather(*map(store.grants.advance, steps))
    assert sum(outcomes) == 1
    stored = await store.grants.get(grant_id("g"))
    assert stored is not None
    assert (stored.generation, stored.advanced_at) == (1, NOW + outcomes.index(True))
    assert (await events(store)).count("redeemed") == outcomes.index(True) % 2


async def test_each_of_many_steps_is_taken_once(store: Store) -> None:
    await store.grants.add(grant(), event())

    async def climb() -> int:
        taken = 0
        for expected in range(40):
            taken += await store.grants.advance(step(expected=expected))
        return taken

    assert sum(await asyncio.gather(*(climb() for _ in range(8)))) == 40


async def test_end_ends_revokes_and_counts(store: Store) -> None:
    await store.grants.add(refreshed(), event("issued"))
    assert await store.grants.end(BY_ID, reason="reuse", at=NOW + 10, audit=event("reuse", detail={"a": 1})) == 1
    assert await store.grants.get(grant_id("g")) == refreshed(ended_at=NOW + 10, end_reason="reuse")
    assert await revoked(store) == [("gid", refreshed().gid, NOW + 100)]
    assert (await store.audit.latest(1)) == [event("reuse", detail={"a": 1, "count": 1})]


async def test_ending_again_ends_nothing_and_still_tells(store: Store) -> None:
    await store.grants.add(refreshed(), event())
    await store.grants.end(BY_ID, reason="reuse", at=NOW + 10, audit=event())
    assert await store.grants.end(BY_ID, reason="logout", at=NOW + 20, audit=event("again")) == 0
    assert await store.grants.get(grant_id("g")) == refreshed(ended_at=NOW + 10, end_reason="reuse")
    assert len(await revoked(store)) == 1
    assert (await store.audit.latest(1)) == [event("again", detail={"count": 0})]


async def test_dead_access_tokens_are_not_revoked(store: Store) -> None:
    await store.grants.add(refreshed(), event())  # its last access token dies at NOW + 100
    assert await store.grants.end(BY_ID, reason="logout", at=NOW + 100, audit=event()) == 1
    assert await revoked(store) == []


async def test_an_expired_grant_with_a_live_access_token_is_ended_and_revoked(store: Store) -> None:
    await store.grants.add(refreshed(idle_expires_at=NOW + 20), event())
    assert await store.grants.end(BY_ID, reason="logout", at=NOW + 50, audit=event()) == 1
    assert [value for _, value, _ in await revoked(store)] == [refreshed().gid]


MIXED = [
    refreshed("a"),
    refreshed("b", client_id="app", sid="sid2"),
    refreshed("c", subject="usr_bob", sid=None),
    refreshed("d", subject="usr_bob", client_id="app", sid="sid3"),
]
SELECTIONS = [
    (GrantSelector(id=grant_id("a")), "a"),
    (GrantSelector(subject="usr_bob"), "cd"),
    (GrantSelector(client_id="app"), "bd"),
    (GrantSelector(sid="sid2"), "b"),
    (GrantSelector(subject="usr_bob", client_id="app"), "d"),
    (GrantSelector(id=grant_id("a"), subject="usr_bob"), ""),
    (GrantSelector(id=grant_id("b"), subject="usr_ada", client_id="app", sid="sid2"), "b"),
]


@pytest.mark.parametrize(("selector", "names"), SELECTIONS)
async def test_a_selector_takes_what_matches_all_its_members(store: Store, selector: GrantSelector, names: str) -> None:
    for each in MIXED:
        await store.grants.add(each, event())
    wanted = {grant_id(name) for name in names}
    assert {each.id for each in await store.grants.live(selector, NOW)} == wanted
    assert await store.grants.end(selector, reason="x", at=NOW, audit=event()) == len(names)
    for each in MIXED:
        stored = await store.grants.get(each.id)
        assert stored is not None
        assert (stored.ended_at is not None) == (each.id in wanted)
    assert {value for _, value, _ in await revoked(store)} == {each.gid for each in MIXED if each.id in wanted}


async def test_a_selector_of_nothing_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="at least one"):
        await store.grants.live(GrantSelector(), NOW)
    with pytest.raises(ValueError, match="at least one"):
        await store.grants.end(GrantSelector(), reason="x", at=NOW, audit=event())


async def test_keep_scope_spares_whole_scopes_only(store: Store) -> None:
    await store.grants.add(refreshed("kept", authorization=authorization(scope=("openid", "offline_access"))), event())
    await store.grants.add(refreshed("ended", authorization=authorization(scope=("offline_access_not",))), event())
    by_subject = GrantSelector(subject="usr_ada")
    assert await store.grants.end(by_subject, reason="x", at=NOW, keep_scope="offline_access", audit=event()) == 1
    assert [each.id for each in await store.grants.live(by_subject, NOW)] == [grant_id("kept")]


async def test_live_are_those_neither_ended_nor_expired(store: Store) -> None:
    await store.grants.add(grant("code", created_at=NOW - 1), event())
    await store.grants.add(refreshed("idle", idle_expires_at=NOW + 10), event())
    await store.grants.add(refreshed("old", expires_at=NOW + 10), event())
    await store.grants.add(refreshed("ended", ended_at=NOW, end_reason="x"), event())
    await store.grants.add(refreshed("fine"), event())
    by_subject = GrantSelector(subject="usr_ada")
    assert len(await store.grants.live(by_subject, NOW + 9)) == 4
    assert [each.id for each in await store.grants.live(by_subject, NOW + 10)] == [grant_id("code"), grant_id("fine")]


async def test_after_end_returned_no_step_is_taken(store: Store) -> None:
    """Invariant I6: steps and an end at once; whatever came before, nothing comes after."""
    await store.grants.add(refreshed(), event())

    ended, is_under_way = asyncio.Event(), asyncio.Event()

    async def climb() -> list[int]:
        late = []
        for expected in range(1, 60):
            was_ended = ended.is_set()
            if await store.grants.advance(step(expected=expected)) and was_ended:
                late.append(expected)
            if expected == 5:
                is_under_way.set()
            await asyncio.sleep(0)
        return late

    async def finish() -> int:
        await is_under_way.wait()
        count = await store.grants.end(BY_ID, reason="x", at=NOW, audit=event())
        ended.set()
        return count

    one, other, count = await asyncio.gather(climb(), climb(), finish())
    assert (one, other, count) == ([], [], 1)
    stored = await store.grants.get(grant_id("g"))
    assert stored is not None
    assert stored.ended_at == NOW
    # The revocation covers the last access token that any step promised.
    assert await revoked(store) == [("gid", stored.gid, stored.access_expires_at)]


async def test_of_many_ends_one_counts_and_one_revokes(store: Store) -> None:
    await store.grants.add(refreshed(), event())
    ends = [store.grants.end(BY_ID, reason="x", at=NOW, audit=event()) for _ in range(20)]
    assert sum(await asyncio.gather(*ends)) == 1
    assert len(await revoked(store)) == 1


async def test_a_grant_of_a_session_is_stored_only_while_the_session_is_there(store: Store) -> None:
    """A sign-out that ended the session first has ended every grant that can come of it (invariant I6)."""
    signed_in = session()
    await store.sessions.add(signed_in, replaces=None, audit=event("sign-in"))
    assert await store.grants.add(grant("in time"), event("issued"), if_session=signed_in.sid) is True
    await store.sessions.end(sid=signed_in.sid, audit=event("sign-out"))
    assert await store.grants.add(grant("too late"), event("issued"), if_session=signed_in.sid) is False
    assert await store.grants.get(grant_id("too late")) is None
    assert await events(store) == ["sign-in", "issued", "sign-out"]
