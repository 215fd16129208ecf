"""Every adapter: the sweep, and a store that is closed."""

from collections.abc import Awaitable, Callable

import pytest
from tests.storage.store_things import (
    NOW,
    client,
    consent,
    digest,
    event,
    grant,
    grant_id,
    lease,
    refreshed,
    revocation,
    revoked,
    secret,
    session,
    signing_key,
    step,
    user,
)

from mintmark.authority.ports import GrantSelector, Store, StoreUnavailableError
from mintmark.oauth.revocations import KEPT_BEYOND_EXPIRY

pytestmark = pytest.mark.anyio

EMPTY = dict.fromkeys(
    ("grants_postponed", "grants_ended", "grants_expired", "sessions_expired", "revocations", "keys"), 0
)


async def gone(store: Store, now: int, limit: int = 10) -> dict[str, int]:
    """Sweep; return how many went, of the kinds that any went of."""
    swept = await store.sweep(now, limit)
    return {kind: count for kind, count in swept.items() if count and kind != "grants_postponed"}


async def test_an_empty_store_has_nothing_to_sweep(store: Store) -> None:
    assert await store.sweep(NOW, 10) == EMPTY


@pytest.mark.parametrize(
    ("members", "spent_at"),
    [
        ({}, NOW + 500),  # the idle limit, after the access token
        ({"idle_expires_at": NOW + 50}, NOW + 100),  # the access token, after the idle limit
        ({"idle_expires_at": NOW + 9000}, NOW + 1000),  # the absolute limit
        ({"ended_at": NOW, "end_reason": "x"}, NOW + 100),  # ended: reuse detection until the access token is dead
        ({"ended_at": NOW, "end_reason": "x", "access_expires_at": NOW}, NOW),
        ({"expires_at": NOW + 50, "access_expires_at": 0}, NOW + 50),
    ],
)
async def test_a_grant_goes_when_nothing_needs_it_and_not_before(
    store: Store, members: dict[str, int], spent_at: int
) -> None:
    """Invariant I10."""
    await store.grants.add(refreshed(**members), event())
    for now in (NOW - 1, spent_at - 1):
        assert await gone(store, now) == {}
        assert await store.grants.get(grant_id("g")) is not None
    assert await gone(store, spent_at) == {"grants_ended" if "ended_at" in members else "grants_expired": 1}
    assert await store.grants.get(grant_id("g")) is None


async def test_a_step_keeps_a_grant_for_as_long_as_it_says(store: Store) -> None:
    await store.grants.add(grant(), event())
    assert await gone(store, NOW + 59) == {}
    assert await store.grants.advance(step(access_expires_at=NOW + 400))
    for now in (NOW + 60, NOW + 300, NOW + 399):
        assert await gone(store, now) == {}
    assert await gone(store, NOW + 400) == {"grants_expired": 1}


async def test_a_grant_never_looked_at_before_is_kept_for_its_access_token(store: Store) -> None:
    await store.grants.add(grant(), event())
    assert await store.grants.advance(step(idle_expires_at=NOW + 300, access_expires_at=NOW + 400))
    assert await gone(store, NOW + 350) == {}


async def test_an_ended_grant_goes_with_its_last_access_token(store: Store) -> None:
    await store.grants.add(refreshed(), event())
    assert await gone(store, NOW + 1) == {}
    await store.grants.end(GrantSelector(id=grant_id("g")), reason="x", at=NOW + 2, audit=event())
    assert await gone(store, NOW + 99) == {}
    assert await gone(store, NOW + 100) == {"grants_ended": 1}
    # Its revocation is needed by verifiers that forgive that a token is over.
    assert await gone(store, NOW + 99 + KEPT_BEYOND_EXPIRY) == {}
    assert await gone(store, NOW + 100 + KEPT_BEYOND_EXPIRY) == {"revocations": 1}


async def test_spent_grants_are_found_behind_many_that_are_needed(store: Store) -> None:
    """Batch by batch: while the counts add up to the limit there may be more to do, and there is an end to it."""
    for number in range(30):
        await store.grants.add(grant(number), event())
        await store.grants.advance(step(number))
    await store.grants.add(grant("spent", idle_expires_at=NOW + 70), event())
    await store.grants.add(grant("ended", idle_expires_at=NOW + 80), event())
    await store.grants.end(GrantSelector(id=grant_id("ended")), reason="x", at=NOW, audit=event())
    found, batches = list[str](), 0
    while sum((swept := await store.sweep(NOW + 100, 5)).values()) >= 5:
        found += [kind for kind, count in swept.items() if count and kind != "grants_postponed"]
        batches += 1
    found += [kind for kind, count in swept.items() if count and kind != "grants_postponed"]
    assert sorted(found) == ["grants_ended", "grants_expired"]
    assert batches < 8
    assert len(await store.grants.live(GrantSelector(subject="usr_ada"), NOW)) == 30


async def test_grants_that_expired_are_told_from_those_that_ended(store: Store) -> None:
    for number in range(7):
        await store.grants.add(refreshed(number, access_expires_at=NOW), event())
    for number in range(3):
        await store.grants.end(GrantSelector(id=grant_id(number)), reason="x", at=NOW, audit=event())
    assert await gone(store, NOW + 500) == {"grants_ended": 3, "grants_expired": 4}


