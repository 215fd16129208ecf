"""`mintmark dev` in a process of its own: its lines to paste really work, and Ctrl-C ends it."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest
from tests.unit.cli.processes import Process, clean_environment, free_port, started

pytestmark = pytest.mark.slow
READY = "Stop with Ctrl-C."


@contextmanager
def developing(tmp_path: Path, *args: str) -> Iterator[tuple[Process, int]]:
    port = free_port()
    with started(tmp_path, "dev", "--port", str(port), *args) as process:
        process.read_until(READY)
        yield process, port


def fetch(url: str) -> tuple[int, bytes]:
    with build_opener(ProxyHandler({})).open(url, timeout=5) as response:
        return response.status, response.read()


def lines_of(shown: str) -> list[str]:
    return [line for line in shown.splitlines() if re.match(r"(R=\$\()?curl ", line)]


def test_the_three_lines_refresh_revoke_and_are_refused(tmp_path: Path) -> None:
    with developing(tmp_path) as (process, _):
        lines = lines_of(process.shown)
        assert len(lines) == 3
        script = "\n".join([*lines, ""])
        pasted = subprocess.run(
            ["bash"], input=script, capture_output=True, text=True, timeout=30, env=clean_environment(), check=True
        )
    answer = json.loads(pasted.stderr)
    assert answer["token_type"] == "Bearer"
    assert answer["refresh_token"] != re.search(r"refresh_token=(mmr_\S+)", lines[0])[1]  # type: ignore[index]
    revoked, refused = pasted.stdout.splitlines()
    assert revoked == "revoked: 200"
    assert json.loads(refused)["error"] == "invalid_grant"
    assert "Traceback" not in process.errors()


def test_what_the_banner_says_works(tmp_path: Path) -> None:
    with developing(tmp_path) as (process, port):
        shown = process.shown
        assert "NOT for production" in shown
        issuer = f"http://127.0.0.1:{port}"
        assert f"Sign in with a browser: {issuer}/login" in shown
        status, page = fetch(f"{issuer}/login")
        assert status == 200
        assert b"password" in page
        assert json.loads(fetch(f"{issuer}/.well-known/openid-configuration")[1])["issuer"] == issuer
        secret = re.search(r"demo-service  secret: (\S+)", shown)
        assert secret is not None
        form = ("-d", "grant_type=client_credentials", "-d", "scope=orders:read", "-u", f"demo-service:{secret[1]}")
        command = ["curl", "-sS", f"{issuer}/api/v2/auth/token", *form]
        issued = json.loads(subprocess.run(command, capture_output=True, check=True, env=clean_environment()).stdout)
        assert issued["scope"] == "orders:read"
        command = [
            "curl",
            "-sS",
            f"{issuer}/api/v2/auth/introspect",
            "-d",
            f"token={issued['access_token']}",
            *form[4:],
        ]
        seen = json.loads(subprocess.run(command, capture_output=True, check=True, env=clean_environment()).stdout)
        assert seen["active"] is True
        assert seen["aud"] == "https://api.example"


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_at_once_and_cleanly(tmp_path: Path, kind: signal.Signals) -> None:
    with developing(tmp_path) as (process, _):
        began = time.monotonic()
        process.send_signal(kind)
        assert process.wait(10) == 0
        assert time.monotonic() - began < 3
        assert "Stopped; everything is forgotten." in process.errors()
        assert "Traceback" not in process.errors()
    assert [path.name for path in tmp_path.iterdir()] == ["errors.txt"]


def test_a_port_that_is_taken_is_named_with_one_that_is_free(tmp_path: Path) -> None:
    with developing(tmp_path) as (_, port):
        again = subprocess.run(
            [sys.executable, "-m", "mintmark.cli.main", "dev", "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=30,
            env=clean_environment(),
            check=False,
        )
        assert again.returncode == 1
        assert again.stdout == ""
        assert f"port {port} on 127.0.0.1 is taken" in again.stderr
        free = re.search(r"`mintmark dev --port (\d+)`", again.stderr)
        assert free is not None
        assert int(free[1]) > port
        assert fetch(f"http://127.0.0.1:{port}/livez")[0] == 200
