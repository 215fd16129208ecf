"""Revocations between nodes: by the store, by the stream beside it, and back into a store that forgot (I6, I11)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from tests.protocol.answers import assert_error, assert_tokens
from tests.protocol.inhabitants import grant_of
from tests.storage.store_things import event
from tests.support.feed import TroubledStore, failing
from tests.support.installation import Installation, install
from tests.support.streams import FakeStream

from mintmark.authority.ports import StoreUnavailableError
from mintmark.bootstrap import hearing as module
from mintmark.bootstrap import repeating
from mintmark.bootstrap.hearing import hearing
from mintmark.oauth.revocations import Revocation
from mintmark.storage.memory import MemoryStore

pytestmark = pytest.mark.spec("invariant I6", "invariant I11")
AWAY = failing(StoreUnavailableError("the database is away"))
FOR_EVER = 3600.0


async def hang() -> None:
    await asyncio.Event().wait()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 - tasks of the node bring it about
            await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits long; what happens at once must not be mistaken for what happens soon, see ``rarely``."""
    for name in ("_HEAR_EVERY", "_MEND_EVERY", "_RELAY_EVERY", "_TELL_EVERY", "_LISTEN_FOR"):
        monkeypatch.setattr(module, name, 0.005)
    monkeypatch.setattr(repeating, "_TRY_AGAIN_IN", 0.005)


@pytest.fixture
async def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def stream() -> FakeStream:
    return FakeStream()


@pytest.fixture
async def mint(store: MemoryStore) -> Installation:
    """A node that does no chores: others have to do them."""
    return await install(store=store)


@pytest.fixture
async def running() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack
    assert not any(task.get_name().startswith("mintmark") for task in asyncio.all_tasks())


async def node(mint: Installation, stream: FakeStream | None, store: TroubledStore | None = None) -> Installation:
    """Return a further node; with ``store``, one that may be in trouble with it."""
    made = await mint.node()
    made.authority = replace(made.authority, stream=stream)
    if store is not None:
        made.authority = replace(made.authority, store=store.as_store())
    return made


def lost(value: str = "lost") -> Revocation:
    return Revocation(kind="jti", value=value, expires_at=1_700_000_000 + 900)


def knows(which: Installation, value: str) -> bool:
    return which.authority.denylist.revokes({"jti": value}, "k")


async def stored(store: MemoryStore) -> list[str]:
    return [entry.value for entry in await store.revocations.after(0, 1000)]


async def test_what_one_node_commits_others_know_before_they_read_it(
    mint: Installation, stream: FakeStream, running: AsyncExitStack
) -> None:
    """The other one cannot even read: its store hangs."""
    one = await node(mint, stream)
    troubled = TroubledStore(mint.authority.store)
    two = await node(mint, stream, troubled)
    tokens, spared = await one.obtain(), await one.obtain()
    for each in (one, two):
        await running.enter_async_context(hearing(each.authority))
    troubled.troubles["revocations.after"] = hang
    assert (await one.post("/revoke", "web", token=tokens["refresh_token"])).status_code == 200
    gid = (await grant_of(mint, tokens["refresh_token"])).gid
    await until(lambda: two.authority.denylist.has_ended(gid))
    assert not await two.is_active(tokens["access_token"])
    assert await two.is_active(spared["access_token"])


