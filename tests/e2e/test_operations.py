"""`mintmark serve` as whoever operates it sees it: signals, workers, readiness, metrics, the service manager."""

import base64
import json
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from tests.support.serve import (
    FEED,
    TOKEN,
    Connection,
    Home,
    NotifySocket,
    ask,
    everybody,
    home,
    is_refused,
    said,
    scrape,
    soon,
    stop,
    workers_of,
)
from tests.unit.cli.processes import free_port, started

pytestmark = pytest.mark.slow

ONE_OR_TWO = pytest.mark.parametrize("workers", ["1", "2"])


@pytest.fixture
def place(tmp_path: Path) -> Home:
    return home(tmp_path)


def two_free_ports() -> int:
    """Return the first of two ports in a row that are free."""
    while True:
        port = free_port()
        try:
            socket.create_server(("127.0.0.1", port + 1)).close()
        except OSError:
            continue
        return port


# --- the service manager


@ONE_OR_TWO
@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_the_service_manager_hears_when_it_is_ready_and_when_it_stops(
    place: Home, monkeypatch: pytest.MonkeyPatch, workers: str, kind: str
) -> None:
    address = str(place.folder / "notify") if kind == "path" else f"@mintmark-test-{os.getpid()}-{workers}"
    manager = NotifySocket(address)
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with manager.sock, place.serving("--workers", workers, "--drain-delay", "1") as process:
        assert manager.next() == "READY=1"
        assert ask(place.port, "/readyz")[0] == 200
        process.send_signal(signal.SIGTERM)
        assert manager.next() == "STOPPING=1"
        assert not is_refused(place.port)
        assert process.wait(20) == 0
        assert manager.is_silent()


def test_a_service_manager_that_is_gone_is_no_reason_to_fail(place: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(place.folder / "nobody"))
    with place.serving() as process:
        assert stop(process) == 0


# --- stopping


@ONE_OR_TWO
def test_while_draining_it_says_so_and_still_answers(place: Home, workers: str) -> None:
    pair = base64.b64encode(f"service:{place.secret}".encode()).decode()
    with (
        place.serving("--workers", workers, "--drain-delay", "3") as process,
        Connection(place.port) as idle,
        Connection(place.port) as feed,
        Connection(place.port) as slow,
    ):
        assert "connection" not in idle.ask("GET", "/livez")[1]
        feed.send("GET", FEED, headers=f"Authorization: Basic {pair}\r\nAccept: text/event-stream\r\n")
        assert feed.head()[0] == 200
        rest = slow.send("POST", TOKEN, place.form, cut_at=-20)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        soon(lambda: all(ask(place.port, "/readyz")[0] == 503 for _ in range(8)), "all withdraw their readiness")
        assert time.monotonic() - began < 1
        # New connections, and those that were there, are answered once more and then closed.
        status, headers, body = ask(place.port, "/readyz")
        assert (status, headers["connection"]) == (503, "close")
        assert json.loads(body)["missing"] == ["draining"]
        assert ask(place.port, TOKEN, place.form)[0] == 200
        status, headers, _ = idle.ask("POST", TOKEN, place.form)
        assert (status, headers["connection"]) == (200, "close")
        assert idle.line() == b""
        # Streams end at once, and properly. Nobody said that their connection would close, so it takes another request.
        while (line := feed.line()) != b"0\r\n":
            assert line
        assert feed.line() == b"\r\n"
        assert time.monotonic() - began < 2
        status, headers, _ = feed.ask("GET", "/livez")
        assert (status, headers["connection"]) == (200, "close")
        assert feed.line() == b""
        # What was half sent is answered.
        slow.sock.sendall(rest)
        assert slow.answer()[0] == 200
        assert process.wait(20) == 0
        assert time.monotonic() - began >= 3
        assert is_refused(place.port)
    assert "mintmark has stopped." in process.errors()
    assert not said(process, "Traceback|fault|failed")


