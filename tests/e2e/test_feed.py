"""The revocation feed over real sockets: the authority is a process of its own, and so is whoever else revokes."""

import base64
import http.client
import json
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from tests.support.feed import PATH, Event, read_event
from tests.support.serving import Served, served
from tests.unit.cli.processes import clean_environment, free_port, started

from mintmark.web.streaming import Pace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

QUICK = Pace(heartbeat=0.5, patience=0.5)
DEADLINE = 20
"""Seconds after which a test gives up on what should come at once."""


class Reader:
    """A client of the feed, as a simple one is written: a line at a time."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._response = connection.getresponse()
        self.status = self._response.status
        self.headers = self._response.headers
        self._lines: list[str] = []

    def event(self) -> Event | None:
        """Return the next event; ``None`` once the stream has come to its proper end."""
        while line := self._response.readline().decode():
            if line != "\n":
                self._lines.append(line.rstrip("\n"))
                continue
            block, self._lines = "\n".join(self._lines), []
            if (found := read_event(block)) is not None:
                return found
        return None

    def until_heartbeat(self) -> list[dict[str, Any]]:
        """Return the entries that come before the next heartbeat."""
        entries: list[dict[str, Any]] = []
        while (found := self.event()) is not None and not found.is_heartbeat:
            entries += found.data
        assert found is not None, "the stream has ended"
        return entries

    def entry(self, kind: str, value: str) -> dict[str, Any]:
        """Wait for an entry."""
        while (found := self.event()) is not None:
            for each in [] if found.is_heartbeat else found.data:
                if each.get(kind) == value:
                    entry: dict[str, Any] = each
                    return entry
        raise AssertionError("the stream has ended")


def basic(secret: str, client_id: str = "service") -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


@contextmanager
def reading(issuer: str, secret: str, **headers: str) -> Iterator[Reader]:
    """Follow the feed."""
    connection = http.client.HTTPConnection(urlsplit(issuer).netloc, timeout=DEADLINE)
    try:
        connection.request("GET", PATH, headers={**basic(secret), "accept": "text/event-stream", **headers})
        yield Reader(connection)
    finally:
        connection.close()


def post(issuer: str, secret: str, path: str, **form: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection(urlsplit(issuer).netloc, timeout=DEADLINE)
    form_type = {"content-type": "application/x-www-form-urlencoded"}
    try:
        connection.request("POST", f"/api/v2/auth{path}", urlencode(form), {**basic(secret), **form_type})
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
    finally:
        connection.close()
    found: dict[str, Any] = json.loads(body or "{}")
    return found


def token(issuer: str, secret: str) -> tuple[str, str]:
    """Return an access token of the service, and its name."""
    value = post(issuer, secret, "/token", grant_type="client_credentials")["access_token"]
    payload = value.split(".")[1]
    return value, json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["jti"]


def command(folder: Path, *args: str, typed: str = "") -> str:
    """Run `mintmark` on the same database."""
    line = [sys.executable, "-m", "mintmark.cli.main", *args, "--config", str(folder / "mintmark.toml")]
    done = subprocess.run(
        line, input=typed, capture_output=True, text=True, timeout=60, env=clean_environment(), check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def configure(folder: Path, issuer: str, database: Path) -> None:
    key = folder / "mintmark.key"
    key.write_text(bytes(32).hex())
    key.chmod(0o600)
    (folder / "mintmark.toml").write_text(
        f'issuer = "{issuer}"\nport = {urlsplit(issuer).port}\ndatabase = "{database}"\nmaster_key_file = "{key}"\n'
    )


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, "http://127.0.0.1:1", QUICK) as running:
        configure(tmp_path, running.issuer, tmp_path / "authority.sqlite3")
        yield running


@pytest.mark.spec("invariant I6")
def test_a_revocation_is_pushed_whoever_made_it(authority: Served, tmp_path: Path) -> None:
    """Heartbeats while nothing happens; then what another connection revoked, and what another process did."""
    issuer, secret = authority.issuer, authority.secrets["service"]
    with reading(issuer, secret) as reader:
        assert (reader.status, reader.headers["content-type"]) == (200, "text/event-stream")
        assert reader.headers["transfer-encoding"] == "chunked"
        assert reader.until_heartbeat() == []
        assert reader.until_heartbeat() == []
        value, name = token(issuer, secret)
        post(issuer, secret, "/revoke", token=value)
        assert set(reader.entry("jti", name)) == {"jti", "exp"}
        value, name = token(issuer, secret)
        command(tmp_path, "token", "revoke", typed=value)
        reader.entry("jti", name)
        (key, *_others) = json.loads(command(tmp_path, "keys", "list", "--json"))
        command(tmp_path, "keys", "retire", key["kid"], "--emergency", "--yes")
        reader.entry("kid", key["kid"])


def test_a_broken_connection_is_taken_up_where_it_broke(authority: Served) -> None:
    issuer, secret = authority.issuer, authority.secrets["service"]
    first, second = token(issuer, secret), token(issuer, secret)
    post(issuer, secret, "/revoke", token=first[0])
    with reading(issuer, secret) as reader:
        found = reader.event()
        assert found is not None
        assert [each["jti"] for each in found.data] == [first[1]]
    post(issuer, secret, "/revoke", token=second[0])
    with reading(issuer, secret, **{"last-event-id": found.id}) as reader:
        assert [each["jti"] for each in reader.until_heartbeat()] == [second[1]]


def test_a_disabled_client_loses_its_stream(authority: Served, tmp_path: Path) -> None:
    """Properly, at a heartbeat; and it is not let in again."""
    issuer, secret = authority.issuer, authority.secrets["service"]
    with reading(issuer, secret) as reader:
        reader.until_heartbeat()
        command(tmp_path, "client", "disable", "service", "--yes")
        while reader.event() is not None:
            pass
    with reading(issuer, secret) as refused:
        assert refused.status == 401


def fill(database: Path, count: int) -> None:
    """Revoke so much that no buffer between here and there holds it."""
    rows = [("jti", f"{number:0100}", None, 2**40) for number in range(count)]
    with sqlite3.connect(database) as connection:
        connection.executemany("INSERT INTO revocations (kind, value, before, expires_at) VALUES (?, ?, ?, ?)", rows)
    connection.close()


def drained(connection: socket.socket) -> bytes:
    """Return all that still comes, to the end or to the break."""
    received = bytearray()
    with suppress(ConnectionResetError):
        while chunk := connection.recv(1 << 20):
            received += chunk
    return bytes(received)


@pytest.mark.spec("invariant I6")
def test_who_reads_nothing_is_cut_off_and_nobody_else_notices(authority: Served, tmp_path: Path) -> None:
    """Its connection is dropped with most of the list unsent; the others have heard of everything meanwhile."""
    issuer, secret = authority.issuer, authority.secrets["service"]
    count = 100_000
    fill(tmp_path / "authority.sqlite3", count)
    log = tmp_path / "authority.log"
    where = urlsplit(issuer)
    assert where.hostname is not None
    with reading(issuer, secret) as reader, socket.socket() as silent:
        seen = 0
        while seen < count:
            seen += len(reader.until_heartbeat())
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        silent.settimeout(DEADLINE)
        silent.connect((where.hostname, where.port))
        lines = [f"GET {PATH} HTTP/1.1", f"host: {where.netloc}", "accept: text/event-stream"]
        lines += [f"{name}: {text}" for name, text in basic(secret).items()]
        silent.sendall("\r\n".join([*lines, "", ""]).encode())
        while "cut off" not in log.read_text():
            value, name = token(issuer, secret)
            post(issuer, secret, "/revoke", token=value)
            reader.entry("jti", name)
        received = drained(silent)
        assert received.startswith(b"HTTP/1.1 200")
        assert not received.endswith(b"0\r\n\r\n")
        assert len(received) < count * 100
        reader.until_heartbeat()


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_when_the_server_is_told_to_stop_streams_end_and_it_does(tmp_path: Path, kind: signal.Signals) -> None:
    """`mintmark serve` itself: it would wait ten seconds for a request under way, but not for those."""
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    configure(tmp_path, issuer, tmp_path / "mintmark.sqlite3")
    with started(tmp_path, "serve", "--config", str(tmp_path / "mintmark.toml")) as process:
        process.read_until("mintmark is ready")
        command(tmp_path, "resource", "create", "https://api.example", "--name", "Orders", "--scope", "orders:read")
        made = json.loads(
            command(
                tmp_path,
                *("client", "create", "service", "--name", "Orders", "--grant-type", "client_credentials"),
                *("--serves", "https://api.example", "--json"),
            )
        )
        with reading(issuer, made["client_secret"]) as reader, reading(issuer, made["client_secret"]) as other:
            assert (reader.until_heartbeat(), other.until_heartbeat()) == ([], [])
            process.send_signal(kind)
            # Read to the proper end; a connection that broke would raise.
            assert (reader.event(), other.event()) == (None, None)
            assert process.wait(8) == 0
        assert "mintmark has stopped." in process.errors()
        assert "exceeded" not in process.errors()
        assert "Traceback" not in process.errors()
