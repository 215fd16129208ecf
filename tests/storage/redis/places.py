"""What the adapters for Redis are tried on: one server or a cluster, spoken to by as many nodes as a test likes."""

import asyncio
from typing import Any

import pytest
from tests.support.redis import RedisCluster, RedisServer
from tests.support.world import FixedClock

from mintmark.storage.redis.connection import RedisConnection, Script
from mintmark.storage.redis.nodes import prefix_of

ISSUER = "https://id.example"
KEYS = prefix_of(ISSUER)


class Monotonic:
    """Seconds that pass only when told: a connection does not rest for longer than a test wants."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += seconds


class RedisPlace:
    """One server, or a cluster.

    Attributes:
        servers: All of them.
        keeper: The one that has our keys.
        monotonic: The time of all connections made here.
    """

    def __init__(self, servers: RedisServer | RedisCluster) -> None:
        self.is_cluster = isinstance(servers, RedisCluster)
        self.url = servers.url
        self.keeper = servers.owner_of(KEYS) if isinstance(servers, RedisCluster) else servers
        self.monotonic = Monotonic()
        self.servers = servers.nodes if isinstance(servers, RedisCluster) else [servers]
        self._refresh = servers.refresh
        self._connections: list[RedisConnection] = []

    def connect(self, patience: float = 20.0, issuer: str = ISSUER) -> RedisConnection:
        """Return the connection of a further node, as patient as these machines are slow."""
        connection = RedisConnection(
            self.url, issuer=issuer, is_cluster=self.is_cluster, patience=patience, monotonic=self.monotonic
        )
        self._connections.append(connection)
        return connection

    def restart(self) -> None:
        """Kill the server that has our keys, and start it again without them."""
        self.keeper.kill()
        self._refresh()

    def all_keys(self) -> list[str]:
        """Return all keys."""
        return self.keeper.cli("KEYS", "*").splitlines()

    async def close(self) -> None:
        """Close what was connected."""
        for connection in self._connections:
            await connection.close()


class RedisClock(FixedClock):
    """Time that scripts take from a key, where they were made to (see ``told_the_time``)."""

    def __init__(self, place: RedisPlace, at: int) -> None:
        super().__init__(at)
        self._place = place
        self.advance(0)

    def advance(self, seconds: int) -> None:
        super().advance(seconds)
        self._place.keeper.cli("SET", f"{KEYS}clock", self.at)


async def settle() -> None:
    """Let the loop hear that a connection has ended."""
    for _ in range(3):
        await asyncio.sleep(0)


def told_the_time(monkeypatch: pytest.MonkeyPatch, module: Any, *names: str) -> None:
    """Have scripts of ``module`` take the time from a key that the test sets, and nothing else of them changed."""
    for name in names:
        script: Script = getattr(module, name)
        text = script.text.replace("redis.call('TIME')[1]", f"redis.call('GET', '{KEYS}clock')")
        assert text != script.text, f"{name} does not ask for the time"
        monkeypatch.setattr(module, name, Script(text))
