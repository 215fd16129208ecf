"""`mintmark serve`: what it refuses, whom it tells, and how long it waits before it replaces a worker."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.unit.cli.command_line import Line

from mintmark.cli import notifying, serving, workers


@pytest.fixture
def free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, free: int) -> dict[str, object]:
    """What the server was told; it stops at once."""
    told: dict[str, object] = {}

    async def at_once(*_: object, **rest: object) -> None:
        told.update(rest)
        listener = rest["metrics_listener"]
        told["metrics_port"] = listener.getsockname()[1] if isinstance(listener, socket.socket) else None

    monkeypatch.setattr(serving, "serve", at_once)
    monkeypatch.setenv("MINTMARK_PORT", str(free))
    return told


def test_workers_cannot_share_what_only_one_process_remembers(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINTMARK_DATABASE", "memory:")
    assert "leave --workers away" in line.refused("serve", "--workers", "2")


@pytest.mark.parametrize("name", ["port", "host"])
def test_what_is_a_setting_is_no_option(line: Line, name: str) -> None:
    assert f"`{name}` in mintmark.toml, or MINTMARK_{name.upper()}" in line.refused("serve", f"--{name}", "1", expect=2)
    assert f"--{name}" not in line("serve", "--help").stdout


@pytest.mark.parametrize("words", [("--workers", "0"), ("--workers", "65"), ("--drain-delay", "301")])
def test_numbers_out_of_bounds_are_wrong_usage(line: Line, words: tuple[str, str]) -> None:
    line.refused("serve", *words, expect=2)


def test_the_port_of_the_metrics_is_taken_before_anything_else(
    line: Line, monkeypatch: pytest.MonkeyPatch, served: dict[str, object]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("MINTMARK_METRICS_PORT", str(taken.getsockname()[1]))
        assert "MINTMARK_METRICS_PORT=" in line.refused("serve")
        assert served == {}
        port = taken.getsockname()[1]
    line("serve")
    assert served["metrics_port"] == port


def test_without_a_port_there_are_no_metrics_and_without_a_delay_none(line: Line, served: dict[str, object]) -> None:
    line("serve")
    assert served["metrics_port"] is None
    assert (served["drain_delay"], served["lifeline"]) == (0, None)
    line("serve", "--drain-delay", "7")
    assert served["drain_delay"] == 7


def test_each_worker_needs_a_port_for_its_metrics(line: Line, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setenv("MINTMARK_PORT", str(free))
    monkeypatch.setenv("MINTMARK_METRICS_PORT", "65534")
    assert "no room for 3 workers" in line.refused("serve", "--workers", "3")
    monkeypatch.setenv("MINTMARK_METRICS_PORT", str(free - 1))
    assert "`port` is among them" in line.refused("serve", "--workers", "2")


# --- the service manager


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_the_service_manager_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str) -> None:
    address = str(tmp_path / "notify") if kind == "path" else f"@mintmark-unit-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0", 1))
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        notifying.notify(notifying.READY)
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative/path", "/nowhere/at/all", "@nobody-listens"])
def test_nobody_who_can_be_told_is_no_fault(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notifying.notify(notifying.READY)
    monkeypatch.delenv("NOTIFY_SOCKET")
    notifying.notify(notifying.READY)


# --- replacing workers


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("mintmark.cli.workers.time.monotonic", clock)
    return clock


@pytest.fixture
def pipe() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Where a parent hears of signals, and the other end."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def parent(pipe: tuple[socket.socket, socket.socket]) -> Iterator[workers._Parent]:
    """A parent that has started nobody yet."""
    parent = workers._Parent(2, lambda _: None, pipe[0], lambda: None, lambda: None, patience=10)
    yield parent
    for end in (*parent._ready, *parent._lifeline):
        try:
            os.close(end)
        except OSError:
            assert parent.is_stopping, "only the lifeline is let go, and only when all stop"


def pause_after(parent: workers._Parent, clock: Clock, lived: float) -> float:
    """Let a worker crash after it has lived; return how long its place stays empty."""
    child = parent.children[0]
    child.started_at = clock.now
    clock.now += lived
    with capture_logs() as logs:
        parent._note_end(child, -9)
    assert child.start_at is not None
    assert dict(logs[0]) | {"replaced_in": 0} == {
        "event": "worker ended", "log_level": "error", "worker": 1, "exit_code": -9, "replaced_in": 0
    }  # fmt: skip
    pause = child.start_at - clock.now
    assert parent._pause() == pause
    clock.now = child.start_at
    assert parent._pause() == 0
    return round(pause, 3)


def test_whoever_keeps_crashing_is_replaced_ever_later(parent: workers._Parent, clock: Clock) -> None:
    parent.is_ready = True
    assert [pause_after(parent, clock, 0.1) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert pause_after(parent, clock, 60) == 1
    assert pause_after(parent, clock, 59.9) == 2
    assert not parent.is_stopping


def test_a_crash_before_all_have_answered_ends_all(parent: workers._Parent) -> None:
    parent.children[1].is_ready = True
    parent._note_end(parent.children[0], 3)
    assert (parent.is_stopping, parent.exit_code) == (True, 3)
    assert [child.start_at for child in parent.children] == [None, None]


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (-15, 0), (-2, 0), (1, 1), (-9, 1)])
def test_how_workers_end_that_were_told_to(parent: workers._Parent, code: int, expected: int) -> None:
    parent.is_ready = True
    parent._stop()
    with capture_logs() as logs:
        parent._note_end(parent.children[0], code)
    assert parent.exit_code == expected
    assert [line["event"] for line in logs] == ["worker failed to stop"] * expected
    assert [child.start_at for child in parent.children] == [None, None]


@pytest.fixture
def killed(parent: workers._Parent, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Signals that were sent to workers, two of which answer."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr("mintmark.cli.workers.os.kill", lambda pid, kind: sent.append((pid, kind)))
    monkeypatch.setattr("mintmark.cli.workers.os.waitpid", lambda *_: (0, 0))
    parent.is_ready = True
    for child in parent.children:
        child.pid = 4_000_001 + child.number
    return sent


def test_whoever_does_not_stop_is_killed(parent: workers._Parent, clock: Clock, killed: list[tuple[int, int]]) -> None:
    parent._stop()
    assert parent._pause() == 15
    parent.children[0].pid = 0
    clock.now += 14.9
    parent._kill()
    assert killed == []
    clock.now += 0.2
    parent._kill()
    assert killed == [(4_000_002, signal.SIGKILL)]
    assert parent._pause() is None


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_is_passed_on_and_shortens_that(
    parent: workers._Parent,
    pipe: tuple[socket.socket, socket.socket],
    clock: Clock,
    killed: list[tuple[int, int]],
    kind: signal.Signals,
) -> None:
    """SIGHUP is like any other, except that it comes twice when a terminal is closed."""
    for heard in (signal.SIGHUP, signal.SIGHUP):
        pipe[1].send(bytes([heard]))
        parent._hear_signals()
    assert (parent.is_stopping, parent._pause(), killed) == (True, 15, [])
    pipe[1].send(bytes([kind]))
    parent._hear_signals()
    assert parent._pause() == 5
    both = {signal.SIGTERM, signal.SIGINT}
    assert set(killed) == {(child.pid, passed) for child in parent.children for passed in both}
