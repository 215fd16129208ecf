"""`mintmark serve` in processes, on an authority of one client, and requests on connections that the test holds."""

import asyncio
import http.client
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import psutil
from pydantic import SecretBytes
from tests.support.metrics import Shown
from tests.unit.cli.processes import Process, free_port, started

from mintmark import bootstrap
from mintmark.authority.model import Client, Resource
from mintmark.authority.registration import create_client
from mintmark.authority.resources import create_resource
from mintmark.config import Settings

API = "https://api.example"
TOKEN = "/api/v2/auth/token"
FEED = "/api/v2/auth/revocations"
_PATIENCE = 20.0


@dataclass(frozen=True)
class Home:
    """A folder with settings, key and database.

    Attributes:
        secret: Of the client ``service``, which may get tokens with ES256 and read the feed.
    """

    folder: Path
    port: int
    secret: str

    @property
    def form(self) -> bytes:
        """A token request."""
        return urlencode(
            {"grant_type": "client_credentials", "client_id": "service", "client_secret": self.secret}
        ).encode()

    def settings_file(self, port: int | None = None, **more: Any) -> Path:
        """Write a settings file for a node on ``port`` and return it."""
        port = port or self.port
        lines = {
            "issuer": f"http://127.0.0.1:{self.port}",
            "port": port,
            "database": str(self.folder / "mintmark.sqlite3"),
            "master_key_file": str(self.folder / "mintmark.key"),
        } | more
        path = self.folder / f"mintmark-{port}.toml"
        path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items()))
        return path

    @contextmanager
    def serving(self, *options: str, port: int | None = None, **more: Any) -> Iterator[Process]:
        """Run ``mintmark serve`` with ``options`` and more settings; ready when this is entered."""
        port = port or self.port
        folder = self.folder / f"node-{port}"
        folder.mkdir(exist_ok=True)
        with started(folder, "serve", "--config", str(self.settings_file(port, **more)), *options) as process:
            process.read_until("mintmark is ready")
            yield process


def home(folder: Path) -> Home:
    """Found an authority in ``folder``."""
    return asyncio.run(_found(folder))


async def _found(folder: Path) -> Home:
    key, port = folder / "mintmark.key", free_port()
    key.write_text(bytes(32).hex())
    key.chmod(0o600)
    settings = Settings(
        issuer=f"http://127.0.0.1:{port}", database=str(folder / "mintmark.sqlite3"), master_key=SecretBytes(bytes(32))
    )
    return Home(folder, port, await with_service(settings))


async def with_service(settings: Settings) -> str:
    """Register the client ``service``, which gets tokens for ``API`` and serves it; return its secret."""
    async with bootstrap.running(settings) as authority:
        await create_resource(authority, Resource(resource=API, name="Orders", scopes=("orders:read",)))
        service = Client(
            client_id="service",
            name="Service",
            grant_types=("client_credentials",),
            scope=("orders:read",),
            resources=(API,),
            default_resource=API,
            serves=(API,),
            access_token_signed_response_alg="ES256",
        )
        _, secret = await create_client(authority, service)
    assert secret is not None
    return secret


class Connection:
    """One connection, and requests on it one after the other."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
        self._reader = self.sock.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self.sock.close()

    def send(self, method: str, path: str, body: bytes = b"", *, cut_at: int | None = None, headers: str = "") -> bytes:
        """Send a request, or its first ``cut_at`` bytes; return the rest."""
        length = f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n" if body else ""
        whole = f"{method} {path} HTTP/1.1\r\nHost: id.example\r\n{headers}{length}\r\n".encode() + body
        self.sock.sendall(whole[:cut_at])
        return b"" if cut_at is None else whole[cut_at:]

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of the next answer."""
        status, headers = self.head()
        return status, headers, self._reader.read(int(headers["content-length"]))

    def head(self) -> tuple[int, dict[str, str]]:
        """Return status and headers of the next answer."""
        line = self._reader.readline()
        assert line, "closed without an answer"
        status = int(line.split()[1])
        return status, {name.lower(): value for name, value in http.client.parse_headers(self._reader).items()}

    def line(self) -> bytes:
        """Return the next line; empty when the other side has closed."""
        return self._reader.readline()

    def ask(self, method: str, path: str, body: bytes = b"", headers: str = "") -> tuple[int, dict[str, str], bytes]:
        """Send a request and return the answer."""
        self.send(method, path, body, headers=headers)
        return self.answer()


