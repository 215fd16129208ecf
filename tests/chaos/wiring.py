"""How nodes reach their stores: through a proxy each, and where this machine allows it in a network namespace each.

In a namespace a node has two cables: one to the load balancer, one to its stores. Pulling the latter is what the name
says: packets vanish, nobody is told. Without namespaces (they need root) the proxies swallow everything instead.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.support.proxy import Proxy

_BLOCKS = 4096
LOOPBACK = "127.0.0.1"


@dataclass
class Wires:
    """What connects one node to the rest.

    Attributes:
        address: Where the node listens.
        prefix: What its command line begins with.
        database: The way to PostgreSQL.
        redis: The way to Redis.
    """

    database: Proxy
    redis: Proxy
    address: str = LOOPBACK
    prefix: Sequence[str] = ()
    _cable: str | None = field(default=None, repr=False)

    @property
    def has_cable(self) -> bool:
        """Whether there is a cable to pull."""
        return self._cable is not None

    def pull(self) -> None:
        """Pull the cable to the stores."""
        if self._cable is None:
            self.database.swallow()
            self.redis.swallow()
        else:
            _ip("link", "set", self._cable, "down")

    def plug(self) -> None:
        """Put it in again."""
        if self._cable is None:
            self.database.restore()
            self.redis.restore()
        else:
            _ip("link", "set", self._cable, "up")


@contextlib.contextmanager
def wired(nodes: int, *, database: int, redis: int) -> Iterator[list[Wires]]:
    """Connect nodes to the stores that listen on these ports of loopback, while the context lasts."""
    with contextlib.ExitStack() as stack:
        found = []
        for node in range(nodes):
            cabled = stack.enter_context(_namespace(node))
            host = LOOPBACK if cabled is None else cabled.stores
            ways = Proxy(database, host), Proxy(redis, host)
            for proxy in ways:
                stack.callback(proxy.close)
            if cabled is None:
                found.append(Wires(*ways))
            else:
                prefix = ("nsenter", f"--net=/run/netns/{cabled.name}")
                found.append(Wires(*ways, cabled.address, prefix, cabled.cable))
        yield found


@dataclass(frozen=True)
class _Namespace:
    name: str
    address: str
    stores: str
    cable: str


@contextlib.contextmanager
def _namespace(node: int) -> Iterator[_Namespace | None]:
    """Make a network namespace with two cables into it; ``None`` if this machine does not let us."""
    process = os.getpid()
    name = f"mintmark-{process}-{node}"
    if os.geteuid() != 0 or shutil.which("ip") is None or not _may_ip("netns", "add", name):
        yield None
        return
    # 198.18.0.0/15 is for measuring networks (RFC 2544): nobody's address.
    first = (process % _BLOCKS) * 32 + node * 8
    front, back = (
        [f"198.{18 + (n >> 16)}.{n >> 8 & 255}.{n & 255}" for n in (at + 1, at + 2)] for at in (first, first + 4)
    )
    cables = (f"mmf{process % 100_000_000}{node}", f"mmb{process % 100_000_000}{node}")
    try:
        _ip("-n", name, "link", "set", "lo", "up")
        for cable, inner, (here, there) in zip(cables, ("front", "back"), (front, back), strict=True):
            _ip("link", "add", cable, "type", "veth", "peer", "name", inner, "netns", name)
            _ip("addr", "add", f"{here}/30", "dev", cable)
            _ip("link", "set", cable, "up")
            _ip("-n", name, "addr", "add", f"{there}/30", "dev", inner)
            _ip("-n", name, "link", "set", inner, "up")
        yield _Namespace(name, front[1], back[0], cables[1])
    finally:
        # The cables go with it.
        _may_ip("netns", "delete", name)
        for cable in cables:
            _may_ip("link", "delete", cable)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def _may_ip(*words: str) -> bool:
    return subprocess.run(["ip", *words], capture_output=True, check=False).returncode == 0
