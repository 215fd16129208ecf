"""The way to Redis: bounded, quick to give up, quick to come back, and silent about secrets."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from structlog.testing import capture_logs
from tests.storage.redis.places import ISSUER, KEYS, Monotonic, RedisPlace
from tests.support.redis import RedisCluster, RedisServer, redis_server
from tests.support.world import FixedClock
from tests.unit.cli.processes import free_port

from mintmark.authority.ports import StoreUnavailableError
from mintmark.authority.sharing import Shared
from mintmark.oauth.revocations import Revocation
from mintmark.storage.redis import RedisConnection, RedisLimiter, RedisReplays, RedisRevocationStream
from mintmark.storage.redis.connection import Script
from mintmark.system.limiting import MemoryLimiter

pytestmark = pytest.mark.slow

ECHO = Script("return ARGV[1]")
DOCUMENT = (Path(__file__).resolve().parents[3] / "docs/redis.md").read_text()
NO_HANGING = 60
"""Seconds within which whatever does not hang is over, on any machine."""


async def test_what_is_away_is_not_asked_again_for_a_second(place: RedisPlace) -> None:
    connection = place.connect()
    await connection.check()
    assert (connection.is_up, connection.failures) == (True, 0)
    place.keeper.kill()
    with capture_logs() as lines:
        for _ in range(10):
            with pytest.raises(StoreUnavailableError):
                await connection.check()
        assert (connection.is_up, connection.failures) == (False, 1)
        place.restart()
        with pytest.raises(StoreUnavailableError):
            await connection.check()
        place.monotonic.advance(1)
        for _ in range(3):
            await connection.check()
        assert (connection.is_up, connection.failures) == (True, 1)
    # Once each, however often it is asked for.
    assert [line["event"] for line in lines] == ["redis does not answer", "redis answers again"]


async def test_a_redis_that_hangs_holds_up_one_call_a_second(place: RedisPlace) -> None:
    """It accepts connections, new ones too, and answers nothing."""
    connection, fresh = place.connect(1.5), place.connect(1.5)
    await connection.check()
    place.keeper.pause()
    try:
        async with asyncio.timeout(NO_HANGING):
            for second in range(1, 4):
                for one in (connection, fresh):
                    outcomes = await asyncio.gather(*(one.check() for _ in range(20)), return_exceptions=True)
                    assert all(isinstance(outcome, StoreUnavailableError) for outcome in outcomes)
                    # Those that were under way when it stopped found out for themselves.
                    assert one.failures <= 20 + second - 1
                    assert not one.is_up
                place.monotonic.advance(1)
    finally:
        place.keeper.resume()
    place.monotonic.advance(1)
    for one in (connection, fresh):
        await one.check()
        assert one.is_up


async def test_a_crowd_waits_no_longer_than_anybody(place: RedisPlace) -> None:
    """Few ask at a time; were the others to wait for them, and then to ask as well, it would be twenty seconds."""
    connection = place.connect(1.0)
    place.keeper.pause()
    try:
        async with asyncio.timeout(10):
            outcomes = await asyncio.gather(*(connection.check() for _ in range(400)), return_exceptions=True)
    finally:
        place.keeper.resume()
    assert all(isinstance(outcome, StoreUnavailableError) for outcome in outcomes)


async def test_waiting_for_news_ends_when_redis_hangs(place: RedisPlace) -> None:
    stream = RedisRevocationStream(place.connect(3.0))
    position, _ = await stream.after("", 0)

    async def read_on() -> None:
        while True:
            place.monotonic.advance(2)
            await stream.after(position, 1000)

    waiting = asyncio.create_task(read_on())
    while "blocked_clients:1" not in place.keeper.cli("INFO", "clients"):  # noqa: ASYNC110 - nobody else knows
        await asyncio.sleep(0.005)
    place.keeper.pause()
    try:
        async with asyncio.timeout(NO_HANGING):
            with pytest.raises(StoreUnavailableError):
                await waiting
    finally:
        place.keeper.resume()


async def test_nobody_gets_the_answer_to_somebody_elses_question(place: RedisPlace) -> None:
    """Not even when answers come long after nobody waits for them any more."""
    connection = place.connect(3.0)
    await asyncio.gather(*(connection.run(ECHO, ["x"], [number]) for number in range(16)))
    place.keeper.pause()
    asking = [asyncio.create_task(connection.run(ECHO, ["x"], [f"late {number}"])) for number in range(8)]
    await asyncio.sleep(0.05)
    for task in asking[:4]:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    place.keeper.resume()
    place.monotonic.advance(1)
    assert await connection.run(ECHO, ["x"], ["first"]) == b"first"
    answers = await asyncio.gather(*(connection.run(ECHO, ["x"], [number]) for number in range(64)))
    assert answers == [str(number).encode() for number in range(64)]


async def test_connections_that_redis_has_closed_are_no_outage(place: RedisPlace) -> None:
    connection = place.connect()
    await asyncio.gather(*(connection.check() for _ in range(16)))
    assert int(place.keeper.cli("CLIENT", "KILL", "TYPE", "normal")) > 0
    for _ in range(3):
        await asyncio.sleep(0)
    await asyncio.gather(*(connection.check() for _ in range(16)))
    assert connection.failures == 0


async def test_a_redis_that_refuses_counts_as_away_and_is_quoted_by_its_code_only(place: RedisPlace) -> None:
    replays = RedisReplays(place.connect(), FixedClock())
    place.keeper.cli("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(StoreUnavailableError, match=r"^redis: OutOfMemoryError$"):
            await replays.is_first("assertion", "jti", FixedClock().at + 60)
    finally:
        place.keeper.cli("CONFIG", "SET", "maxmemory", "0")
    place.monotonic.advance(1)
    connection = place.connect()
    with pytest.raises(StoreUnavailableError, match=r"^redis: ResponseError( ERR)?$"):
        await connection.run(Script("return redis.call('GET')"), ["secret"], ["hunter2"])


async def test_a_redis_that_refuses_writes_alone_is_not_up_and_down_by_turns(place: RedisPlace) -> None:
    """It is back half a minute after it refused something for the last time. Meanwhile everybody reads."""
    connection = place.connect()
    replays, expires_at = RedisReplays(connection, FixedClock()), FixedClock().at + 60
    place.keeper.cli("CONFIG", "SET", "maxmemory", "1")
    with capture_logs() as lines:
        try:
            for number in range(5):
                with pytest.raises(StoreUnavailableError):
                    await replays.is_first("assertion", f"jti {number}", expires_at)
                place.monotonic.advance(1)
                assert [await connection.run(ECHO, ["x"], ["read"]) for _ in range(3)] == [b"read"] * 3
                with pytest.raises(StoreUnavailableError, match=r"^redis refuses: OutOfMemoryError$"):
                    await connection.check()
                assert (connection.is_up, connection.failures) == (False, number + 1)
                place.monotonic.advance(28)
        finally:
            place.keeper.cli("CONFIG", "SET", "maxmemory", "0")
        assert await replays.is_first("assertion", "jti", expires_at)
        assert (connection.is_up, connection.failures) == (False, 5)
        place.monotonic.advance(1)
        await connection.run(ECHO, ["x"], ["read"])
        assert (connection.is_up, connection.failures) == (True, 5)
        await connection.check()
    assert [line["event"] for line in lines] == ["redis does not answer", "redis answers again"]


async def test_a_password_is_used_and_never_told(tmp_path: Path) -> None:
    with redis_server(tmp_path, password="correct horse") as server:
        right = RedisConnection(server.url, "correct horse", issuer=ISSUER, patience=20)
        await right.check()
        await right.close()
        for password in (None, "wrong horse"):
            wrong = RedisConnection(server.url, password, issuer=ISSUER, patience=20)
            with capture_logs() as lines, pytest.raises(StoreUnavailableError) as caught:
                await wrong.check()
            await wrong.close()
            told = f"{lines} {caught.value!r} {caught.value.__cause__!r} {caught.value.__suppress_context__}"
            assert "Authentication" in told
            assert told.endswith("None True")
            assert "horse" not in told
            assert str(server.port) not in told


async def test_the_user_of_the_documentation_may_do_all_that_is_done(place: RedisPlace) -> None:
    """The rule that docs/redis.md shows, and nothing beyond it."""
    (line,) = [line for line in DOCUMENT.splitlines() if "ACL SETUSER mintmark " in line]
    words = line.replace("<password>", "pass").split()
    for server in place.servers:
        assert server.cli(*words) == "OK"
    connection = RedisConnection(
        place.url.replace("://", "://mintmark@"), "pass", issuer=ISSUER, is_cluster=place.is_cluster, patience=20
    )
    try:
        await connection.check()
        limiter, stream = RedisLimiter(connection, MemoryLimiter(FixedClock())), RedisRevocationStream(connection)
        await limiter.take("sign-in", "ada", burst=1, period=1)
        await limiter.give_back("sign-in", "ada", period=1)
        assert await RedisReplays(connection, FixedClock()).is_first("assertion", "jti", 0)
        assert not await stream.is_whole()
        await stream.publish([Revocation(kind="jti", value="x", expires_at=1 << 40)])
        await stream.publish([Revocation(kind="jti", value="y", expires_at=0)])
        await stream.set_whole()
        position, entries = await stream.after("", 0)
        assert len(entries) == 1
        await stream.after(position, 0.01)
        assert connection.failures == 0
        with pytest.raises(StoreUnavailableError, match="redis: "):
            await connection.run(Script("return redis.call('FLUSHALL')"), ["x"])
    finally:
        await connection.close()
        for server in place.servers:
            server.cli("ACL", "DELUSER", "mintmark")


async def test_a_cluster_sends_us_to_who_has_the_keys(redis_nodes: RedisCluster) -> None:
    """Whichever node is named; and when the keys have moved, without a call that fails."""
    keeper = redis_nodes.owner_of(KEYS)
    other = next(node for node in redis_nodes.nodes if node is not keeper)
    connections = [RedisConnection(node.url, is_cluster=True, issuer=ISSUER, patience=20) for node in redis_nodes.nodes]
    try:
        assert [await connection.run(ECHO, ["x"], ["here"]) for connection in connections] == [b"here"] * 3
        give_slot(other, redis_nodes.nodes)
        assert [await connection.run(ECHO, ["x"], ["there"]) for connection in connections] == [b"there"] * 3
        assert [connection.failures for connection in connections] == [0] * 3
        give_slot(keeper, redis_nodes.nodes)
        for connection in connections:
            await connection.check()
    finally:
        for connection in connections:
            await connection.close()


@pytest.mark.parametrize("is_gone", ["killed", "hanging"])
async def test_the_node_that_was_named_may_be_gone(redis_nodes: RedisCluster, is_gone: str) -> None:
    keeper = redis_nodes.owner_of(KEYS)
    named = next(node for node in redis_nodes.nodes if node is not keeper)
    monotonic = Monotonic()
    connection = RedisConnection(named.url, issuer=ISSUER, is_cluster=True, patience=2.0, monotonic=monotonic)
    await connection.check()
    if is_gone == "killed":
        named.kill()
    else:
        named.pause()
    await connection.check()
    keeper.restart()
    # It may say that it is not ready for a moment: it is asked again as often as it takes.
    async with asyncio.timeout(NO_HANGING):
        while True:
            with contextlib.suppress(StoreUnavailableError):
                await connection.check()
                break
            monotonic.advance(1)
            await asyncio.sleep(0.05)
    if is_gone == "hanging":
        named.resume()
    await connection.close()


async def test_another_node_takes_over_from_one_that_died(redis_nodes: RedisCluster) -> None:
    """Nobody is left to send us there: the others are asked."""
    keeper = redis_nodes.owner_of(KEYS)
    others = [node for node in redis_nodes.nodes if node is not keeper]
    monotonic = Monotonic()
    connection = RedisConnection(keeper.url, is_cluster=True, monotonic=monotonic, issuer=ISSUER, patience=20)
    assert await connection.run(ECHO, ["x"], ["before"]) == b"before"
    keeper.kill()
    try:
        with pytest.raises(StoreUnavailableError):
            await connection.check()
        give_slot(others[0], others)
        monotonic.advance(1)
        assert await connection.run(ECHO, ["x"], ["after"]) == b"after"
    finally:
        await connection.close()
        keeper.start()
        give_slot(keeper, redis_nodes.nodes)


async def test_without_the_setting_a_cluster_is_no_redis(redis_nodes: RedisCluster) -> None:
    keeper = redis_nodes.owner_of(KEYS)
    other = next(node for node in redis_nodes.nodes if node is not keeper)
    connection = RedisConnection(other.url, issuer=ISSUER, patience=20)
    with pytest.raises(StoreUnavailableError, match="MovedError"):
        await connection.check()
    await connection.close()


async def test_with_the_setting_one_server_is_no_cluster(server: RedisServer) -> None:
    connection = RedisConnection(server.url, is_cluster=True, issuer=ISSUER, patience=20)
    with pytest.raises(StoreUnavailableError):
        await connection.check()
    await connection.close()


def test_it_is_what_the_ports_ask_for() -> None:
    shared: Shared = RedisConnection("redis://redis.example", issuer=ISSUER)
    assert shared.is_up


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A Redis that speaks TLS for 127.0.0.1 and nothing else: its port, and the certificate to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start.replace(year=2099))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted, secret, port = tmp_path / "cert.pem", tmp_path / "key.pem", free_port()
    trusted.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    lines = f"tls-port {port}\ntls-cert-file {trusted}\ntls-key-file {secret}\ntls-auth-clients no\n"
    with redis_server(tmp_path / "redis", more=lines):
        yield port, trusted


@pytest.mark.parametrize(
    ("host", "is_trusted"),
    [("127.0.0.1", True), ("127.0.0.1", False), ("localhost", True)],
)
async def test_tls_is_for_the_name_that_was_asked_for(
    tls: tuple[int, Path], monkeypatch: pytest.MonkeyPatch, host: str, is_trusted: bool
) -> None:
    port, trusted = tls
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    connection = RedisConnection(f"rediss://{host}:{port}/0", issuer=ISSUER, patience=20)
    if host == "127.0.0.1" and is_trusted:
        await connection.check()
    else:
        with pytest.raises(StoreUnavailableError):
            await connection.check()
    await connection.close()


def give_slot(to: RedisServer, nodes: Sequence[RedisServer]) -> None:
    """Give our slot, without keys, to another of ``nodes``."""
    slot, name = to.cli("CLUSTER", "KEYSLOT", KEYS), to.cli("CLUSTER", "MYID")
    to.cli("CLUSTER", "BUMPEPOCH")  # so that no older claim to it outdoes this one
    for node in [to, *(node for node in nodes if node is not to)]:
        node.flush()
        assert node.cli("CLUSTER", "SETSLOT", slot, "NODE", name) == "OK"
