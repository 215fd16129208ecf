"""Answering on a socket until a signal says stop: what every server of this command line shares."""

import asyncio
import contextlib
import errno
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

import uvicorn

from mintmark.cli.connection import Protocol
from mintmark.cli.refusal import Refusal

BACKLOG: Final = 2048
KEEP_ALIVE: Final = 120
"""Seconds for which a connection may be silent between two requests.

Longer than proxies keep theirs (60 in nginx and most load balancers, 90 in Traefik): they have to be the ones who close
an idle connection. Should we, a request might just be under way, and a POST cannot be sent again.
"""
_PORTS_TO_TRY: Final = 100
_TICK: Final = 0.1
HANG_UP: Final[int | None] = getattr(signal, "SIGHUP", None)
"""What a process gets whose terminal is closed; there is none on Windows."""


@dataclass(frozen=True, slots=True)
class Stop:
    """How a server stops.

    Attributes:
        patience: Seconds that requests under way get to finish.
        drain_delay: Seconds before that in which new ones are still answered, while those who send them hear that they
            should go elsewhere.
        lifeline: End of a pipe: when the other end is closed the server stops, as at a signal.
    """

    patience: int
    drain_delay: int = 0
    lifeline: int | None = None


class _Server(uvicorn.Server):
    """Says when it is ready and when it stops, and ends with an ordinary exit instead of raising the signal again."""

    def __init__(
        self, config: uvicorn.Config, on_ready: Callable[[], None], on_stop: Callable[[], None], stop: Stop
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._stop = stop
        self._signals = 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self._stop.lifeline is not None:
            asyncio.get_running_loop().add_reader(self._stop.lifeline, self._let_go, self._stop.lifeline)
        self._on_ready()

    def _let_go(self, lifeline: int) -> None:
        # Not counted as a signal: a worker often gets the one that its parent got as well.
        asyncio.get_running_loop().remove_reader(lifeline)
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stop()
        self._take_leave()
        clock, tick = asyncio.get_running_loop().time, 0
        until = clock() + self._stop.drain_delay
        while clock() < until and not self.force_exit:
            await self.on_tick(tick)
            await asyncio.sleep(_TICK)
            tick += 1
        await super().shutdown(sockets=sockets)
        self._hang_up()

    def _take_leave(self) -> None:
        """Ask whoever is answered from now on to come back on another connection (RFC 9112 §9.6).

        No connection is closed before it was said: a proxy takes one on which a stream has just ended for another
        request at once, and that would be lost.
        """
        self.config.encoded_headers.append((b"connection", b"close"))
        self.server_state.default_headers.append((b"connection", b"close"))
        for connection in self.server_state.connections:
            cycle = getattr(connection, "cycle", None)
            if cycle is not None and not cycle.response_started:
                cycle.keep_alive = False

    def _hang_up(self) -> None:
        """Let go whoever is still there: nobody waits for them, and that is no fault of the application's."""
        for connection in list(self.server_state.connections):
            if isinstance(connection, Protocol):
                connection.hang_up()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            if HANG_UP is None or (before := signal.getsignal(HANG_UP)) == signal.SIG_IGN:  # as `nohup` asks for
                yield
                return
            signal.signal(HANG_UP, self.handle_exit)
            try:
                yield
            finally:
                signal.signal(HANG_UP, before)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        if sig == HANG_UP and self._signals:
            return  # the kernel and the shell of a terminal both send it
        self._signals += 1
        self.force_exit = self._signals > 1  # the second signal does not wait for anybody
        self.should_exit = True


class _Beside(uvicorn.Server):
    """Leaves the signals to the other server."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        return contextlib.nullcontext()


def listen(host: str, port: int, *, how_to_move: Callable[[int], str]) -> socket.socket:
    """Take the port, before anything else is done.

    Args:
        host: Address or name.
        port: From 1 to 65535.
        how_to_move: Says how to use the free port it is given.

    Raises:
        Refusal: The port is taken or not allowed, or the host is not an address of this machine.
    """
    try:
        return _bound(host, port)
    except UnicodeError as error:
        raise Refusal(f"cannot listen on {host}: no name looks like that") from error
    except OSError as error:
        raise Refusal(_why_not(error, host, port, how_to_move)) from error


def _bound(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    # create_server sets SO_REUSEADDR where that is safe; it listens at once, since a port that is bound but not
    # listened to could be bound by a second process as well.
    return socket.create_server((str(address[0]), port), family=family, backlog=BACKLOG)


def _why_not(error: OSError, host: str, port: int, how_to_move: Callable[[int], str]) -> str:
    if error.errno == errno.EADDRINUSE:
        free = _free_port(host, port)
        advice = f"{free} is free: {how_to_move(free)}" if free else "no port near it is free either"
        return f"port {port} on {host} is taken, perhaps by another mintmark; {advice}"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"this user may not listen on port {port}; use one from 1024 up, behind a proxy if need be"
    return f"cannot listen on {host}: {error.strerror or error}; host must be an address of this machine"


def _free_port(host: str, port: int) -> int | None:
    for candidate in range(port + 1, min(port + 1 + _PORTS_TO_TRY, 65536)):
        with contextlib.suppress(OSError), _bound(host, candidate):
            return candidate
    return None


def url_of(host: str, port: int) -> str:
    """Return where an address answers."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def answer(
    application: Any,
    listener: socket.socket,
    *,
    on_ready: Callable[[], None],
    on_stop: Callable[[], None],
    stop: Stop,
    protocol: type[Protocol] = Protocol,
) -> None:
    """Answer requests until SIGINT, SIGTERM or SIGHUP, then finish those under way; a second signal ends them.

    Args:
        application: An ASGI application; it is not told of the start and the end.
        listener: As `listen` returns it.
        on_ready: Called once connections are accepted.
        on_stop: Called when the signal has come, before anything is waited for.
        stop: How to.
        protocol: Reads the requests.
    """
    config = _config(application, protocol, stop.patience)
    await _Server(config, on_ready, on_stop, stop).serve(sockets=[listener])


@contextlib.asynccontextmanager
async def answering(application: Any, listener: socket.socket) -> AsyncIterator[None]:
    """Answer requests on a second socket while the context lasts."""
    server = _Beside(_config(application, Protocol, patience=1))
    task = asyncio.create_task(server.serve(sockets=[listener]), name="mintmark beside")
    try:
        yield
    finally:
        server.should_exit = True
        await task


def _config(application: Any, protocol: type[Protocol], patience: int) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=protocol,
        # The application knows which proxies may say what address a request came from (`web.forwarded`).
        proxy_headers=False,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=patience,
    )


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` on the fastest event loop there is."""
    factory = None
    if sys.platform != "win32":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)
