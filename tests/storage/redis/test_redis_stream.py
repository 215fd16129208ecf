"""The revocation stream, on one Redis and on a cluster: nothing twice, nothing lost, and it knows when it lost something."""

import asyncio
import random
from dataclasses import replace

import pytest
from tests.storage.redis.places import KEYS, RedisClock, RedisPlace, settle, told_the_time

from mintmark.authority.ports import StoreUnavailableError
from mintmark.oauth.revocations import KEPT_BEYOND_EXPIRY, Revocation, RevocationKind, RevocationTable
from mintmark.storage.redis import RedisRevocationStream, stream
from mintmark.system.clock import SystemClock

pytestmark = pytest.mark.slow

NOW = SystemClock().now()


def entry(value: str, kind: RevocationKind = "jti", *, before: int | None = None, life: int = 900) -> Revocation:
    return Revocation(kind=kind, value=value, before=before, expires_at=NOW + life)


def on(place: RedisPlace) -> RedisRevocationStream:
    """Return the stream as a further node has it."""
    return RedisRevocationStream(place.connect())


async def whole(node: RedisRevocationStream) -> list[Revocation]:
    _, entries = await node.after("", 0)
    return entries


ONE_OF_EACH = [
    entry("a token"),
    entry("a grant €", "gid"),
    entry("usr_1", "sub", before=NOW - 10),
    entry("usr_2", "sub"),
    entry("web", "client_id", before=NOW),
    entry("key 1", "kid", life=86400),
]


async def test_every_kind_arrives_in_order_at_every_node(place: RedisPlace) -> None:
    await on(place).publish([replace(one, cursor=7) for one in ONE_OF_EACH])
    assert await whole(on(place)) == ONE_OF_EACH


async def test_a_position_leads_on(place: RedisPlace) -> None:
    writer, reader = on(place), on(place)
    position, entries = await reader.after("", 0)
    assert entries == []
    for one in ONE_OF_EACH:
        await writer.publish([one])
        position, entries = await reader.after(position, 0)
        assert entries == [one]
        assert await reader.after(position, 0) == (position, [])


async def test_what_it_has_is_left_out_and_what_says_more_is_not(place: RedisPlace) -> None:
    node = on(place)
    steps = [
        (entry("a", life=7300), True),
        (entry("a", life=7300), False),
        (entry("a", life=7299), False),
        (entry("a", life=7301), True),
        (entry("a", life=7300), False),
        (entry("a", "gid", life=7300), True),
        (entry("a", "sub", before=NOW, life=7300), True),
        (entry("a", "sub", before=NOW, life=7300), False),
        (entry("a", "sub", before=NOW - 1, life=7300), False),
        (entry("a", "sub", before=NOW + 1, life=7250), True),
        (entry("a", "sub", before=NOW + 1, life=7300), False),
        (entry("a", "sub", life=7250), True),  # all of them, whenever they were issued
        (entry("a", "sub", before=NOW + 2, life=7300), False),
        (entry("a", "sub", before=NOW, life=7400), True),
        (entry("a", "client_id", life=7300), True),
        (entry("a", "client_id", before=NOW + 9, life=7300), False),
    ]
    position = ""
    for one, is_new in steps:
        await node.publish([one])
        position, entries = await node.after(position, 0)
        assert entries == ([one] if is_new else []), one


async def test_many_nodes_publish_the_same_and_it_is_there_once(place: RedisPlace) -> None:
    entries = [entry(f"token {number}") for number in range(250)]
    nodes = [on(place) for _ in range(4)]
    await asyncio.gather(*(node.publish(random.Random(at).sample(entries, 250)) for at, node in enumerate(nodes)))
    found = await whole(nodes[0])
    assert len(found) == 250
    assert set(found) == set(entries)


async def test_however_many_there_are_one_reading_has_them(place: RedisPlace) -> None:
    entries = [entry(f"token {number}") for number in range(2_501)]
    await on(place).publish(entries)
    assert await whole(on(place)) == entries


async def test_the_key_of_an_entry_lives_as_long_as_it_is_needed(place: RedisPlace) -> None:
    node, later = on(place), SystemClock().now() - NOW
    for life in (100, 200):
        await node.publish([entry("a token", life=later + life)])
        left = int(place.keeper.cli("TTL", f"{KEYS}revoked:jti:a token"))
        assert life + KEPT_BEYOND_EXPIRY - 60 < left <= life + KEPT_BEYOND_EXPIRY + 60


async def test_nobody_is_told_of_the_dead(place: RedisPlace) -> None:
    end = SystemClock().now() - NOW - KEPT_BEYOND_EXPIRY
    dead, alive = entry("dead", life=end - 1), entry("alive", life=end + 60)
    await on(place).publish([alive, dead])
    assert await whole(on(place)) == [alive]
    assert f"{KEYS}revoked:jti:dead" not in place.all_keys()


