"""Services under gunicorn: the verifier is built and used before the workers are forked, against a real authority."""

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.e2e.tokens import obtain, revoke
from tests.support.installation import API
from tests.support.serving import ROOT, Served, served

pytestmark = pytest.mark.slow

WORKERS = 2
PATIENCE = 15.0
"""Seconds until every worker has to know of a revocation; it takes a fraction of one."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("authority"), "http://127.0.0.1:1") as authority:
        yield authority


class Service:
    """A server with workers; every request is on a connection of its own, so any worker may answer."""

    def __init__(self, pid: int, port: int, path: str) -> None:
        self._pid = pid
        self._port = port
        self._path = path

    def ask(self, token: str) -> tuple[int, int]:
        """Return the status, and which worker answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("GET", self._path, headers={"Authorization": f"Bearer {token}", "Connection": "close"})
            response = connection.getresponse()
            loaded_in, answered_by = (int(response.headers[name]) for name in ("x-loaded-in", "x-answered-by"))
        finally:
            connection.close()
        assert loaded_in == self._pid != answered_by
        return response.status, answered_by

    def accepting(self, token: str) -> set[int]:
        """Return the workers, once all have answered; nobody may refuse."""
        seen: set[int] = set()
        deadline = time.monotonic() + 60
        while len(seen) < WORKERS:
            assert time.monotonic() < deadline, f"only {seen} answer"
            status, worker = self.ask(token)
            assert status == 200
            seen.add(worker)
        return seen


@contextmanager
def gunicorn(application: str, path: str, authority: Served, used_with: str, directory: Path) -> Iterator[Service]:
    """Run ``application`` of `protected` in two workers that are forked from a process that has used the verifier."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MINTMARK_")} | {
        "MINTMARK_ISSUER": authority.issuer,
        "MINTMARK_AUDIENCE": API,
        "MINTMARK_CLIENT_ID": "service",
        "MINTMARK_CLIENT_SECRET": authority.secrets["service"],
        "USED_WITH": used_with,
    }
    log = directory / "gunicorn.log"
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", str(WORKERS), "--bind", "127.0.0.1:0"]
    command += ["--no-control-socket", "--worker-tmp-dir", str(directory), "--log-file", str(log)]
    command += [f"tests.e2e.protected:{application}"]
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        try:
            yield Service(process.pid, port_of(process, log), path)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def port_of(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        said = log.read_text() if log.exists() else ""
        _, found, rest = said.partition("Listening at: http://127.0.0.1:")
        if found and " " in rest:
            return int(rest.split()[0])
        time.sleep(0.05)
    raise AssertionError(log.read_text() if log.exists() else "gunicorn did not start")


@pytest.mark.spec("S01", "S03")
@pytest.mark.parametrize(
    ("application", "path"), [("by_wsgi", "/"), ("by_flask", "/"), ("by_django", "/"), ("by_django", "/drf")]
)
def test_every_worker_hears_of_a_revocation(application: str, path: str, authority: Served, tmp_path: Path) -> None:
    kept, lost = obtain(authority), obtain(authority)
    with gunicorn(application, path, authority, kept, tmp_path) as service:
        workers = service.accepting(kept)
        assert service.accepting(lost) == workers
        revoke(authority, lost)
        deadline = time.monotonic() + PATIENCE
        refusing: set[int] = set()
        while refusing < workers:
            assert time.monotonic() < deadline, f"of {workers} only {refusing} refuse"
            status, worker = service.ask(lost)
            assert status == 401 or (status == 200 and worker not in refusing)
            refusing |= {worker} if status == 401 else set()
        assert service.accepting(kept) == workers
        assert service.accepting(obtain(authority)) == workers
