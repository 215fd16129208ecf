"""``python -m bench.guard``: requests a second through nginx, with and without the guard; and their ratio.

nginx runs with its file under ``deploy/``, in one process, and answers for the service as well, so that the difference is
the guard's: its subrequest and its answer. All of it shares one core; figures are per second of its processor time.
"""

import argparse
import contextlib
import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench import machine, nginx, report
from bench.guarding import PATH
from bench.load import CONNECTIONS, Client, Measured, Repeating, fetch, measure
from bench.machine import Server
from bench.report import Result, compared
from bench.verifying import make_tokens
from mintmark.jose import jwk
from mintmark.jose.jwk import KeySet

NAME: Final = "nginx with the guard"
ROUNDS: Final = 3
_TOKENS: Final = 1_000
_PATIENCE: Final = 10.0
_CONFIGURATION: Final = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/mintmark.conf;
    server {{
        listen 127.0.0.1:{unguarded};
        location / {{
            proxy_set_header Host $host;
            proxy_set_header Connection "";
            proxy_http_version 1.1;
            proxy_pass http://service;
        }}
    }}
    server {{
        listen 127.0.0.1:{service};
        default_type application/json;
        location / {{ return 200 '{body}'; }}
    }}
}}
"""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench.guard", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.2, help="length of one measurement (default 1.2)")
    arguments = parser.parse_args()
    machine.pin(machine.LOAD_CORE)
    with TemporaryDirectory(prefix="mintmark-bench-") as directory:
        lines = list(map(report.line, measured(Path(directory), arguments.seconds)))
    print("\n".join([*machine.description(), "", report.heading(), *lines]))


def measured(directory: Path, seconds: float) -> Iterator[Result]:
    """Measure nginx with the guard, and, as its limit, nginx without; nothing if there is no nginx."""
    if nginx.program() is None:
        print(f"  {NAME}: left out, nginx is missing (apt-get install nginx-light)", file=sys.stderr, flush=True)
        return
    key = jwk.generate("RS256")
    (directory / "jwks.json").write_text(json.dumps(KeySet([key]).public_jwks()))
    requests = [_request(token) for token in make_tokens(key, _TOKENS)]
    clients: list[Client] = [Repeating(requests, turn=number * 7) for number in range(CONNECTIONS)]
    rounds = []
    with (
        machine.serving("bench.guarding", str(directory / "jwks.json")) as guard,
        _nginx(directory, guard) as (guarded, alone),
    ):
        fetch(guarded, requests)  # as in a running gateway, where hardly a token is seen for the first time
        for _ in range(ROUNDS):
            limit, found = measure(alone, clients, seconds), measure(guarded, clients, seconds)
            rounds.append((found.rate_of_core, limit.rate_of_core, found.p99_ms))
            print(f"    with the guard {_progress(found)}; without {_progress(limit)}", file=sys.stderr, flush=True)
    yield compared(NAME, "req/s", rounds, None)


def _progress(found: Measured) -> str:
    return f"{found.rate:,.0f}/s by the clock, servers {found.server_busy:.0%} busy, load {found.load_busy:.0%} busy"


def _request(token: str) -> bytes:
    return f"GET {PATH}/7 HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


@contextmanager
def _nginx(directory: Path, guard: Server) -> Iterator[tuple[Server, Server]]:
    """Run nginx, and return it as it answers with the guard and without."""
    guarded, unguarded, service = (_free_port() for _ in range(3))
    text = (machine.ROOT / "deploy" / "nginx" / "mintmark.conf").read_text(encoding="utf-8")
    for before, after in {8080: guarded, 4180: guard.port, 8000: service}.items():
        text = text.replace(f"127.0.0.1:{before}", f"127.0.0.1:{after}")
    (directory / "mintmark.conf").write_text(text, encoding="utf-8")
    configuration = directory / "nginx.conf"
    body = json.dumps({"answer": "x" * 887})
    ports = {"unguarded": unguarded, "service": service}
    configuration.write_text(_CONFIGURATION.format(folder=directory, body=body, **ports), encoding="utf-8")
    with machine.serving("bench.nginx", str(configuration), str(guarded)) as server:
        _await_port(guarded)
        yield Server(server.pid, guarded, beside=(guard.pid,)), Server(server.pid, unguarded)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _await_port(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)
    raise RuntimeError("nginx did not start")


if __name__ == "__main__":
    main()