async def test_the_stream_makes_a_node_read_the_store_at_once(
    mint: Installation, stream: FakeStream, running: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whoever reads the feed hears of it as soon."""
    monkeypatch.setattr(module, "_HEAR_EVERY", FOR_EVER)
    two = await node(mint, stream)
    await running.enter_async_context(hearing(two.authority))
    await mint.authority.store.revocations.add(lost("j"), event())
    await stream.publish([lost("j")])
    await until(lambda: len(two.authority.denylist.log) == 1)


async def test_what_a_node_commits_it_publishes_at_once(
    mint: Installation, stream: FakeStream, running: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits neither for its next look at the store nor for its next look at the stream."""
    for name in ("_HEAR_EVERY", "_RELAY_EVERY"):
        monkeypatch.setattr(module, name, FOR_EVER)
    one = await node(mint, stream)
    tokens = await one.obtain()
    await running.enter_async_context(hearing(one.authority))
    await one.post("/revoke", "web", token=tokens["refresh_token"])
    gid = (await grant_of(mint, tokens["refresh_token"])).gid
    await until(lambda: [entry.value for entry in stream.published] == [gid])


async def test_without_a_stream_nodes_hear_by_the_store(mint: Installation, running: AsyncExitStack) -> None:
    two = await node(mint, None)
    await running.enter_async_context(hearing(two.authority))
    await mint.authority.store.revocations.add(lost("j"), event())
    await until(lambda: knows(two, "j"))


async def test_what_a_node_committed_and_did_not_live_to_publish_another_publishes(
    mint: Installation, stream: FakeStream, running: AsyncExitStack
) -> None:
    """The store is the outbox: ``mint`` never publishes."""
    two = await node(mint, stream)
    await running.enter_async_context(hearing(two.authority))
    await mint.authority.store.revocations.add(lost("j"), event())
    await until(lambda: [entry.value for entry in stream.published] == ["j"])


async def test_or_the_same_one_when_it_is_started_again(
    mint: Installation, stream: FakeStream, running: AsyncExitStack
) -> None:
    for value in ("a", "b", "c"):
        await mint.authority.store.revocations.add(lost(value), event())
    await running.enter_async_context(hearing((await node(mint, stream)).authority))
    await until(lambda: [entry.value for entry in stream.published] == ["a", "b", "c"])
    assert await stream.is_whole()


async def test_publishing_goes_on_where_it_failed(
    mint: Installation, stream: FakeStream, running: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH", 2)
    two = await node(mint, stream)
    await running.enter_async_context(hearing(two.authority))
    await stream.set_whole()
    stream.is_away = True
    with capture_logs() as logs:
        for value in "abcde":
            await mint.authority.store.revocations.add(lost(value), event())
        await until(lambda: knows(two, "e"))
        assert stream.published == []
        stream.is_away = False
        await until(lambda: len(stream.published) == 5)
    assert [entry.value for entry in stream.published] == list("abcde")
    assert stream.told == 5
    assert logs == []  # the stream itself says that it is away


@pytest.mark.parametrize("verb", ["publish", "after", "is_whole"])
async def test_a_stream_that_hangs_holds_up_neither_hearing_nor_requests(
    mint: Installation, stream: FakeStream, running: AsyncExitStack, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    two = await node(mint, stream)
    await running.enter_async_context(hearing(two.authority))

    async def hangs(*_: object) -> None:
        await hang()

    monkeypatch.setattr(stream, verb, hangs)
    for value in "ab":
        await mint.authority.store.revocations.add(lost(value), event())
        await until(lambda value=value: knows(two, value))  # type: ignore[misc]
    tokens = await two.obtain()
    assert (await two.post("/revoke", "web", token=tokens["refresh_token"])).status_code == 200
    assert_error(await two.refresh(tokens["refresh_token"]), "invalid_grant")


@pytest.mark.parametrize("kept", [0, 1])
async def test_a_stream_that_lost_something_is_told_everything_again(
    mint: Installation, stream: FakeStream, running: AsyncExitStack, kept: int
) -> None:
    """And what comes afterwards is heard of."""
    two = await node(mint, stream)
    await running.enter_async_context(hearing(two.authority))
    for value in "ab":
        await mint.authority.store.revocations.add(lost(value), event())
    await until(lambda: len(stream.published) == 2)
    stream.go_back(kept)
    await until(lambda: len(stream.published) == 2)
    await until(lambda: stream._is_whole)
    await stream.publish([lost("c")])
    await until(lambda: knows(two, "c"))


async def test_what_the_store_does_not_have_is_published_again_from_memory(
    mint: Installation, stream: FakeStream, running: AsyncExitStack
) -> None:
    """The database is away, and Redis is flushed: the nodes are all that is left."""
    troubled = TroubledStore(mint.authority.store)
    two = await node(mint, stream, troubled)
    await running.enter_async_context(hearing(two.authority))
    troubled.troubles["revocations.after"] = AWAY
    await stream.publish([lost()])
    await until(lambda: knows(two, "lost"))
    stream.lose_everything()
    await until(lambda: [entry.value for entry in stream.published] == ["lost"])


async def test_what_only_the_stream_has_is_written_back(
    mint: Installation, store: MemoryStore, stream: FakeStream, running: AsyncExitStack
) -> None:
    """The node that committed it is gone, and so is the store it committed to; this one had not read it yet."""
    two = await node(mint, stream)
    await running.enter_async_context(hearing(two.authority))
    await stream.publish([lost()])
    await until(lambda: len(two.authority.denylist.log) == 1)
    assert await stored(store) == ["lost"]
    assert two.authority.denylist.reapplied == 1


async def test_what_is_committed_after_the_store_went_back_is_published_as_well(
    mint: Installation, store: MemoryStore, stream: FakeStream, running: AsyncExitStack
) -> None:
    """Its cursor was given out, and published, once before."""
    two = await node(mint, stream)
    await running.enter_async_context(hearing(two.authority))
    backup = store.snapshot()
    for value in "abc":
        await store.revocations.add(lost(value), event())
    await until(lambda: len(stream.published) == 3)
    store.restore(backup)
    await store.revocations.add(lost("new"), event())
    await until(lambda: "new" in {entry.value for entry in stream.published})


async def test_a_store_that_goes_back_under_running_nodes_forgets_nothing(
    mint: Installation, store: MemoryStore, running: AsyncExitStack
) -> None:
    """By their memory alone: there is no stream. An operator is told."""
    two, three = await node(mint, None), await node(mint, None)
    tokens, spared = await mint.obtain(), await mint.obtain()
    backup = store.snapshot()
    spared = assert_tokens(await mint.refresh(spared["refresh_token"]))
    with capture_logs() as logs:
        for each in (two, three):
            await running.enter_async_context(hearing(each.authority))
        await mint.post("/revoke", "web", token=tokens["refresh_token"])
        gid = (await grant_of(mint, tokens["refresh_token"])).gid
        for each in (two, three):
            await until(lambda each=each: each.authority.denylist.has_ended(gid))  # type: ignore[misc]
        store.restore(backup)
        assert_tokens(await two.refresh(spared["refresh_token"]))
        await until(lambda: sum(entry.get("reapplied", 0) for entry in logs) >= 1)
        await until(lambda: sum(entry.get("fast_forwarded", 0) for entry in logs) >= 1)
    assert (await grant_of(mint, tokens["refresh_token"])).ended_at is not None
    assert set(await stored(store)) == {gid}
    said = {(entry["event"], entry["log_level"]) for entry in logs if "reapplied" in entry}
    assert said == {("the store went back in time", "warning")}


async def test_before_a_node_answers_it_has_written_back_what_only_the_stream_knows(
    mint: Installation, store: MemoryStore, stream: FakeStream, running: AsyncExitStack
) -> None:
    """The last node died in the window: nobody's memory is left, and the grant's row is live."""
    tokens, spared = await mint.obtain(), await mint.obtain()
    backup = store.snapshot()
    async with hearing((await node(mint, stream)).authority):
        await mint.post("/revoke", "web", token=tokens["refresh_token"])
        await until(lambda: len(stream.published) == 1)
    store.restore(backup)
    fresh = await node(mint, stream)
    assert not fresh.authority.denylist.has_ended((await grant_of(mint, tokens["refresh_token"])).gid)
    await running.enter_async_context(hearing(fresh.authority))
    assert (await grant_of(mint, tokens["refresh_token"])).ended_at is not None
    assert_error(await fresh.refresh(tokens["refresh_token"]), "invalid_grant")
    assert_tokens(await fresh.refresh(spared["refresh_token"]))


async def test_what_nobody_knows_any_more_is_lost(
    mint: Installation, store: MemoryStore, stream: FakeStream, running: AsyncExitStack
) -> None:
    """The documented limit: store, stream and every memory went at once."""
    tokens = await mint.obtain()
    backup = store.snapshot()
    async with hearing((await node(mint, stream)).authority):
        await mint.post("/revoke", "web", token=tokens["refresh_token"])
        await until(lambda: len(stream.published) == 1)
    store.restore(backup)
    stream.lose_everything()
    fresh = await node(mint, stream)
    await running.enter_async_context(hearing(fresh.authority))
    assert_tokens(await fresh.refresh(tokens["refresh_token"]))


@pytest.mark.parametrize("trouble", ["away", "hangs"])
async def test_a_node_starts_without_the_stream_and_catches_up_later(
    mint: Installation,
    stream: FakeStream,
    running: AsyncExitStack,
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
) -> None:
    monkeypatch.setattr(module, "_START_PATIENCE", 0.01)
    await stream.publish([lost()])
    fresh = await node(mint, stream)
    stream.is_away = trouble == "away"
    if trouble == "hangs":
        monkeypatch.setattr(stream, "after", lambda *_: hang())
    await running.enter_async_context(hearing(fresh.authority))
    assert not knows(fresh, "lost")
    stream.is_away = False
    if trouble == "away":
        await until(lambda: fresh.authority.denylist.reapplied == 1)


async def test_a_node_starts_although_nothing_can_be_written_back(
    mint: Installation, store: MemoryStore, stream: FakeStream, running: AsyncExitStack
) -> None:
    """A standby that nobody has promoted yet reads and does not write. It is written back as soon as it can be."""
    await stream.publish([lost()])
    troubled = TroubledStore(store)
    troubled.troubles["revocations.add"] = AWAY
    fresh = await node(mint, stream, troubled)
    with capture_logs() as logs:
        await running.enter_async_context(hearing(fresh.authority))
    assert [entry["event"] for entry in logs][:1] == ["starts before the store knows all revocations"]
    assert knows(fresh, "lost")
    troubled.troubles = {}
    await until(lambda: fresh.authority.denylist.reapplied == 1)
    assert await stored(store) == ["lost"]


async def test_a_node_starts_whatever_it_stumbles_over(
    mint: Installation, stream: FakeStream, running: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, problem = await node(mint, stream), failing(ValueError("hunter2"))
    with capture_logs() as logs, monkeypatch.context() as patches:
        patches.setattr(stream, "after", lambda *_: problem())
        await running.enter_async_context(hearing(fresh.authority))
    assert (logs[0]["event"], logs[0]["kind"]) == ("starts before the store knows all revocations", "ValueError")
    await stream.publish([lost()])
    await until(lambda: fresh.authority.denylist.reapplied == 1)


async def test_what_the_clock_made_a_node_forget_it_reads_again(
    mint: Installation, store: MemoryStore, running: AsyncExitStack
) -> None:
    """Its own memory alone: another node sweeps the store, and has the right time."""
    two = await node(mint, None)
    await running.enter_async_context(hearing(two.authority))
    await store.revocations.add(lost(), event())
    await until(lambda: knows(two, "lost"))
    mint.clock.advance(3600)
    two.authority.forget()
    assert not knows(two, "lost")
    mint.clock.advance(-3600)
    await until(lambda: knows(two, "lost"))
    assert two.authority.denylist.reapplied == 0


async def test_what_the_clock_made_the_store_and_the_node_forget_the_stream_still_knows(
    mint: Installation, store: MemoryStore, stream: FakeStream, running: AsyncExitStack
) -> None:
    """A clock an hour ahead swept what is alive; when it is set right, all of it comes back."""
    two = await node(mint, stream)
    await running.enter_async_context(hearing(two.authority))
    await store.revocations.add(lost(), event())
    await until(lambda: len(stream.published) == 1)
    mint.clock.advance(3600)
    await two.authority.upkeep(1000)
    assert (await stored(store), knows(two, "lost")) == ([], False)
    mint.clock.advance(-3600)
    await until(lambda: knows(two, "lost"))
    await until(lambda: two.authority.denylist.reapplied == 1)
    assert await stored(store) == ["lost"]