async def test_a_session_goes_with_either_limit(store: Store) -> None:
    await store.sessions.add(session("idle", idle_expires_at=NOW + 10), replaces=None, audit=event())
    await store.sessions.add(session("old", expires_at=NOW + 20), replaces=None, audit=event())
    assert await gone(store, NOW + 9) == {}
    assert await gone(store, NOW + 10) == {"sessions_expired": 1}
    assert await store.sessions.get(digest("idle")) is None
    assert await gone(store, NOW + 20) == {"sessions_expired": 1}


async def test_keys_go_at_their_instant(store: Store) -> None:
    keys = [signing_key("k1", removed_at=NOW + 10), signing_key("k2", removed_at=NOW + 11), signing_key("k3")]
    await store.keys.change([], keys, audit=event())
    assert await gone(store, NOW + 9) == {}
    assert await gone(store, NOW + 10) == {"keys": 1}
    assert await store.keys.signing_keys() == keys[1:]


async def test_revocations_go_when_nobody_can_need_them(store: Store) -> None:
    await store.revocations.add(revocation("a", expires_at=NOW + 10), event())
    await store.revocations.add(revocation("b", expires_at=NOW + 11), event())
    assert await gone(store, NOW + 9 + KEPT_BEYOND_EXPIRY) == {}
    assert await gone(store, NOW + 10 + KEPT_BEYOND_EXPIRY) == {"revocations": 1}
    assert [value for _, value, _ in await revoked(store)] == ["b"]


async def test_a_sweep_deletes_no_more_than_it_may(store: Store) -> None:
    for number in range(5):
        await store.grants.add(grant(number), event())
        await store.sessions.add(session(number), replaces=None, audit=event())
        await store.revocations.add(revocation(), event())
    await store.keys.change([], [signing_key(f"k{number}", removed_at=1) for number in range(5)], audit=event())
    kinds = ("grants_expired", "sessions_expired", "revocations", "keys")
    for expected in (2, 2, 1):
        assert await gone(store, NOW + 10_000, 2) == dict.fromkeys(kinds, expected)
    assert await store.sweep(NOW + 10_000, 2) == EMPTY


async def test_the_sweep_keeps_everything_else(store: Store) -> None:
    await store.clients.add(client())
    await store.users.add(user())
    await store.consents.put(consent(), event("kept"))
    await store.keys.add_server_secret(secret())
    await store.sweep(NOW * 2, 10)
    assert await store.clients.all() == [client()]
    assert await store.users.all() == [user()]
    assert await store.consents.of("usr_ada") == [consent()]
    assert await store.keys.server_secrets() == [secret()]
    assert await store.audit.latest(1) == [event("kept")]


async def test_an_open_store_answers(store: Store) -> None:
    await store.check()


VERBS: dict[str, Callable[[Store], Awaitable[object]]] = {
    "check": lambda store: store.check(),
    "sweep": lambda store: store.sweep(NOW, 1),
    "clients.get": lambda store: store.clients.get("shop"),
    "clients.all": lambda store: store.clients.all(),
    "clients.add": lambda store: store.clients.add(client()),
    "clients.replace": lambda store: store.clients.replace(client(), client()),
    "clients.remove": lambda store: store.clients.remove("shop"),
    "users.by_email": lambda store: store.users.by_email("a"),
    "grants.get": lambda store: store.grants.get(b"x"),
    "grants.live": lambda store: store.grants.live(GrantSelector(sid="x"), NOW),
    "grants.add": lambda store: store.grants.add(grant(), event()),
    "grants.advance": lambda store: store.grants.advance(step()),
    "grants.end": lambda store: store.grants.end(GrantSelector(sid="x"), reason="x", at=NOW, audit=event()),
    "sessions.get": lambda store: store.sessions.get(b"x"),
    "sessions.of": lambda store: store.sessions.of("x"),
    "sessions.add": lambda store: store.sessions.add(session(), replaces=None, audit=event()),
    "sessions.touch": lambda store: store.sessions.touch(b"x", NOW),
    "sessions.end": lambda store: store.sessions.end(sid="x", audit=event()),
    "consents.get": lambda store: store.consents.get("x", "y"),
    "consents.of": lambda store: store.consents.of("x"),
    "consents.put": lambda store: store.consents.put(consent(), event()),
    "consents.remove": lambda store: store.consents.remove("x", "y", event()),
    "keys.signing_keys": lambda store: store.keys.signing_keys(),
    "keys.change": lambda store: store.keys.change([], [], audit=event()),
    "keys.server_secrets": lambda store: store.keys.server_secrets(),
    "keys.add_server_secret": lambda store: store.keys.add_server_secret(secret()),
    "keys.rewrap": lambda store: store.keys.rewrap([], [], event()),
    "keys.forget_removed": lambda store: store.keys.forget_removed(NOW),
    "revocations.add": lambda store: store.revocations.add(revocation(), event()),
    "revocations.after": lambda store: store.revocations.after(0, 1),
    "leases.get": lambda store: store.leases.get("x"),
    "leases.put": lambda store: store.leases.put(None, lease()),
    "audit.record": lambda store: store.audit.record(event()),
    "audit.latest": lambda store: store.audit.latest(1),
}


async def test_every_verb_of_a_closed_store_says_that_it_is_unavailable(store: Store) -> None:
    """Invariant I4: never an answer, and never an error that looks like one."""
    await store.close()
    for name, verb in VERBS.items():
        try:
            await verb(store)
        except StoreUnavailableError:
            continue
        pytest.fail(f"{name} answered")


async def test_close_may_be_said_twice(store: Store) -> None:
    await store.close()
    await store.close()