def ask(port: int, path: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """Ask on a connection of its own."""
    with Connection(port) as connection:
        return connection.ask("POST" if body else "GET", path, body)


def scrape(port: int) -> Shown:
    """Read the metrics on ``port``."""
    status, _, body = ask(port, "/metrics")
    assert status == 200
    return Shown(body.decode())


def soon(condition: Callable[[], bool], what: str, seconds: float = _PATIENCE) -> None:
    """Wait until ``condition`` holds; what fails to connect meanwhile does not count."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError):
            if condition():
                return
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


def pid_of(process: Process) -> int:
    return process._process.pid


def workers_of(process: Process) -> dict[int, psutil.Process]:
    """Return the processes that ``process`` started, by their ids."""
    return {child.pid: child for child in psutil.Process(pid_of(process)).children()}


def is_refused(port: int) -> bool:
    """Tell whether nobody listens."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


_HAPROXY = """\
global
    maxconn 1000
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 30s
    # A node is down when it says so, not when this machine is busy.
    timeout check 10s
    # Only what never reached a node is sent to another one: no request is repeated that a node may have seen.
    retries 3
    option redispatch 1
    retry-on conn-failure
frontend front
    bind 127.0.0.1:{port}
    default_backend nodes
backend nodes
    balance roundrobin
    option httpchk GET /readyz
    http-check expect status 200
    default-server check inter 200ms fall 1 rise 1
{servers}
"""


@contextmanager
def balanced(folder: Path, port: int, nodes: list[int]) -> Iterator[Callable[[int], int]]:
    """Run HAProxy on ``port`` before the ports in ``nodes`` while the context lasts.

    Yields what tells how often a node, by its place in ``nodes``, was found to be back.
    """
    servers = "".join(f"    server node{number} 127.0.0.1:{node}\n" for number, node in enumerate(nodes))
    config = folder / "haproxy.cfg"
    config.write_text(_HAPROXY.format(port=port, servers=servers))
    with (
        (folder / "haproxy.txt").open("wb") as output,
        subprocess.Popen(["haproxy", "-db", "-f", str(config)], stdout=output, stderr=output) as process,
    ):
        try:
            soon(lambda: ask(port, "/livez")[0] == 200, "HAProxy answers for the nodes")
            yield lambda number: (folder / "haproxy.txt").read_text().count(f"Server nodes/node{number} is UP")
        finally:
            process.terminate()
            process.wait(10)


class NotifySocket:
    """What systemd listens on."""

    def __init__(self, address: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(address.replace("@", "\0", 1))

    def next(self) -> str:
        """Wait for the next message."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.sock, selectors.EVENT_READ)
            assert selector.select(_PATIENCE), "nothing was said"
        return self.sock.recv(4096).decode()

    def is_silent(self) -> bool:
        """Tell whether nothing more was said."""
        self.sock.setblocking(False)
        try:
            self.sock.recv(4096)
        except BlockingIOError:
            return True
        return False


def stop(process: Process, kind: signal.Signals = signal.SIGTERM) -> int:
    """Send a signal and return the exit code."""
    process.send_signal(kind)
    return process.wait(_PATIENCE)


def said(process: Process, pattern: str) -> bool:
    """Tell whether it said something on standard error."""
    return re.search(pattern, process.errors()) is not None


def everybody(process: Process, kind: signal.Signals) -> None:
    """Send a signal to a process and all that it started, as a terminal or a service manager does."""
    for pid in (pid_of(process), *workers_of(process)):
        with suppress(ProcessLookupError):
            os.kill(pid, kind)