async def test_the_stream_is_no_longer_than_what_is_alive_and_never_shorter(
    place: RedisPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hours of revocations with lives from five minutes to an hour, which it was told of at least once."""
    told_the_time(monkeypatch, stream, "_PUBLISH")
    clock, chance, node = RedisClock(place, NOW), random.Random(1), on(place)
    told: list[Revocation] = []
    for number in range(240):
        clock.advance(30)
        life = chance.choice([300, 900, 900, 3600])
        told += [Revocation(kind="jti", value=f"{number} {n}", expires_at=clock.at + life) for n in range(3)]
        await node.publish(told[-6:])
        alive = [one for one in told if one.expires_at + KEPT_BEYOND_EXPIRY > clock.at]
        if number % 20 == 0 or number > 230:
            found = await whole(node)
            assert set(alive) <= set(found)
            oldest_alive = told.index(alive[0])
            assert set(found) <= set(told[oldest_alive:])
    assert len(await whole(node)) < len(told) / 1.5


async def test_a_reader_is_woken_by_an_entry(place: RedisPlace) -> None:
    writer, reader = on(place), on(place)

    async def read_on() -> tuple[str, list[Revocation]]:
        position, entries = await reader.after("", 0)
        while not entries:
            position, entries = await reader.after(position, 30)
        return position, entries

    waiting = asyncio.create_task(read_on())
    while "blocked_clients:1" not in place.keeper.cli("INFO", "clients"):  # noqa: ASYNC110 - nobody else knows
        await asyncio.sleep(0.005)
    await writer.publish([entry("news")])
    position, entries = await waiting
    assert entries == [entry("news")]
    assert await reader.after(position, 0.05) == (position, [])


async def test_it_is_whole_from_when_it_was_said_to_be_until_something_is_lost(place: RedisPlace) -> None:
    node, other = on(place), on(place)
    assert not await node.is_whole()
    await node.set_whole()
    assert await other.is_whole()
    place.keeper.cli("SCRIPT", "FLUSH")
    assert await other.is_whole()
    for lose in (place.keeper.flush, place.restart):
        lose()
        await settle()
        assert not await node.is_whole()
        assert not await other.is_whole()
        await node.publish(ONE_OF_EACH)
        await node.set_whole()
        assert await other.is_whole()
    place.keeper.cli("DEL", f"{KEYS}revocations:epoch")  # as a Redis does that makes room
    assert not await other.is_whole()


async def test_what_is_lost_while_everything_is_published_is_noticed(place: RedisPlace) -> None:
    """One node has published the first half when everything is flushed; its second half is not the whole."""
    node, other = on(place), on(place)
    assert not await node.is_whole()
    await node.publish(ONE_OF_EACH[:3])
    place.keeper.flush()
    await node.publish(ONE_OF_EACH[3:])
    await node.set_whole()
    assert not await other.is_whole()
    assert not await node.is_whole()
    await node.set_whole()
    assert await other.is_whole()


async def test_a_reader_misses_nothing_after_a_loss_even_if_the_clock_of_redis_went_back(place: RedisPlace) -> None:
    writer, reader = on(place), on(place)
    await writer.publish([entry("one")])
    place.keeper.cli("XADD", f"{KEYS}revocations", "99999999999999-1", "kind", "of a later version", "exp", "x")
    position, entries = await reader.after("", 0)
    assert entries == [entry("one")]
    place.keeper.flush()
    assert (await reader.after(position, 0))[1] == []
    await writer.publish([entry("two"), entry("one")])
    position, entries = await reader.after(position, 0)
    assert entries == [entry("two"), entry("one")]
    assert await reader.after(position, 0) == (position, [])


async def test_what_a_later_version_writes_is_passed_over(place: RedisPlace) -> None:
    place.keeper.cli("XADD", f"{KEYS}revocations", "*", "kind", "tenant", "value", "x", "before", "", "exp", NOW)
    await on(place).publish([entry("one")])
    assert await whole(on(place)) == [entry("one")]


async def test_while_redis_is_away_every_verb_says_so(place: RedisPlace) -> None:
    node = on(place)
    await node.publish([entry("one")])
    position, _ = await node.after("", 0)
    place.keeper.kill()
    for act in (
        lambda: node.publish([entry("two")]),
        lambda: node.after(position, 0),
        lambda: node.after(position, 0.1),
        node.is_whole,
        node.set_whole,
    ):
        place.monotonic.advance(2)
        with pytest.raises(StoreUnavailableError):
            await act()
    place.restart()
    place.monotonic.advance(2)
    await node.publish([])
    assert not await node.is_whole()
    await node.publish([entry("two")])
    assert (await node.after(position, 0))[1] == [entry("two")]


async def test_an_entry_said_again_by_the_stream_revokes_what_it_did(place: RedisPlace) -> None:
    """What nodes make of the stream does not depend on who published what first."""
    variants = [entry("a", "sub", before=before, life=life) for before in (None, NOW, NOW + 1) for life in (3600, 7200)]
    for seed in range(5):
        node = on(place)
        place.keeper.flush()
        for one in random.Random(seed).sample(variants, len(variants)):
            await node.publish([one])
        table = RevocationTable()
        for one in await whole(node):
            table.add(one.kind, one.value, one.before, one.expires_at)
        assert table.entries() == [entry("a", "sub", life=7200)]