@ONE_OR_TWO
def test_what_is_under_way_is_finished_without_a_delay_as_well(place: Home, workers: str) -> None:
    with place.serving("--workers", workers) as process, Connection(place.port) as slow:
        rest = slow.send("POST", TOKEN, place.form, cut_at=-20)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        soon(lambda: is_refused(place.port), "nobody listens any more")
        slow.sock.sendall(rest)
        status, headers, _ = slow.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert process.wait(20) == 0


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_parent_and_workers_alike_counts_once(place: Home, kind: signal.Signals) -> None:
    """As a terminal sends it, and systemd."""
    with place.serving("--workers", "2") as process, Connection(place.port) as slow:
        rest = slow.send("POST", TOKEN, place.form, cut_at=-20)
        time.sleep(0.2)
        everybody(process, kind)
        soon(lambda: is_refused(place.port), "nobody listens any more")
        time.sleep(0.5)
        slow.sock.sendall(rest)
        assert slow.answer()[0] == 200
        assert process.wait(20) == 0
    assert not said(process, "failed to stop")


@ONE_OR_TWO
def test_a_second_signal_waits_for_nobody(place: Home, workers: str) -> None:
    with place.serving("--workers", workers, "--drain-delay", "60") as process, Connection(place.port) as slow:
        slow.send("POST", TOKEN, place.form, cut_at=-20)
        process.send_signal(signal.SIGTERM)
        soon(lambda: ask(place.port, "/readyz")[0] == 503, "readiness is withdrawn")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@ONE_OR_TWO
def test_a_terminal_that_is_closed_stops_it_as_well(place: Home, workers: str) -> None:
    """As SIGTERM does; and the second time it means nothing new, since kernel and shell both send it."""
    with place.serving("--workers", workers, "--drain-delay", "2") as process:
        for _ in range(2):
            everybody(process, signal.SIGHUP)
            soon(lambda: ask(place.port, "/readyz")[0] == 503, "readiness is withdrawn")
        assert ask(place.port, TOKEN, place.form)[0] == 200
        assert process.wait(20) == 0
    assert "mintmark has stopped." in process.errors()


@ONE_OR_TWO
def test_whoever_does_not_finish_its_request_is_not_waited_for(place: Home, workers: str) -> None:
    with place.serving("--workers", workers) as process, Connection(place.port) as head, Connection(place.port) as body:
        head.send("GET", "/livez", cut_at=10)
        body.send("POST", TOKEN, place.form, cut_at=-20)
        time.sleep(0.2)  # for them to arrive, which nobody can see from here
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert head.line() == b""
        assert time.monotonic() - began < 1
        assert body.line() == b""
        assert process.wait(20) == 0
        assert time.monotonic() - began < 6
    assert not said(process, "Exception|Traceback|Cancel|failed")


# --- workers


def test_a_worker_that_hangs_is_killed(place: Home) -> None:
    with place.serving("--workers", "2") as process:
        os.kill(min(workers_of(process)), signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)  # or the kernel makes one signal of two
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 1
    assert said(process, "worker failed to stop.*exit_code=-9")


def test_workers_share_the_port_and_have_metrics_of_their_own(place: Home) -> None:
    port = two_free_ports()
    with place.serving("--workers", "2", metrics_port=port) as process:
        assert len(workers_of(process)) == 2
        connections = [Connection(place.port) for _ in range(16)]
        for connection in connections:
            connection.send("POST", TOKEN, place.form)
        for connection in connections:
            assert connection.answer()[0] == 200
            connection.__exit__()
        shown = [scrape(port), scrape(port + 1)]
        sums = [each("requests_total", endpoint=TOKEN, status="2xx", error="") or 0 for each in shown]
        assert sum(sums) == 16
        assert [each("store_up") for each in shown] == [1, 1]
        # One of the two, as of any two nodes.
        soon(lambda: sorted(scrape(each)("leader") or 0 for each in (port, port + 1)) == [0, 1], "one leads")
        assert ask(place.port, "/metrics")[0] == 404
        assert stop(process) == 0
        assert is_refused(port)


