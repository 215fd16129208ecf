"""Every adapter: sessions, consents, keys, revocations, audit."""

import asyncio
from dataclasses import replace

import pytest
from tests.storage.store_things import (
    NOW,
    consent,
    digest,
    event,
    events,
    revocation,
    revoked,
    secret,
    session,
    signing_key,
)

from mintmark.authority.ports import AlreadyExistsError, Store
from mintmark.oauth.revocations import KEPT_BEYOND_EXPIRY

pytestmark = pytest.mark.anyio


async def test_a_session_comes_back_expired_or_not(store: Store) -> None:
    old = session(expires_at=1, idle_expires_at=1)
    await store.sessions.add(old, replaces=None, audit=event("sign-in"))
    assert await store.sessions.get(digest("s")) == old
    assert await store.sessions.get(digest("other")) is None
    assert await events(store) == ["sign-in"]


async def test_sessions_of_a_person_come_newest_first(store: Store) -> None:
    stored = [session(name, auth_time=NOW + age) for name, age in (("b", 1), ("c", 3), ("a", 2))]
    for each in stored:
        await store.sessions.add(each, replaces=None, audit=event())
    await store.sessions.add(session("bob", subject="usr_bob"), replaces=None, audit=event())
    assert [each.sid for each in await store.sessions.of("usr_ada")] == ["sid_c", "sid_a", "sid_b"]


@pytest.mark.parametrize("sid", ["sid_s", "sid_new"])
async def test_a_new_session_takes_the_place_of_the_one_it_replaces(store: Store, sid: str) -> None:
    await store.sessions.add(session(), replaces=None, audit=event())
    await store.sessions.add(session("new", sid=sid), replaces=digest("s"), audit=event())
    assert await store.sessions.of("usr_ada") == [session("new", sid=sid)]
    await store.sessions.add(session("third"), replaces=digest("long gone"), audit=event())
    assert len(await store.sessions.of("usr_ada")) == 2


async def test_a_refused_session_replaces_nothing(store: Store) -> None:
    await store.sessions.add(session("a"), replaces=None, audit=event("a"))
    await store.sessions.add(session("b"), replaces=None, audit=event("b"))
    with pytest.raises(AlreadyExistsError):
        await store.sessions.add(session("c", sid="sid_b"), replaces=digest("a"), audit=event("c"))
    assert await store.sessions.get(digest("a")) == session("a")
    assert await events(store) == ["a", "b"]


async def test_touch_moves_the_idle_limit_only(store: Store) -> None:
    await store.sessions.add(session(), replaces=None, audit=event())
    await store.sessions.touch(digest("s"), NOW + 555)
    await store.sessions.touch(digest("other"), NOW + 555)
    assert await store.sessions.of("usr_ada") == [session(idle_expires_at=NOW + 555)]


@pytest.mark.parametrize(
    ("members", "left"),
    [
        ({"sid": "sid_a"}, ["sid_b", "sid_c"]),
        ({"subject": "usr_ada"}, ["sid_c"]),
        ({"sid": "sid_a", "subject": "usr_ada"}, ["sid_b", "sid_c"]),
        ({"sid": "sid_a", "subject": "usr_bob"}, ["sid_a", "sid_b", "sid_c"]),
    ],
)
async def test_end_removes_what_it_names_and_tells_if_there_was_any(
    store: Store, members: dict[str, str], left: list[str]
) -> None:
    for name, subject in (("a", "usr_ada"), ("b", "usr_ada"), ("c", "usr_bob")):
        await store.sessions.add(session(name, subject=subject), replaces=None, audit=event("in"))
    assert await store.sessions.end(**members, audit=event("out")) == 3 - len(left)
    kept = [*await store.sessions.of("usr_ada"), *await store.sessions.of("usr_bob")]
    assert sorted(each.sid for each in kept) == left
    assert (await events(store)).count("out") == (len(left) < 3)


async def test_end_of_all_sessions_there_are_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="at least one"):
        await store.sessions.end(audit=event())


async def test_consent_is_put_replaced_and_withdrawn(store: Store) -> None:
    assert await store.consents.get("usr_ada", "shop") is None
    await store.consents.put(consent(), event("put"))
    wider = consent(scope=("openid", "read"), resources=(), granted_at=NOW + 1)
    await store.consents.put(wider, event("put"))
    await store.consents.put(consent(client_id="app"), event("put"))
    await store.consents.put(consent("usr_bob"), event("put"))
    assert await store.consents.get("usr_ada", "shop") == wider
    assert await store.consents.of("usr_ada") == [consent(client_id="app"), wider]
    assert await store.consents.remove("usr_ada", "shop", event("removed")) is True
    assert await store.consents.remove("usr_ada", "shop", event("removed")) is False
    assert await store.consents.of("usr_ada") == [consent(client_id="app")]
    assert await events(store) == ["put"] * 4 + ["removed"]


async def test_keys_come_oldest_published_first(store: Store) -> None:
    keys = [
        signing_key("a", published_at=NOW + 9, retired_at=NOW + 10, removed_at=NOW + 20, compromised=True),
        signing_key("b", published_at=NOW),
        signing_key("c", published_at=NOW + 9),
    ]
    assert await store.keys.change([], keys, audit=event("made")) is True
    assert await store.keys.signing_keys() == [keys[1], keys[0], keys[2]]
    assert await events(store) == ["made"]


async def test_change_replaces_by_kid_and_revokes(store: Store) -> None:
    one, two = signing_key("k1"), signing_key("k2")
    await store.keys.change([], [one, two], audit=event("made"))
    retired = replace(one, retired_at=NOW + 5, removed_at=NOW + 50, compromised=True)
    entry = revocation("k1", kind="kid")
    assert await store.keys.change([two, one], [retired], revocations=[entry], audit=event("retired")) is True
    assert await store.keys.signing_keys() == [retired, two]
    assert await revoked(store) == [("kid", "k1", NOW + 100)]
    assert await events(store) == ["made", "retired"]


