"""The load: 32 connections, each with one request at a time, over HTTP/1.1 written by hand.

A client library would be slower than the server. What is sent is ready-made bytes; of an answer only the status, the
length and, where the next request depends on it, the body are looked at.
"""

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from typing import Final, Protocol

import uvloop

from bench import machine

CONNECTIONS: Final = 32
WARM_UP: Final = 0.3
_LAST_ANSWERS: Final = 0.2
_ONE_ANSWER: Final = 20.0
_LENGTH: Final = b"ength: "
"""Of ``content-length``, in whatever case."""


class Client(Protocol):
    """Decides what one connection sends."""

    def request(self) -> bytes:
        """Return the next request, whole."""
        ...

    def answered(self, body: bytes) -> None:
        """Take the body of the answer."""
        ...


@dataclass
class Repeating:
    """Sends the same requests in turn and forgets the answers."""

    requests: list[bytes]
    turn: int = 0

    def request(self) -> bytes:
        """Return the next one."""
        self.turn += 1
        return self.requests[self.turn % len(self.requests)]

    def answered(self, body: bytes) -> None:
        """Nothing depends on it."""


@dataclass(frozen=True)
class Measured:
    """What a load found.

    Attributes:
        rate: Requests answered each second.
        p99_ms: 99 of 100 requests were answered in so many milliseconds.
        server_busy: Part of its core that the server used; what is missing to 1 it waited, or others took.
        load_busy: Part of the other core that the load used; near 1 it would have measured itself.
    """

    rate: float
    p99_ms: float
    server_busy: float
    load_busy: float

    @property
    def rate_of_core(self) -> float:
        """Requests answered in each second of processor time: the rate, had the server had its core to itself."""
        return self.rate / self.server_busy


@dataclass
class _Run:
    """What all connections of one load share."""

    ended: "asyncio.Future[None]"
    latencies: list[float] = field(default_factory=list)
    is_stopping: bool = False

    async def lasts(self, seconds: float) -> None:
        """Let it go on for a while, or until it ends by itself."""
        await asyncio.wait([self.ended], timeout=seconds)
        if self.ended.done():
            self.ended.result()


class _Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, client: Client, run: _Run) -> None:
        self._client = client
        self._run = run
        self._buffer = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = transport  # type: ignore[assignment]  # TCP has the whole interface
        self._send()

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer; once it is whole, send the next request."""
        data = self._buffer + data
        self._buffer = data
        head = data.find(b"\r\n\r\n")
        if head < 0:
            return
        start = data.find(_LENGTH, 0, head) + len(_LENGTH)
        if not data.startswith(b"HTTP/1.1 200 ") or start < len(_LENGTH):
            self._fail(data)
            return
        if len(data) < head + 4 + int(data[start : data.find(b"\r", start)]):
            return
        self._run.latencies.append(time.perf_counter() - self._sent_at)
        self._buffer = b""
        self._client.answered(data[head + 4 :])
        if not self._run.is_stopping:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody may close but us."""
        if not self._run.is_stopping:
            self._fail(repr(exc).encode())

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def _send(self) -> None:
        request = self._client.request()
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def _fail(self, answer: bytes) -> None:
        if not self._run.ended.done():
            self._run.ended.set_exception(RuntimeError(f"not the answer that was to be measured: {answer[:600]!r}"))


def measure(server: machine.Server, clients: list[Client], seconds: float) -> Measured:
    """Load a server, one connection for each client, and count after the warm-up.

    Raises:
        RuntimeError: An answer was not 200: such a figure would mean nothing.
    """
    return uvloop.run(_measure(server, clients, seconds))


async def _measure(server: machine.Server, clients: list[Client], seconds: float) -> Measured:
    run = _Run(asyncio.get_running_loop().create_future())
    ports = itertools.cycle((server.port, *server.further_ports))
    connections = [await _connect(next(ports), client, run) for client in clients]
    await run.lasts(WARM_UP)
    run.latencies.clear()
    start, served, loaded = time.perf_counter(), server.cpu_seconds(), time.process_time()
    await run.lasts(seconds)
    latencies = sorted(run.latencies)
    elapsed = time.perf_counter() - start
    found = Measured(
        rate=len(latencies) / elapsed,
        p99_ms=latencies[int(len(latencies) * 0.99)] * 1000,
        server_busy=(server.cpu_seconds() - served) / elapsed,
        load_busy=(time.process_time() - loaded) / elapsed,
    )
    run.is_stopping = True
    await asyncio.sleep(_LAST_ANSWERS)  # what is still under way carries refresh tokens for the next round
    for connection in connections:
        connection.close()
    return found


async def _connect(port: int, client: Client, run: _Run) -> _Connection:
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: _Connection(client, run), "127.0.0.1", port
    )
    return connection


@dataclass
class _Once:
    """Sends one request and keeps the body of its answer."""

    sent: bytes
    body: "asyncio.Future[bytes]"

    def request(self) -> bytes:
        return self.sent

    def answered(self, body: bytes) -> None:
        self.body.set_result(body)


def fetch(server: machine.Server, requests: list[bytes]) -> list[bytes]:
    """Send requests one after the other and return the bodies of the answers.

    Raises:
        RuntimeError: An answer was not 200.
    """

    async def fetch_all() -> list[bytes]:
        return [await _fetch(server.port, request) for request in requests]

    return uvloop.run(fetch_all())


async def _fetch(port: int, request: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    run = _Run(loop.create_future(), is_stopping=True)
    once = _Once(request, loop.create_future())
    connection = await _connect(port, once, run)
    once.body.add_done_callback(lambda _: run.ended.set_result(None))
    await run.lasts(_ONE_ANSWER)
    connection.close()
    return once.body.result()
