"""Who else writes there: other authorities, later versions, and whoever has no business to."""

from pathlib import Path

import pytest
from tests.storage.redis.places import ISSUER, KEYS, RedisPlace, settle
from tests.support.redis import RedisServer, redis_server
from tests.support.world import FixedClock

from mintmark.authority.ports import StoreUnavailableError
from mintmark.oauth.revocations import Revocation
from mintmark.storage.redis import RedisConnection, RedisLimiter, RedisReplays, RedisRevocationStream
from mintmark.system.clock import SystemClock
from mintmark.system.limiting import MemoryLimiter

pytestmark = pytest.mark.slow

NOW = SystemClock().now()
LATER = 4_102_444_800  # a constant: the name of a test must be the same in each process that collects it
AFTER_ALL = "99999999999999999999"
OURS = [f"'{word}'" for word in ("kind", "jti", "value", "v", "before", "", "exp", str(LATER))]


def entry(value: str) -> Revocation:
    return Revocation(kind="jti", value=value, expires_at=LATER)


def ours_but(**words: str) -> str:
    """Return the words of an entry, as Lua has them, with some of them replaced."""
    fields = dict(zip([name.strip("'") for name in OURS[::2]], OURS[1::2], strict=True)) | words
    return ", ".join(f"'{name}', {word}" for name, word in fields.items())


def add(server: RedisServer, words: str) -> None:
    added = server.cli("EVAL", f"return redis.call('XADD', KEYS[1], '*', {words})", 1, f"{KEYS}revocations")
    assert "-" in added, added
    assert "ERR" not in added


@pytest.mark.spec("invariant I6")
@pytest.mark.parametrize("other", ["https://id.example", "https://login.example", "https://id.example/"])
async def test_authorities_that_share_a_redis_know_nothing_of_each_other(place: RedisPlace, other: str) -> None:
    """Nodes of one authority know of each other what they have to."""
    is_same = other == ISSUER
    one, two = place.connect(), place.connect(issuer=other)
    streams = [RedisRevocationStream(one), RedisRevocationStream(two)]
    assert not await streams[0].is_whole()
    await streams[0].publish([entry("a token")])
    await streams[0].set_whole()
    assert await streams[1].is_whole() is is_same
    assert (await streams[1].after("", 0))[1] == ([entry("a token")] if is_same else [])

    limiters = [RedisLimiter(each, MemoryLimiter(FixedClock())) for each in (one, two)]
    assert await limiters[0].take("sign-in", "ada", burst=1, period=600) == 0
    assert (await limiters[1].take("sign-in", "ada", burst=1, period=600) > 0) is is_same

    replays = [RedisReplays(each, FixedClock(NOW)) for each in (one, two)]
    assert await replays[0].is_first("assertion", "jti", NOW + 60)
    assert await replays[1].is_first("assertion", "jti", NOW + 60) is not is_same
    assert (one.failures, two.failures) == (0, 0)


@pytest.mark.parametrize(
    "words",
    [
        "'foo', 'bar'",
        ", ".join(OURS[:4]),
        ", ".join(OURS[:6]),
        ", ".join(OURS[2:]),
        ", ".join(OURS[2:] + OURS[:2]),
        ours_but(kind="'tenant'"),
        ours_but(kind="''"),
        ours_but(value="''"),
        ours_but(value="'a\\0b'"),
        ours_but(value="'\\255\\254'"),
        ours_but(value="'\\237\\160\\128'"),
        ours_but(value="string.rep('x', 2049)"),
        ours_but(exp="''"),
        ours_but(exp="'soon'"),
        ours_but(exp="'-1'"),
        ours_but(exp="'1e3'"),
        ours_but(exp="'²'"),
        ours_but(exp=f"'{AFTER_ALL}'"),
        ours_but(exp="'100000000000000'"),
        ours_but(exp="'inf'"),
        ours_but(before="'1'"),
        ours_but(kind="'sub'", before="'then'"),
        ours_but(kind="'sub'", before=f"'{AFTER_ALL}'"),
    ],
)
async def test_what_is_no_entry_is_passed_over(server: RedisServer, words: str) -> None:
    """It hides nothing that comes before or after it, and nobody reads it again and again."""
    connection = RedisConnection(server.url, issuer=ISSUER, patience=20)
    stream = RedisRevocationStream(connection)
    await stream.publish([entry("one €")])
    add(server, words)
    position, entries = await stream.after("", 0)
    assert entries == [entry("one €")]
    assert await stream.after(position, 0) == (position, [])
    await stream.publish([entry("two")])
    assert (await stream.after(position, 0))[1] == [entry("two")]
    assert (await stream.after("", 0))[1] == [entry("one €"), entry("two")]
    assert connection.failures == 0
    await connection.close()


