"""The installation under test: HAProxy, three nodes, PostgreSQL and Redis, each in processes of its own."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.chaos.node import set_clock
from tests.chaos.plan import NODES
from tests.chaos.wiring import LOOPBACK, Wires, wired
from tests.support.postgres import PostgreSQL, postgresql
from tests.support.redis import RedisServer, redis_server
from tests.unit.cli.processes import clean_environment, free_port

ROOT: Final = Path(__file__).resolve().parents[2]
READY: Final = "mintmark is ready"
MASTER_KEY: Final = bytes(range(32))
_STOP_SECONDS: Final = 15
_START_SECONDS: Final = 60
_AGAIN_SECONDS: Final = 0.3
_HAPROXY: Final = """\
global
    nbthread 1
    maxconn 4000
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout queue 2s
    timeout check 2s
    timeout server 5s
    timeout http-keep-alive 5s
    option redispatch 1
    option abortonclose
    default-server inter 500ms downinter 300ms fall 3 rise 1 on-marked-down shutdown-sessions
frontend authority
    bind 127.0.0.1:{port}
    use_backend feed if {{ path /api/v2/auth/revocations }}
    default_backend nodes
backend nodes
    balance roundrobin
    option httpchk GET /readyz
{checked}
backend feed
    balance leastconn
    timeout server 30s
{tracked}
"""


class Node:
    """One `mintmark serve`. While it is ``wanted`` it is started again whenever it has ended, as systemd would.

    Attributes:
        starts: How often it was started.
    """

    def __init__(self, folder: Path, number: int, wires: Wires, variant: str, settings: dict[str, Any]) -> None:
        self.number = number
        self.wires = wires
        self.port = free_port()
        self.starts = 0
        self.is_wanted = True
        self._folder = folder / f"node{number}"
        self._folder.mkdir()
        self._variant = variant
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0
        self._clock = self._folder / "clock"
        set_clock(self._clock, 0)
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in (settings | self._own_settings()).items()]
        (self._folder / "mintmark.toml").write_text("".join(lines))

    def _own_settings(self) -> dict[str, Any]:
        database, redis = self.wires.database, self.wires.redis
        return {
            "host": self.wires.address,
            "port": self.port,
            "database": f"postgresql://mintmark@{database.host}:{database.port}/mintmark",
            "redis": f"redis://{redis.host}:{redis.port}/0",
        }

    @property
    def said(self) -> str:
        """What it has said since it was started first, on both outputs."""
        return (self._folder / "output.txt").read_text(encoding="ascii", errors="replace")

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; it may take a while to be ready."""
        assert not self.is_running
        command = [sys.executable, "-m", "tests.chaos.node", str(self._clock), self._variant, "serve"]
        config = ["--config", str(self._folder / "mintmark.toml")]
        with (self._folder / "output.txt").open("ab") as output:
            self._began = output.tell()
            self._process = subprocess.Popen(
                # It does not outlive us, however we end.
                [_program("setpriv"), "--pdeathsig=KILL", *self.wires.prefix, *command, *config],
                cwd=ROOT,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.starts += 1

    def send(self, kind: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(kind)

    def set_clock(self, seconds: int) -> None:
        """Set its clock off by so much."""
        set_clock(self._clock, seconds)

    async def ended(self) -> None:
        """Wait until there is no process; kill it if it takes too long."""
        for _ in range(_STOP_SECONDS * 50):
            if not self.is_running:
                return
            await asyncio.sleep(0.02)
        self.send(signal.SIGKILL)

    async def ready(self) -> None:
        """Wait until it has said that it is ready; should it end instead, it is started again meanwhile."""
        for _ in range(_START_SECONDS * 20):
            if self.is_running and READY in self.said[self._began :]:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"node {self.number} is not ready: {self.said[-4000:]}")

    def close(self) -> None:
        """End it for good."""
        self.is_wanted = False
        if self._process is not None:
            self.send(signal.SIGKILL)
            self._process.wait()


@dataclass
class Cluster:
    """Everything that runs.

    Attributes:
        issuer: Where clients and verifiers find it: HAProxy.
        exits: How often a node has ended without being told to.
    """

    port: int
    nodes: list[Node]
    postgres: PostgreSQL
    redis: RedisServer
    exits: int = field(default=0)

    @property
    def issuer(self) -> str:
        """The issuer: what HAProxy listens on."""
        return f"http://{LOOPBACK}:{self.port}"

    async def watch(self) -> None:
        """Start again what has ended, for ever."""
        while True:
            for node in self.nodes:
                if node.is_wanted and not node.is_running:
                    self.exits += 1
                    node.start()
            await asyncio.sleep(_AGAIN_SECONDS)


@contextlib.contextmanager
def running(folder: Path, variants: Sequence[str], settings: dict[str, Any]) -> Iterator[Cluster]:
    """Run everything but the nodes, whose processes are started later, while the context lasts.

    Args:
        folder: Takes their files.
        variants: What each node is, see ``tests.chaos.node``.
        settings: What all nodes have in common.
    """
    port = free_port()
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(postgresql())
        postgres.empty_database("mintmark")
        redis = stack.enter_context(redis_server(folder / "redis"))
        wires = stack.enter_context(wired(NODES, database=postgres.port, redis=redis.port))
        key = folder / "mintmark.key"
        key.write_text(MASTER_KEY.hex())
        key.chmod(0o600)
        common = settings | {"issuer": f"http://{LOOPBACK}:{port}", "master_key_file": str(key)}
        nodes = [Node(folder, number, wires[number], variants[number], common) for number in range(NODES)]
        for node in nodes:
            stack.callback(node.close)
        stack.enter_context(_haproxy(folder, port, nodes))
        yield Cluster(port, nodes, postgres, redis)


@contextlib.contextmanager
def _haproxy(folder: Path, port: int, nodes: Sequence[Node]) -> Iterator[None]:
    checked = "\n".join(f"    server n{node.number} {node.wires.address}:{node.port} check" for node in nodes)
    tracked = "\n".join(
        f"    server n{node.number} {node.wires.address}:{node.port} track nodes/n{node.number}" for node in nodes
    )
    file = folder / "haproxy.cfg"
    file.write_text(_HAPROXY.format(port=port, checked=checked, tracked=tracked))
    command = [_program("setpriv"), "--pdeathsig=KILL", _program("haproxy"), "-db", "-f", str(file)]
    with (
        (folder / "haproxy.txt").open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output) as process,
    ):
        try:
            yield
        finally:
            process.kill()


def _program(name: str) -> str:
    # Debian keeps servers where only root's PATH leads.
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    assert found, f"{name} is missing; `make check-all` installs it"
    return found
