"""Which server has our keys. All of them are in one hash slot, so that in a cluster it is one as well.

Hence plain clients suffice: a cluster is asked who has the slot, and again whenever that one fails or sends us on. While
the slot is moved to another node, what is not there yet fails, and Redis counts as away.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import ConnectionError as NotConnectedError
from redis.exceptions import MovedError, RedisError

_DEFAULT_PORT: Final = 6379


def prefix_of(issuer: str) -> str:
    """Return what every key of the authority ``issuer``, and no other's, begins with; the braces decide the slot."""
    return f"{{mintmark:{hashlib.sha256(issuer.encode()).hexdigest()[:16]}}}:"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int


class Nodes:
    """The server named, or the nodes of a cluster that are known."""

    def __init__(self, url: str, password: str | None, *, prefix: str, is_cluster: bool, patience: float) -> None:
        """Connect to nobody yet.

        Args:
            url: Where a server is.
            password: What it asks for.
            prefix: What our keys begin with.
            is_cluster: Whether there are others.
            patience: Seconds for a server to take a connection, or to answer on one.
        """
        parts = urlsplit(url)
        seed = Address(parts.hostname or "localhost", parts.port or _DEFAULT_PORT)
        self._slot = key_slot(prefix.encode())
        self._is_cluster = is_cluster
        self._patience = patience
        self._known = [seed]
        self._owner = None if is_cluster else seed
        self._clients: dict[tuple[Address, float], Redis] = {}
        self._options: dict[str, Any] = {
            "db": int(parts.path.strip("/") or 0),
            "username": unquote(parts.username) if parts.username else None,
            "password": password,
            "ssl": parts.scheme == "rediss",
            "ssl_check_hostname": True,
            # Whoever asks knows better whether to ask again.
            "retry": Retry(NoBackoff(), 0),
            # The shapes of answers differ between the two.
            "protocol": 2,
        }

    async def ask(self, *words: str | int, wait: float = 0.0) -> Any:
        """Send a command to the server that has our keys, and return its answer.

        Args:
            words: The command.
            wait: Seconds that it may take beside what any command takes; one of few values.
        """
        owner = self._owner or await self._find_owner()
        try:
            return await self._send(owner, wait, words)
        except MovedError as moved:
            if not self._is_cluster:
                raise
            owner = self._owner = Address(moved.host or owner.host, moved.port)
            return await self._send(owner, wait, words)

    def doubt(self) -> None:
        """Ask the cluster again who has our keys, before anything else."""
        if self._is_cluster:
            self._owner = None

    async def close(self) -> None:
        """Let go of all connections."""
        for client in self._clients.values():
            await client.aclose()

    async def _find_owner(self) -> Address:
        for address in tuple(self._known):
            try:
                ranges = await self._send(address, 0.0, ("CLUSTER", "SLOTS"))
            except (RedisError, OSError):
                # The others first, next time: there is little time for each call.
                self._known.remove(address)
                self._known.append(address)
                continue
            # https://redis.io/docs/latest/commands/cluster-slots/: first and last slot, the master, its replicas.
            found = [[_address(node, address) for node in nodes] for _, _, *nodes in ranges]
            self._known = list(dict.fromkeys([address, *(node for nodes in found for node in nodes), *self._known]))
            for (first, last, *_), (master, *_) in zip(ranges, found, strict=True):
                if first <= self._slot <= last:
                    self._owner = master
                    return master
        raise NotConnectedError("no node knows who has our keys")

    async def _send(self, address: Address, wait: float, words: Sequence[str | int]) -> Any:
        client = self._clients.get((address, wait))
        if client is None:
            client = self._clients[address, wait] = Redis(
                host=address.host,
                port=address.port,
                socket_timeout=self._patience + wait,
                socket_connect_timeout=self._patience,
                **self._options,
            )
        execute: Callable[..., Awaitable[Any]] = client.execute_command
        return await execute(*words)


def _address(node: list[Any], asked: Address) -> Address:
    # An empty or unknown host is the one that was asked.
    host = (node[0] or b"").decode()
    return Address(asked.host if host in {"", "?"} else host, node[1])