def test_a_worker_that_crashes_is_replaced(place: Home) -> None:
    port = two_free_ports()
    with place.serving("--workers", "2", metrics_port=port) as process:
        before = workers_of(process)
        victim, other = sorted(before)
        os.kill(victim, signal.SIGKILL)
        soon(lambda: said(process, "worker ended.*exit_code=-9"), "it was noticed")
        assert [ask(place.port, TOKEN, place.form)[0] for _ in range(5)] == [200] * 5
        soon(lambda: scrape(port)("store_up") == scrape(port + 1)("store_up") == 1, "both answer again")
        after = workers_of(process)
        assert len(after) == 2
        assert other in after
        assert victim not in after
        assert stop(process) == 0
    assert "mintmark has stopped." in process.errors()


def test_no_worker_outlives_its_parent(place: Home) -> None:
    with place.serving("--workers", "2") as process:
        workers = workers_of(process)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        psutil.wait_procs(list(workers.values()), timeout=20)
        assert not [
            worker for worker in workers.values() if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE
        ]
        assert is_refused(place.port)


def test_what_is_wrong_from_the_start_is_said_and_ends_all(place: Home) -> None:
    (place.folder / "mintmark.key").write_text("ab" * 32)
    command = ("serve", "--workers", "2", "--config", str(place.settings_file()))
    with started(place.folder, *command) as process:
        assert process.wait(20) == 1
        assert "the master key is not the one" in process.errors()
        assert not said(process, "Traceback|worker ended|has stopped")


# --- logs


@pytest.mark.spec("invariant I8")
def test_lines_for_machines_carry_the_request_id_and_no_secret(place: Home) -> None:
    with place.serving(log_format="json", log_level="debug") as process, Connection(place.port) as connection:
        status, headers, body = connection.ask("POST", TOKEN, place.form, headers="X-Request-Id: rolling-1\r\n")
        token = json.loads(body)["access_token"]
        assert (status, headers["x-request-id"]) == (200, "rolling-1")
        connection.ask("POST", TOKEN, place.form.replace(b"client_credentials", b"nonsense"))
        connection.ask("GET", "/api/v2/auth/userinfo", headers=f"Authorization: Bearer {token}\r\n")
        connection.ask("GET", f"/login?return_to={token}", headers=f"Cookie: mintmark={'c' * 43}\r\n")
        assert stop(process) == 0
    lines = [json.loads(line) for line in process.errors().splitlines() if line.startswith("{")]
    requests = [line for line in lines if line["event"] == "request"]
    assert [(line["path"], line["status"]) for line in requests][:2] == [(TOKEN, 200), (TOKEN, 400)]
    assert requests[0]["request_id"] == "rolling-1"
    assert len({line["request_id"] for line in requests}) == len(requests) == 4
    for secret in (place.secret, token, token.rpartition(".")[2], "c" * 43, "nonsense"):
        assert secret not in process.errors()


# --- traces


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.spec("invariant I8")
def test_spans_reach_whoever_collects_them(place: Home, monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
    got: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_address[1]}")
        with place.serving("--workers", workers) as process, Connection(place.port) as connection:
            traceparent = "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
            assert connection.ask("POST", TOKEN, place.form, headers=traceparent)[0] == 200
            assert stop(process) == 0
        collector.shutdown()
        thread.join()
    ((path, spans),) = got
    assert path == "/v1/traces"
    assert TOKEN.encode() in spans
    assert bytes.fromhex("0af7651916cd43dd8448eb211c80319c") in spans
    assert place.secret.encode() not in spans


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel")
def test_no_metrics_unless_a_port_is_set(place: Home) -> None:
    with place.serving() as process:
        (pid,) = {process._process.pid}
        listening = [
            connection.laddr.port
            for connection in psutil.Process(pid).net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert listening == [place.port]
        assert stop(process) == 0
