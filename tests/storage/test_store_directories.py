"""Every adapter: clients, resources, roles, users."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.storage.store_things import client, resource, role, user

from mintmark.authority.ports import AlreadyExistsError, Directory, Store

pytestmark = pytest.mark.anyio

KINDS: dict[str, tuple[str, Any]] = {
    "clients": (
        "client_id",
        lambda name: client(name, redirect_uris=("https://a/cb", "https://b/cb"), refresh_grace=3),
    ),
    "resources": ("resource", lambda name: resource(name, permissions=("a", "b"))),
    "roles": ("name", role),
    "users": ("subject", lambda name: user(name, f"{name.encode().hex()}@example.com", disabled_at=5)),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def directory(store: Store, kind: str) -> Directory[Any]:
    found: Directory[Any] = getattr(store, kind)
    return found


async def test_what_was_added_is_found_and_is_equal(store: Store, kind: str) -> None:
    item = KINDS[kind][1]("b")
    await directory(store, kind).add(item)
    assert await directory(store, kind).get("b") == item
    assert await directory(store, kind).get("B") is None


async def test_all_come_by_name(store: Store, kind: str) -> None:
    assert await directory(store, kind).all() == []
    names = ["b", "é", "a", "B", "\U0001d538", "\uffff"]
    for name in names:
        await directory(store, kind).add(KINDS[kind][1](name))
    assert [getattr(item, KINDS[kind][0]) for item in await directory(store, kind).all()] == sorted(names)


async def test_a_name_is_taken_once(store: Store, kind: str) -> None:
    item = KINDS[kind][1]("a")
    await directory(store, kind).add(item)
    with pytest.raises(AlreadyExistsError):
        await directory(store, kind).add(replace(item, created_at=99))
    assert await directory(store, kind).all() == [item]


async def test_of_many_who_add_one_name_one_does(store: Store, kind: str) -> None:
    items = [replace(KINDS[kind][1]("a"), created_at=number) for number in range(50)]
    outcomes = await asyncio.gather(*map(directory(store, kind).add, items), return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == 1
    assert sum(isinstance(outcome, AlreadyExistsError) for outcome in outcomes) == 49
    assert await directory(store, kind).get("a") == items[outcomes.index(None)]


async def test_replace_takes_the_place_of_what_is_stored(store: Store, kind: str) -> None:
    old = KINDS[kind][1]("a")
    new = replace(old, created_at=7)
    await directory(store, kind).add(old)
    assert await directory(store, kind).replace(old, new) is True
    assert await directory(store, kind).get("a") == new
    assert await directory(store, kind).replace(old, new) is False  # no longer what is stored
    assert await directory(store, kind).replace(new, new) is True


async def test_replace_of_what_is_missing_stores_nothing(store: Store, kind: str) -> None:
    item = KINDS[kind][1]("a")
    assert await directory(store, kind).replace(item, item) is False
    assert await directory(store, kind).all() == []


async def test_replace_keeps_the_name(store: Store, kind: str) -> None:
    with pytest.raises(ValueError, match="keeps the name"):
        await directory(store, kind).replace(KINDS[kind][1]("a"), KINDS[kind][1]("b"))


async def test_of_many_replacements_one_wins(store: Store, kind: str) -> None:
    old = KINDS[kind][1]("a")
    await directory(store, kind).add(old)
    news = [replace(old, created_at=number) for number in range(1, 51)]
    outcomes = await asyncio.gather(*(directory(store, kind).replace(old, new) for new in news))
    assert sum(outcomes) == 1
    assert await directory(store, kind).get("a") == news[outcomes.index(True)]


async def test_remove_says_whether_there_was_one(store: Store, kind: str) -> None:
    await directory(store, kind).add(KINDS[kind][1]("a"))
    assert await directory(store, kind).remove("a") is True
    assert await directory(store, kind).remove("a") is False
    assert await directory(store, kind).get("a") is None
    await directory(store, kind).add(KINDS[kind][1]("a"))


@pytest.mark.parametrize("email", ["ada@example.com", "Ada@EXAMPLE.com"])
async def test_a_user_is_found_by_email_without_case(store: Store, email: str) -> None:
    ada = user(email="ADA@example.com")
    await store.users.add(ada)
    assert await store.users.by_email(email) == ada
    assert await store.users.by_email("bob@example.com") is None


async def test_an_email_belongs_to_one_user(store: Store) -> None:
    ada = user(email="ada@example.com")
    await store.users.add(ada)
    with pytest.raises(AlreadyExistsError):
        await store.users.add(user("usr_bob", "Ada@Example.com"))
    assert await store.users.all() == [ada]


async def test_replace_refuses_a_taken_email_and_changes_nothing(store: Store) -> None:
    ada, bob = user(), user("usr_bob", "bob@example.com")
    await store.users.add(ada)
    await store.users.add(bob)
    with pytest.raises(AlreadyExistsError):
        await store.users.replace(bob, replace(bob, email="ADA@example.com", name="Bob"))
    assert await store.users.all() == [ada, bob]


async def test_a_changed_email_is_the_one_that_finds(store: Store) -> None:
    ada = user()
    await store.users.add(ada)
    moved = replace(ada, email="Lovelace@example.com")
    assert await store.users.replace(ada, moved)
    assert await store.users.by_email("lovelace@example.com") == moved
    assert await store.users.by_email(ada.email) is None
    assert await store.users.replace(moved, replace(moved, email="LOVELACE@example.com"))
    await store.users.add(user("usr_eve", ada.email))


async def test_a_removed_user_frees_the_email(store: Store) -> None:
    await store.users.add(user())
    await store.users.remove("usr_ada")
    await store.users.add(user("usr_new"))
    assert await store.users.by_email("ada@example.com") == user("usr_new")