@pytest.mark.parametrize("expected", [[], [signing_key("k2")], [signing_key("k1")], "changed"])
async def test_change_from_anything_but_what_is_stored_writes_nothing(store: Store, expected: object) -> None:
    stored = [signing_key("k1"), signing_key("k2")]
    await store.keys.change([], stored, audit=event("made"))
    seen = [replace(stored[0], active_at=1), stored[1]] if expected == "changed" else expected
    new = [signing_key("k3")]
    assert await store.keys.change(seen, new, revocations=[revocation()], audit=event("no")) is False  # type: ignore[arg-type]
    assert await store.keys.signing_keys() == stored
    assert await revoked(store) == []
    assert await events(store) == ["made"]


async def test_of_many_who_start_first_one_makes_the_keys(store: Store) -> None:
    changes = [store.keys.change([], [signing_key(f"k{number}")], audit=event("made")) for number in range(50)]
    assert sum(await asyncio.gather(*changes)) == 1
    assert len(await store.keys.signing_keys()) == 1
    assert await events(store) == ["made"]


async def test_of_many_who_start_first_one_makes_the_secret(store: Store) -> None:
    secrets = [secret(wrapped=bytes([number])) for number in range(50)]
    outcomes = await asyncio.gather(*map(store.keys.add_server_secret, secrets))
    assert sum(outcomes) == 1
    assert await store.keys.server_secrets() == [secrets[outcomes.index(True)]]


async def test_secrets_come_oldest_first(store: Store) -> None:
    for version in (2, 10, 1):
        assert await store.keys.add_server_secret(secret(version))
    assert [each.version for each in await store.keys.server_secrets()] == [1, 2, 10]


async def test_rewrap_changes_the_wrapped_bytes_and_nothing_else(store: Store) -> None:
    await store.keys.change([], [signing_key("k1"), signing_key("k2")], audit=event())
    await store.keys.add_server_secret(secret())
    keys = [signing_key("k1", wrapped=b"new", active_at=1), signing_key("gone", wrapped=b"new")]
    await store.keys.rewrap(keys, [secret(wrapped=b"new", created_at=1), secret(9)], event("rewrapped"))
    assert await store.keys.signing_keys() == [signing_key("k1", wrapped=b"new"), signing_key("k2")]
    assert await store.keys.server_secrets() == [secret(wrapped=b"new")]
    assert (await events(store))[-1] == "rewrapped"


async def test_removed_keys_are_forgotten_at_their_instant(store: Store) -> None:
    keys = [signing_key("k1", removed_at=NOW), signing_key("k2", removed_at=NOW + 1), signing_key("k3")]
    await store.keys.change([], keys, audit=event())
    assert await store.keys.forget_removed(NOW - 1) == 0
    assert await store.keys.forget_removed(NOW) == 1
    assert await store.keys.signing_keys() == keys[1:]


async def test_revocations_come_in_order_from_a_cursor(store: Store) -> None:
    entries = [revocation("a"), revocation("usr_ada", kind="sub", before=NOW), revocation("c", expires_at=1)]
    for each in entries:
        await store.revocations.add(each, event("revoked"))
    found = await store.revocations.after(0, 10)
    assert [replace(each, cursor=0) for each in found] == entries
    cursors = [each.cursor for each in found]
    assert cursors == sorted(set(cursors))
    assert cursors[0] > 0
    assert await store.revocations.after(0, 2) == found[:2]
    assert await store.revocations.after(cursors[0], 10) == found[1:]
    assert await store.revocations.after(cursors[2], 10) == []
    assert await events(store) == ["revoked"] * 3


async def test_a_reader_who_follows_the_cursor_misses_nothing(store: Store) -> None:
    names = [f"jti{number}" for number in range(100)]

    seen = list[str]()

    async def follow() -> None:
        cursor = 0
        while len(seen) < len(names):
            for each in await store.revocations.after(cursor, 7):
                cursor = each.cursor
                seen.append(each.value)
            await asyncio.sleep(0)

    await asyncio.gather(follow(), *(store.revocations.add(revocation(name), event()) for name in names))
    assert sorted(seen) == sorted(names)


async def test_a_cursor_is_never_given_twice(store: Store) -> None:
    await store.revocations.add(revocation("a"), event())
    (first,) = await store.revocations.after(0, 10)
    assert (await store.sweep(NOW + 100 + KEPT_BEYOND_EXPIRY, 10))["revocations"] == 1
    await store.revocations.add(revocation("b"), event())
    (second,) = await store.revocations.after(0, 10)
    assert second.cursor > first.cursor


async def test_audit_comes_newest_first_and_by_subject_or_grant(store: Store) -> None:
    logged = [
        event("1", subject="usr_ada", gid="g1", client_id="shop", detail={"count": 2, "reason": "ü"}),
        event("2", subject="usr_bob", gid="g1"),
        event("3", subject="usr_ada", at=1),
        event("4"),
    ]
    for each in logged:
        await store.audit.record(each)
    assert await store.audit.latest(10) == logged[::-1]
    assert await store.audit.latest(2) == logged[:1:-1]
    assert await store.audit.latest(10, subject="usr_ada") == [logged[2], logged[0]]
    assert await store.audit.latest(10, gid="g1") == [logged[1], logged[0]]
    assert await store.audit.latest(10, subject="usr_bob", gid="g1") == [logged[1]]
    assert await store.audit.latest(0) == []
