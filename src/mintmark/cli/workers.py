"""Several processes that answer on the same sockets, and the one that started them.

The parent takes the sockets, forks, and from then on does nothing but wait. It opens no database and starts no thread, so
that it can fork again at any time.

A worker says over a pipe that it answers, and stops when its lifeline closes: another pipe, whose other end only the
parent holds. So no worker outlives its parent, however that ends; and a signal that reaches all of them (a terminal's
Ctrl-C, a service manager) is not counted twice.
"""

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, NoReturn

import click
import structlog

MOST: Final = 64

_STOPPING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_SIGNALS: Final = (*_STOPPING, signal.SIGCHLD)
_TOLD_TO_STOP: Final = (0, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)
"""How a worker ends that stops, or is stopped before it answers."""
_FIRST_PAUSE: Final = 1.0
"""Seconds until a worker that crashed is replaced; twice as long after each further crash, up to ``_LONGEST_PAUSE``."""
_LONGEST_PAUSE: Final = 30.0
_LONG_LIFE: Final = 60.0
"""Seconds after which a crash counts as the first one again."""
_MARGIN: Final = 5.0
"""Seconds that a worker gets beyond what it needs to stop: then it hangs, and is killed."""

log = structlog.get_logger("mintmark")


@dataclass(frozen=True, slots=True)
class Worker:
    """What a worker is told.

    Attributes:
        number: From 0 on.
        lifeline: It stops when the other end of this pipe is closed.
        ready: To be called when it answers.
    """

    number: int
    lifeline: int
    ready: Callable[[], None]


def supervise(
    count: int,
    work: Callable[[Worker], None],
    *,
    on_ready: Callable[[], None],
    on_stop: Callable[[], None],
    patience: float,
) -> int:
    """Keep ``count`` workers going until SIGINT, SIGTERM or SIGHUP; return the exit code.

    A worker that crashes is replaced. If one ends before all of them have answered, all stop: what is wrong is wrong for
    all of them, and was said.

    Args:
        count: How many.
        work: What each does, in a process of its own; it returns when the worker has stopped.
        on_ready: Called when all of them answer for the first time.
        on_stop: Called when a signal has come.
        patience: Seconds that they need at most to stop; whoever takes much longer is killed.
    """
    with _listening_to_signals() as signals:
        return _Parent(count, work, signals, on_ready, on_stop, patience).run()


@dataclass(slots=True)
class _Child:
    """One of the workers: a process, or a place that waits for the next one."""

    number: int
    pid: int = 0
    started_at: float = 0.0
    crashes: int = 0
    start_at: float | None = None
    is_ready: bool = False


