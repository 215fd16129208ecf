"""What is remembered for a second is never older than that, and never hides a change of our own."""

from dataclasses import replace

import pytest
from tests.storage.store_things import client
from tests.support.world import FixedClock

from mintmark.authority.ports import AlreadyExistsError
from mintmark.storage.memory import MemoryStore
from mintmark.storage.remembered import RememberedDirectory, RememberingStore


async def test_a_change_of_another_process_is_seen_when_the_second_is_over() -> None:
    store, clock = MemoryStore(), FixedClock()
    here = RememberedDirectory(store.clients, clock)
    await store.clients.add(client(name="old"))
    assert await here.get("shop") == client(name="old")
    await store.clients.replace(client(name="old"), client(name="new"))
    assert await here.get("shop") == client(name="old")
    clock.advance(1)
    assert await here.get("shop") == client(name="new")


async def test_a_change_of_our_own_is_seen_at_once() -> None:
    here = RememberedDirectory(MemoryStore().clients, FixedClock())
    assert await here.get("shop") is None
    await here.add(client())
    assert await here.get("shop") == client()
    assert await here.replace(client(), client(name="new")) is True
    assert await here.get("shop") == client(name="new")
    assert await here.replace(client(), client(name="late")) is False
    assert await here.remove("shop") is True
    assert await here.get("shop") is None
    assert await here.all() == []


async def test_what_was_read_before_a_change_is_not_remembered_after_it() -> None:
    store, clock = MemoryStore(), FixedClock()
    await store.clients.add(client())

    class Slow:
        def __getattr__(self, name: str) -> object:
            return getattr(store.clients, name)

        async def get(self, key: str) -> object:
            found = await store.clients.get(key)
            await here.replace(client(), client(name="new"))
            return found

    here: RememberedDirectory[object] = RememberedDirectory(Slow(), clock)  # type: ignore[arg-type]
    assert await here.get("shop") == client()
    assert await here.get("shop") == client(name="new")


async def test_all_else_is_the_stores_own() -> None:
    inner, clock = MemoryStore(), FixedClock()
    store = RememberingStore(inner, clock)
    await store.clients.add(client())
    with pytest.raises(AlreadyExistsError):
        await store.clients.add(replace(client(), name="again"))
    assert await inner.clients.all() == [client()]
    assert store.grants is inner.grants
    await store.check()
    assert set(await store.sweep(clock.now(), 10)) == set(await inner.sweep(clock.now(), 10))
    await store.close()
