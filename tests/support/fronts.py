"""nginx and HAProxy in front of the nodes of an authority, each with its file under ``deploy/authority/``."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self
from urllib.parse import urlencode

from tests.support.raw_http import CertificateAuthority
from tests.unit.cli.processes import Process, clean_environment, free_port, started

DEPLOY: Final = Path(__file__).resolve().parents[2] / "deploy"
NAME: Final = "id.example"
ISSUER: Final = f"https://{NAME}"
FRONT: Final = "127.0.0.1"
"""The address that a front connects from; nodes trust it."""
NODES: Final = ("node1.internal:8080", "node2.internal:8080")
"""Where the files say that nodes are."""

_PAUSE: Final = 0.02
_PATIENCE: Final = 1500
_STOP_SECONDS: Final = 10
_NGINX: Final = """\
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.txt info;
worker_processes 1;
events {{ }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/mintmark.conf;
}}
"""


@dataclass(frozen=True)
class Got:
    """An answer; headers by name in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)
    cookies: tuple[str, ...] = ()

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class _Connection(http.client.HTTPSConnection):
    """Connects from an address of loopback to a port of loopback, and is told that it is the issuer."""

    def __init__(self, port: int, tls: ssl.SSLContext, source: str) -> None:
        super().__init__(NAME, 443, timeout=30)
        self._where, self._tls, self._source = ("127.0.0.1", port), tls, source

    def connect(self) -> None:
        plain = socket.create_connection(self._where, self.timeout, source_address=(self._source, 0))
        self.sock = self._tls.wrap_socket(plain, server_hostname=NAME)


@dataclass(frozen=True)
class Front:
    """A proxy with TLS, and nodes behind it.

    Attributes:
        log: What it logs of requests.
    """

    kind: str
    port: int
    tls: ssl.SSLContext = field(repr=False)
    log: Path

    def connection(self, source: str = "127.0.0.1") -> http.client.HTTPSConnection:
        """Return a connection from an address of loopback, not open yet."""
        return _Connection(self.port, self.tls, source)

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] = MappingProxyType({}),
        form: Mapping[str, str] | None = None,
        *,
        source: str = "127.0.0.1",
    ) -> Got:
        """Send one request on a connection of its own."""
        connection = self.connection(source)
        body = None if form is None else urlencode(form)
        kind = {} if form is None else {"content-type": "application/x-www-form-urlencoded"}
        try:
            connection.request(method, path, body, {**headers, **kind})
            response = connection.getresponse()
            told = {name.lower(): value for name, value in response.getheaders()}
            return Got(response.status, told, response.read(), tuple(response.headers.get_all("set-cookie", [])))
        finally:
            connection.close()


@contextlib.contextmanager
def front(
    kind: str, folder: Path, ports: tuple[int, int], replaced: Mapping[str, str] | None = None
) -> Iterator[Front]:
    """Run a front while the context lasts.

    Args:
        kind: ``nginx`` or ``haproxy``.
        folder: Empty; takes its configuration, certificates and logs.
        ports: Of the nodes.
        replaced: What else is to be another text in its file.
    """
    port = free_port()
    certificates = CertificateAuthority(folder)
    certificates.server(NAME)
    changes = dict(zip(NODES, (f"127.0.0.1:{node}" for node in ports), strict=True))
    command, log = _command(kind, folder)
    if kind == "nginx":
        changes |= {
            "listen 443 ": f"listen 127.0.0.1:{port} ",
            "/etc/nginx/tls/fullchain.pem": str(folder / "server.pem"),
            "/etc/nginx/tls/privkey.pem": str(folder / "server.pem"),
            "/var/log/nginx/access.log": str(log),
        }
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, user=user))
    else:
        changes |= {
            "bind :443 ": f"bind 127.0.0.1:{port} ",
            "/etc/haproxy/tls/id.example.pem": str(folder / "server.pem"),
            "maxconn 20000": "maxconn 500",
        }
    text = (DEPLOY / "authority" / ("nginx.conf" if kind == "nginx" else "haproxy.cfg")).read_text()
    for before, after in (changes | dict(replaced or {})).items():
        assert before in text, before
        text = text.replace(before, after)
    (folder / ("mintmark.conf" if kind == "nginx" else "haproxy.cfg")).write_text(text)
    with (
        (folder / "output.txt").open("wb") as output,
        subprocess.Popen(command, cwd=folder, env=clean_environment(), stdout=output, stderr=output) as process,
    ):
        try:
            _await_port(port, process, folder)
            yield Front(kind, port, ssl.create_default_context(cafile=certificates.file), log)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _command(kind: str, folder: Path) -> tuple[list[str], Path]:
    # Debian keeps servers where only root's PATH leads.
    program = shutil.which(kind, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    assert program, f"{kind} is missing; `make check-all` installs it"
    if kind == "haproxy":
        return [program, "-db", "-f", str(folder / "haproxy.cfg")], folder / "output.txt"
    errors = str(folder / "error.txt")
    return [program, "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", errors], folder / "access.txt"


def _await_port(port: int, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    for _ in range(_PATIENCE):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PAUSE)
            break
    raise AssertionError((folder / "output.txt").read_text()[-4000:])


@dataclass
class Cluster:
    """Two nodes of one authority, as `mintmark serve` runs them, on one database.

    Attributes:
        ports: Where they listen.
    """

    folder: Path
    config: Mapping[str, Any]
    ports: tuple[int, int] = field(default_factory=lambda: (free_port(), free_port()))
    _running: dict[int, tuple[Process, contextlib.ExitStack]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        for number in range(len(self.ports)):
            self.start(number)
        return self

    def __exit__(self, *_: object) -> None:
        for number in list(self._running):
            self.stop(number)

    def start(self, number: int) -> None:
        """Start a node, and wait until it is ready."""
        folder = self.folder / f"node{number + 1}"
        folder.mkdir(exist_ok=True)
        settings = {**self.config, "issuer": ISSUER, "port": self.ports[number], "trusted_proxies": [FRONT]}
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        (folder / "mintmark.toml").write_text("\n".join(lines) + "\n")
        stack = contextlib.ExitStack()
        process = stack.enter_context(started(folder, "serve", "--config", str(folder / "mintmark.toml")))
        self._running[number] = process, stack
        process.read_until("mintmark is ready", seconds=120)

    def stop(self, number: int, kind: signal.Signals = signal.SIGTERM) -> None:
        """Stop a node, and wait until it has gone."""
        process, stack = self._running.pop(number)
        with stack:
            process.send_signal(kind)
            process.wait(30)

    def errors(self, number: int) -> str:
        """Return what a node has logged since it was started."""
        return (self.folder / f"node{number + 1}" / "errors.txt").read_text()