@dataclass(slots=True)
class _Parent:
    """The process that waits."""

    count: int
    work: Callable[[Worker], None]
    signals: socket.socket
    on_ready: Callable[[], None]
    on_stop: Callable[[], None]
    patience: float
    children: list[_Child] = field(init=False)
    is_ready: bool = False
    is_stopping: bool = False
    exit_code: int = 0
    kill_at: float | None = None
    _lifeline: tuple[int, int] = field(init=False)
    _ready: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.children = [_Child(number) for number in range(self.count)]
        self._lifeline = os.pipe()
        self._ready = os.pipe()

    def run(self) -> int:
        for child in self.children:
            self._start(child)
        with selectors.DefaultSelector() as selector:
            selector.register(self.signals, selectors.EVENT_READ, self._hear_signals)
            selector.register(self._ready[0], selectors.EVENT_READ, self._hear_workers)
            while any(child.pid for child in self.children) or not self.is_stopping:
                for key, _ in selector.select(self._pause()):
                    key.data()
                self._replace()
                self._kill()
        for end in (*self._ready, self._lifeline[0]):
            os.close(end)
        return self.exit_code

    def _pause(self) -> float | None:
        """Return the seconds until a worker is due to start, or to be killed; ``None`` if none is."""
        times = [self.kill_at, *(child.start_at for child in self.children)]
        due = [at for at in times if at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _hear_signals(self) -> None:
        for number in self.signals.recv(4096):
            # A second SIGHUP means nothing: the kernel and the shell of a terminal that is closed both send it.
            if number in _STOPPING and not (self.is_stopping and number == signal.SIGHUP):
                self._stop()
        self._reap()

    def _hear_workers(self) -> None:
        for number in os.read(self._ready[0], 4096):
            self.children[number].is_ready = True
        if not self.is_ready and not self.is_stopping and all(child.is_ready for child in self.children):
            self.is_ready = True
            self.on_ready()

    def _stop(self) -> None:
        if self.is_stopping:
            # As in a process of its own, the second signal does not wait for anybody. Two, since to a worker whose
            # lifeline has closed one means nothing new.
            for child in self.children:
                for kind in (signal.SIGTERM, signal.SIGINT) if child.pid else ():
                    os.kill(child.pid, kind)
            self.kill_at = time.monotonic() + _MARGIN
            return
        self.is_stopping = True
        self.on_stop()
        self._let_go()

    def _let_go(self) -> None:
        os.close(self._lifeline[1])
        self.kill_at = time.monotonic() + self.patience + _MARGIN
        for child in self.children:
            child.start_at = None

    def _kill(self) -> None:
        """End whoever hears nothing: a process that was stopped, or whose event loop hangs."""
        if self.kill_at is None or time.monotonic() < self.kill_at:
            return
        self.kill_at = None
        for child in self.children:
            if child.pid:
                os.kill(child.pid, signal.SIGKILL)

    def _reap(self) -> None:
        for child in self.children:
            if child.pid == 0:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                child.pid = 0
                self._note_end(child, os.waitstatus_to_exitcode(status))

    def _note_end(self, child: _Child, code: int) -> None:
        if self.is_stopping:
            if code not in _TOLD_TO_STOP:
                self.exit_code = self.exit_code or 1
                log.error("worker failed to stop", worker=child.number + 1, exit_code=code)
            return
        if not self.is_ready:
            self.exit_code = code if code > 0 else 1
            self.is_stopping = True
            self._let_go()
            return
        lived = time.monotonic() - child.started_at
        child.crashes = 1 if lived >= _LONG_LIFE else child.crashes + 1
        pause = min(_FIRST_PAUSE * 2 ** (child.crashes - 1), _LONGEST_PAUSE)
        child.start_at = time.monotonic() + pause
        log.error("worker ended", worker=child.number + 1, exit_code=code, replaced_in=pause)

    def _replace(self) -> None:
        for child in self.children:
            if child.start_at is not None and time.monotonic() >= child.start_at:
                self._start(child)

    def _start(self, child: _Child) -> None:
        child.start_at, child.started_at, child.is_ready = None, time.monotonic(), False
        # Until the child has said what it does about signals, none may come: it would take it for its parent's.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid == 0:
            self._live(child.number)
        child.pid = pid
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _live(self, number: int) -> NoReturn:
        """Be a worker, and end as one: whatever happens, nothing of what the parent does may happen here."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for kind in _SIGNALS:
                if signal.getsignal(kind) != signal.SIG_IGN:
                    signal.signal(kind, signal.SIG_DFL)
            self.signals.close()
            os.close(self._lifeline[1])
            os.close(self._ready[0])
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self.work(Worker(number, self._lifeline[0], lambda: self._say_ready(number)))
            code = 0
        except click.ClickException as refusal:
            refusal.show()
            code = refusal.exit_code
        except BaseException:  # noqa: BLE001 - this process ends here
            sys.excepthook(*sys.exc_info())
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _say_ready(self, number: int) -> None:
        os.write(self._ready[1], bytes([number]))


@contextlib.contextmanager
def _listening_to_signals() -> Iterator[socket.socket]:
    """Yield a socket from which the numbers of signals can be read."""
    hears, told = socket.socketpair()
    with hears, told:
        told.setblocking(False)
        # `nohup` asks for SIGHUP to be ignored.
        heard = [kind for kind in _SIGNALS if kind != signal.SIGHUP or signal.getsignal(kind) != signal.SIG_IGN]
        before = {kind: signal.signal(kind, lambda *_: None) for kind in heard}
        signal.set_wakeup_fd(told.fileno())
        try:
            yield hears
        finally:
            signal.set_wakeup_fd(-1)
            for kind, handler in before.items():
                signal.signal(kind, handler)
