"""A real authority that verifiers reach through a proxy only, so that everything between them can go wrong."""

import http.client
import json
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anyio
import pytest
from pydantic import SecretBytes
from tests.e2e.watching import Watched, outcome, wait_until
from tests.support.proxy import Proxy, proxy_to
from tests.support.serve import API, with_service
from tests.unit.cli.processes import Process, clean_environment, free_port, started

from mintmark.config import Settings
from mintmark.verifier import Verifier


class Service:
    """The client that asks for tokens and revokes them, past the proxy and on connections of its own."""

    def __init__(self, port: int, secret: str) -> None:
        self.secret = secret
        self._port = port
        self._connection: http.client.HTTPConnection | None = None
        self._asked_at = 0.0

    def token(self) -> str:
        raw: str = json.loads(self._post("/token", grant_type="client_credentials"))["access_token"]
        return raw

    def tokens(self, count: int) -> list[str]:
        return [self.token() for _ in range(count)]

    def revoke(self, *tokens: Watched) -> None:
        """Revoke, and note when that was answered."""
        for one in tokens:
            one.may_go = True
            self._post("/revoke", token=one.raw)
            one.revoked_at = time.monotonic()

    def hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, path: str, **form: str) -> bytes:
        # The authority hangs up on who says nothing for five seconds.
        if self._connection is None or time.monotonic() - self._asked_at > 2:
            self.hang_up()
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        headers = {
            "authorization": "Basic " + b64encode(f"service:{self.secret}".encode()).decode(),
            "content-type": "application/x-www-form-urlencoded",
        }
        self._connection.request("POST", f"/api/v2/auth{path}", urlencode(form), headers)
        response = self._connection.getresponse()
        body = response.read()
        self._asked_at = time.monotonic()
        assert response.status == 200, body
        return body


@dataclass
class World:
    """An authority with a proxy in front of it; the issuer is the proxy, so that verifiers know no other way."""

    folder: Path
    port: int
    proxy: Proxy
    service: Service
    issuer: str
    _stack: ExitStack

    def start(self) -> Process:
        """Start the authority; it ends with the test at the latest."""
        process = self._stack.enter_context(
            started(self.folder, "serve", "--config", str(self.folder / "mintmark.toml"))
        )
        process.read_until("mintmark is ready")
        return process

    def kill(self, process: Process) -> None:
        """End it as a power failure would."""
        process.send_signal(signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
        self.service.hang_up()

    def command(self, *args: str) -> None:
        """Run ``mintmark`` on the same database."""
        done = self.attempt(*args)
        assert done.returncode == 0, done.stderr

    def rotate(self) -> None:
        """Rotate the signing key, as soon as there is one that waits to take over."""

        def has_rotated() -> bool:
            done = self.attempt("keys", "rotate", "--alg", "ES256")
            assert done.returncode == 0 or "try again soon" in done.stderr, done.stderr
            return done.returncode == 0

        wait_until(has_rotated)

    def attempt(self, *args: str) -> "subprocess.CompletedProcess[str]":
        line = [sys.executable, "-m", "mintmark.cli.main", *args, "--config", str(self.folder / "mintmark.toml")]
        return subprocess.run(line, capture_output=True, text=True, timeout=60, env=clean_environment(), check=False)

    def verifier(self, **options: Any) -> Verifier:
        """A verifier that knows the authority through the proxy, and has caught up."""
        made = Verifier(self.issuer, API, client_id="service", client_secret=self.service.secret, **options)
        self._stack.callback(made.close)
        raw = self.service.token()
        wait_until(lambda: outcome(made, raw) == "accepted" and connections(made))
        return made


def is_stale(verifier: Verifier) -> bool:
    return bool(_metric(verifier, "feed_stale"))


def connections(verifier: Verifier) -> float:
    """How often the feed was opened."""
    return _metric(verifier, "feed_connects_total")


def _metric(verifier: Verifier, name: str) -> float:
    (value,) = [value for found, value in verifier.metrics().items() if f"_{name}{{" in found]
    return value


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    port = free_port()
    with ExitStack() as stack:
        proxy = stack.enter_context(proxy_to(port))
        issuer = f"http://127.0.0.1:{proxy.port}"
        settings: dict[str, Any] = {
            "issuer": issuer,
            "port": port,
            "database": str(tmp_path / "mintmark.sqlite3"),
            # Longer than a verifier waits between two attempts to find a key; shorter than a test.
            "jwks_lifetime": 6,
            "key_rotation_interval": 3600,
            # The next key is made then; by default a test would wait a minute for it.
            "cleanup_interval": 1,
        }
        key = tmp_path / "mintmark.key"
        key.write_text(bytes(32).hex())
        key.chmod(0o600)
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in settings.items()]
        (tmp_path / "mintmark.toml").write_text("".join([*lines, f'master_key_file = "{key}"\n']))
        secret = anyio.run(with_service, Settings(**settings, master_key=SecretBytes(bytes(32))))
        service = Service(port, secret)
        stack.callback(service.hang_up)
        yield World(tmp_path, port, proxy, service, issuer, stack)