async def test_what_a_later_version_adds_to_an_entry_is_passed_over(server: RedisServer) -> None:
    connection = RedisConnection(server.url, issuer=ISSUER, patience=20)
    add(server, f"{ours_but()}, 'why', 'stolen'")
    assert (await RedisRevocationStream(connection).after("", 0))[1] == [entry("v")]
    await connection.close()


@pytest.mark.parametrize("exp", [AFTER_ALL, "inf", "soon", ""])
async def test_what_never_ends_does_not_stop_the_stream_from_being_tidied(server: RedisServer, exp: str) -> None:
    connection = RedisConnection(server.url, issuer=ISSUER, patience=20)
    stream = RedisRevocationStream(connection)
    add(server, ours_but(exp=f"'{exp}'"))
    add(server, ours_but(exp="'1'"))
    await stream.publish([entry("one")])
    assert server.cli("XLEN", f"{KEYS}revocations") == "1"
    await connection.close()


async def test_what_is_no_epoch_is_replaced(server: RedisServer) -> None:
    connection = RedisConnection(server.url, issuer=ISSUER, patience=20)
    stream = RedisRevocationStream(connection)
    await stream.publish([entry("one")])
    server.cli("EVAL", "return redis.call('SET', KEYS[1], 'a \\255')", 1, f"{KEYS}revocations:epoch")
    position, entries = await stream.after("", 0)
    assert entries == [entry("one")]
    assert not await stream.is_whole()
    position, entries = await stream.after(position, 0)
    assert entries == [entry("one")]
    assert await stream.after(position, 0) == (position, [])
    assert connection.failures == 0
    await connection.close()


@pytest.mark.parametrize("key", ["revocations", "revocations:epoch"])
async def test_what_is_of_another_type_counts_as_away(server: RedisServer, key: str) -> None:
    server.cli("SADD", f"{KEYS}{key}", "x")
    connection = RedisConnection(server.url, issuer=ISSUER, patience=20)
    with pytest.raises(StoreUnavailableError, match=r"^redis: ResponseError( WRONGTYPE)?$"):
        await RedisRevocationStream(connection).after("", 0)
    await connection.close()


@pytest.mark.spec("invariant I11")
async def test_a_redis_that_comes_back_with_old_data_is_not_whole(tmp_path: Path) -> None:
    """No call failed meanwhile. Its numbers for entries may be lower than before, if its clock was set back."""
    with redis_server(tmp_path) as server:
        connection = RedisConnection(server.url, issuer=ISSUER, patience=20)
        stream = RedisRevocationStream(connection)
        assert not await stream.is_whole()
        await stream.publish([entry("one")])
        await stream.set_whole()
        server.cli("SAVE")
        await stream.publish([entry("two")])
        assert await stream.is_whole()
        server.cli("XADD", f"{KEYS}revocations", "99999999999999-1", "kind", "of a later version")
        position, entries = await stream.after("", 0)
        assert entries == [entry("one"), entry("two")]
        server.restart()
        await settle()
        assert not await stream.is_whole()
        assert (await stream.after(position, 0))[1] == [entry("one")]
        await stream.publish(entries)
        assert (await stream.after(position, 0))[1] == [entry("one"), entry("two")]
        await stream.set_whole()
        assert await stream.is_whole()
        assert connection.failures == 0
        await connection.close()


async def test_who_may_not_ask_for_the_process_is_content_with_the_epoch_of_who_may(server: RedisServer) -> None:
    """Or the two would begin a new one by turns."""
    rights = ["resetchannels", "-@all", *["+select", "+time", "+eval", "+evalsha", "+get", "+set"]]
    assert server.cli("ACL", "SETUSER", "old", "on", ">pass", "~{mintmark:*", *rights) == "OK"
    url = server.url.replace("://", "://old@")
    may, may_not = (
        RedisConnection(server.url, issuer=ISSUER, patience=20),
        RedisConnection(url, "pass", issuer=ISSUER, patience=20),
    )
    one, other = RedisRevocationStream(may_not), RedisRevocationStream(may)
    try:
        assert not await one.is_whole()
        await one.set_whole()
        assert await one.is_whole()
        assert not await other.is_whole()
        await other.set_whole()
        for each in (one, other, one, other):
            assert await each.is_whole()
        assert (may.failures, may_not.failures) == (0, 0)
    finally:
        server.cli("ACL", "DELUSER", "old")
        await may.close()
        await may_not.close()
