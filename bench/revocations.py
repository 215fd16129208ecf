"""Revoke → rejected at 200 verifiers that follow the feed, each on a socket of its own."""

import contextlib
import http.client
import sqlite3
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import msgspec

from bench import machine
from bench.listeners import Noted
from bench.report import Result
from bench.seed import Seeds
from mintmark.authority.metadata import PATHS
from mintmark.jose import base64url
from mintmark.oauth.revocations import Revocation
from mintmark.storage.sqlite.logs import append

VERIFIERS: Final = 200
PROCESSES: Final = 4
REVOCATIONS_PER_SECOND: Final = 200
SECONDS: Final = 10
NAME: Final = "revoke → rejected, 200 verifiers"
SNAPSHOT: Final = "100,000 revocations"
ENTRIES: Final = 100_000
CPU: Final = "authority's core, meanwhile"

_BUCKETS_MS: Final = (5, 10, 20, 30, 40, 50, 60, 80, 100, 150, 200, 500)
_CLIENT: Final = "service-RS256"
_REVOKERS: Final = 4


def measured(directory: Path) -> Iterator[Result]:
    """Revoke at a steady rate and yield what 99 of 100 rejections took at most, and what the authority used."""
    database = directory / "revocations.sqlite3"
    seeds = msgspec.convert(machine.ask("bench.seed", str(database)), Seeds)
    secret = seeds.secrets[_CLIENT]
    with machine.serving("bench.server", str(database)) as server:
        tokens = _tokens(server.port, secret, SECONDS * REVOCATIONS_PER_SECOND)
        with ExitStack() as stack:
            children = [
                _listeners(stack, directory, number, server.port, secret, tokens) for number in range(PROCESSES)
            ]
            used, began = machine.cpu_seconds(server.pid), time.monotonic()
            answered_at = _revoke_all(server.port, secret, tokens)
            share = (machine.cpu_seconds(server.pid) - used) / (time.monotonic() - began)
            time.sleep(1)
        noted = [msgspec.json.decode(output.read_bytes(), type=Noted) for output in children]
    lags = sorted(_lags(noted, answered_at))
    proved = sum(one.proved for one in noted)
    p99 = lags[int(len(lags) * 0.99)]
    _histogram(lags, proved)
    yield Result(f"{NAME}, p99", round(p99, 1), "ms", None, None, 100, round(p99, 3))
    yield Result(CPU, round(100 * share, 1), "%", None, None, None, None)


def snapshots(directory: Path) -> Iterator[Result]:
    """Start a verifier beside many live revocations; yield what it took to read them, and to keep them."""
    database = directory / "snapshot.sqlite3"
    seeds = msgspec.convert(machine.ask("bench.seed", str(database)), Seeds)
    expires_at = int(time.time()) + 3600  # noqa: TID251 - for a real authority
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        names = (base64url.encode(number.to_bytes(16, "big")) for number in range(ENTRIES))
        append(connection, [Revocation(kind="jti", value=name, expires_at=expires_at) for name in names])
    with machine.serving("bench.server", str(database)) as server:
        command = [sys.executable, "-m", "bench.snapshot", str(server.port), seeds.secrets[_CLIENT]]
        done = subprocess.run(command, cwd=machine.ROOT, check=True, stdout=subprocess.PIPE)
    seconds, megabytes, entries = msgspec.json.decode(done.stdout, type=tuple[float, float, int])
    if entries != ENTRIES:
        raise RuntimeError(f"{entries} of {ENTRIES} entries were read")
    yield Result(f"{SNAPSHOT}, read and applied", seconds, "s", None, None, 1, None)
    yield Result(f"{SNAPSHOT}, kept", megabytes, "MB", None, None, 40, None)


def _tokens(port: int, secret: str, count: int) -> dict[str, str]:
    connection, found = http.client.HTTPConnection("127.0.0.1", port), {}
    for _ in range(count):
        token = msgspec.json.decode(_post(connection, PATHS["token_endpoint"], secret, grant_type="client_credentials"))
        raw = token["access_token"]
        found[msgspec.json.decode(base64url.decode(raw.split(".")[1]))["jti"]] = raw
    connection.close()
    return found


def _listeners(stack: ExitStack, directory: Path, number: int, port: int, secret: str, tokens: dict[str, str]) -> Path:
    """Start a process of verifiers; return the file it will write once ``stack`` closes."""
    tokens_file, output = directory / "tokens.json", directory / f"noted-{number}.json"
    tokens_file.write_bytes(msgspec.json.encode(tokens))
    arguments = [str(VERIFIERS // PROCESSES), str(port), secret, str(tokens_file), str(output)]
    command = [sys.executable, "-m", "bench.listeners", *arguments]
    process = stack.enter_context(
        subprocess.Popen(command, cwd=machine.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    )
    assert process.stdin is not None
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        raise RuntimeError("the verifiers did not start")
    stack.callback(process.stdin.close)
    return output


def _revoke_all(port: int, secret: str, tokens: dict[str, str]) -> dict[str, float]:
    """Revoke every token, evenly; return when each was answered."""
    answered_at: dict[str, float] = {}
    start = time.monotonic() + 0.1
    due = {jti: start + number / REVOCATIONS_PER_SECOND for number, jti in enumerate(tokens)}

    def work(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for jti in list(tokens)[first::_REVOKERS]:
            time.sleep(max(0.0, due[jti] - time.monotonic()))
            _post(connection, PATHS["revocation_endpoint"], secret, token=tokens[jti])
            answered_at[jti] = time.monotonic()
        connection.close()

    workers = [threading.Thread(target=work, args=(first,)) for first in range(_REVOKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return answered_at


def _post(connection: http.client.HTTPConnection, path: str, secret: str, **form: str) -> bytes:
    credentials = b64encode(f"{_CLIENT}:{secret}".encode()).decode()
    headers = {"authorization": f"Basic {credentials}", "content-type": "application/x-www-form-urlencoded"}
    connection.request("POST", path, urlencode(form), headers)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{path} answered {answer.status}")
    return body


def _lags(noted: list[Noted], answered_at: dict[str, float]) -> Iterator[float]:
    """Yield the milliseconds from each answer to each verifier's rejection; it may come before the answer."""
    for one in noted:
        for rejected_at in one.rejected_at:
            if rejected_at.keys() != answered_at.keys():
                raise RuntimeError("a verifier has missed a revocation")
            for jti, at in rejected_at.items():
                yield max(0.0, at - answered_at[jti]) * 1000


def _histogram(lags: list[float], proved: int) -> None:
    lines, below = [], 0
    for bound in (*_BUCKETS_MS, float("inf")):
        count = sum(lag <= bound for lag in lags)
        share = (count - below) / len(lags)
        lines.append(f"    ≤ {bound:>4} ms  {share:7.2%}  {'█' * round(40 * share)}")
        below = count
        if count == len(lags):
            break
    lines.append(
        f"    {len(lags):,} rejections, {proved:,} of them proved by presenting the token; at most {lags[-1]:.0f} ms"
    )
    print("\n".join(lines), file=sys.stderr, flush=True)
