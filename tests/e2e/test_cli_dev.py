"""`mintmark dev` in a process of its own: its lines to paste really work, and Ctrl-C ends it."""

import json
import re
import signal
import socket
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


@contextmanager
def taken_above() -> Iterator[int]:
    """Take a port; yield the free one which is two below."""
    while True:
        port = free_port()
        try:
            taken = socket.create_server(("127.0.0.1", port + 2))
        except OSError:
            continue
        with taken:
            yield port
            return


def fetch(url: str) -> tuple[int, bytes]:
    with build_opener(ProxyHandler({})).open(url, timeout=5) as response:
        return response.status, response.read()


def lines_of(shown: str) -> list[str]:
    return [line for line in shown.splitlines() if re.match(r"(T=\$\(|python3 -c|curl )", line)]


def pasted(*lines: str) -> list[str]:
    """Paste lines into a shell; return what it showed, line by line."""
    script = "\n".join([*lines, ""])
    outcome = subprocess.run(
        ["bash"], input=script, capture_output=True, text=True, timeout=30, env=clean_environment(), check=True
    )
    assert outcome.stderr == ""
    return outcome.stdout.splitlines()


@pytest.mark.spec("invariant I6")
def test_the_three_lines_call_the_api_revoke_and_are_refused(tmp_path: Path) -> None:
    with developing(tmp_path) as (process, _):
        three = lines_of(process.shown)[:3]
        for _ in range(2):  # they may be pasted again
            called, revoked, rejected, again = pasted(*three)
            assert json.loads(called.removesuffix(" 200"))["orders_of"] == "demo-service"
            assert revoked == "revoked: 200"
            measured = re.fullmatch(r"rejected: 401 after (\d+\.\d) ms; accepted in between: \d+", rejected)
            assert measured is not None
            assert float(measured[1]) < 1000
            assert json.loads(again.removesuffix(" 401"))["error"] == "invalid_token"
        assert "Traceback" not in process.errors()


def test_without_the_second_line_the_api_goes_on_accepting(tmp_path: Path) -> None:
    with developing(tmp_path) as (process, _):
        first, _, third = lines_of(process.shown)[:3]
        called, again = pasted(first, third)
    assert called == again
    assert called.endswith(" 200")


@pytest.mark.spec("invariant I2")
def test_the_line_to_refresh_gets_the_same_refresh_token_twice(tmp_path: Path) -> None:
    with developing(tmp_path) as (process, _):
        refresh = lines_of(process.shown)[3]
        answers = [json.loads(line) for line in pasted(refresh, refresh)]
    assert answers[0]["refresh_token"] == answers[1]["refresh_token"]
    assert answers[0]["refresh_token"] not in refresh
    assert answers[0]["access_token"] != answers[1]["access_token"]


def test_the_api_moves_on_where_its_port_is_taken(tmp_path: Path) -> None:
    with taken_above() as port, started(tmp_path, "dev", "--port", str(port)) as process:
        process.read_until(READY)
        where = re.search(r"answers at http://127\.0\.0\.1:(\d+)/orders", process.shown)
        assert where is not None
        assert int(where[1]) > port + 2
        assert pasted(*lines_of(process.shown)[:1])[0].endswith(" 200")


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
