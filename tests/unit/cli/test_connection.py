"""How much of a process one connection may take: real sockets, and octets that no client would send."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from mintmark.asgi import Receive, Scope, Send
from mintmark.cli import connection, listening

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nHost: id.example\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: id.example\r\nX-Forwarded-For: 192.0.2.1\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = b"5\r\nhello\r\n0\r\n"
LATE = 0.05
"""Seconds that stand for the 30 of the real limits."""


@dataclass
class Application:
    """Notes what it gets, and answers 200 when it may."""

    scopes: list[Scope] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    is_stream: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        body, is_whole = b"", False
        while not is_whole:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.ended.append("hung up")
                return
            body, is_whole = body + message["body"], not message["more_body"]
        await self.may_answer.wait()
        self.bodies.append(body)
        if self.is_stream:
            assert (await receive())["type"] == "http.disconnect"
            self.ended.append("hung up")
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@dataclass
class Served:
    """A server, and connections to it."""

    application: Application
    port: int
    connect: Callable[[], Awaitable["Client"]]


@dataclass
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answers(self, count: int) -> int:
        """Read so many answers."""
        for _ in range(count):
            head = await self.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), head
            assert await self.reader.readexactly(2) == b"ok"
        return count

    async def rest(self) -> bytes:
        """Read until the other side closes."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(10):
                return await self.reader.read()
        return b""


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    application = Application()
    application.may_answer.set()
    async with contextlib.AsyncExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]

        async def connect() -> Client:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            return Client(reader, writer)

        await stack.enter_async_context(listening.answering(application, listener))
        yield Served(application, port, connect)


def lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return what was logged, but for uvicorn's access log: nobody else listens to it, pytest switches it on by doing so."""
    return [record for record in caplog.records if record.name != "uvicorn.access"]


async def soon(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - it is the server that changes
            await asyncio.sleep(0.005)


# --- what a request is


@pytest.mark.spec("RFC 9110 §6.5.1")
async def test_trailer_fields_never_become_headers(served: Served) -> None:
    """Proxies write X-Forwarded-For into the head, and hand trailers on unread."""
    client = await served.connect()
    for trailer in (
        b"",
        b"X-Forwarded-For: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\nAuthorization: Basic eA==\r\n",
    ):
        client.writer.write(CHUNKED + BODY + trailer + b"\r\n")
        await client.answers(1)
    first, second = served.application.scopes
    assert first["headers"] == second["headers"]
    assert [value for name, value in second["headers"] if name == b"x-forwarded-for"] == [b"192.0.2.1"]
    assert served.application.bodies == [b"hello", b"hello"]


@pytest.mark.parametrize(
    ("before", "piece"),
    [(b"0\r\n", b"a: b\r\n"), (b"0\r\na: ", b"a"), (b"1;", b"a")],
    ids=["trailers", "a long trailer", "a long extension"],
)
async def test_what_frames_a_body_is_limited_as_a_head_is(served: Served, before: bytes, piece: bytes) -> None:
    client = await served.connect()
    client.writer.write(CHUNKED + before)
    whole = piece * (50_000 // len(piece))
    client.writer.write(whole + (b"\r\n" if piece == b"a" else b""))
    client.writer.write(b"x\r\n0\r\n\r\n" if before == b"1;" else b"\r\n")
    await client.answers(1)
    client.writer.write(CHUNKED + before)
    with contextlib.suppress(ConnectionError):
        for _ in range(200):
            client.writer.write(whole)
            await client.writer.drain()
    await client.rest()
    assert client.reader.at_eof() or client.reader.exception() is not None
    await soon(lambda: served.application.ended == ["hung up"])


async def test_bodies_count_for_what_frames_them_only(served: Served) -> None:
    client = await served.connect()
    client.writer.write(CHUNKED)
    for _ in range(100):
        client.writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        await client.writer.drain()
    client.writer.write(b"0\r\n\r\n")
    await client.answers(1)
    assert served.application.bodies == [b"x" * 0x4000 * 100]


@pytest.mark.parametrize(("count", "status"), [(199, b"200"), (200, b"431")])
async def test_headers_have_a_number(served: Served, count: int, status: bytes) -> None:
    client = await served.connect()
    client.writer.write(b"GET / HTTP/1.1\r\nHost: id.example\r\n" + b"a: b\r\n" * count + b"\r\n")
    head = await client.reader.readuntil(b"\r\n\r\n")
    assert head.split()[1] == status
    assert (b"connection: close" in head) == (status == b"431")
    assert len(served.application.scopes) == (status == b"200")


# --- how many wait


@pytest.mark.parametrize("waiting", [1, connection.MAX_PIPELINED])
async def test_requests_that_wait_are_all_answered(served: Served, waiting: int) -> None:
    client = await served.connect()
    client.writer.write(GET * (1 + waiting))
    assert await client.answers(1 + waiting) == 1 + waiting
    client.writer.write(GET)
    assert await client.answers(1) == 1


async def test_whoever_lets_more_wait_is_closed(served: Served) -> None:
    """Without an answer: it would be taken for that to the first request, which has none yet."""
    served.application.may_answer.clear()
    client = await served.connect()
    client.writer.write(GET * (2 + connection.MAX_PIPELINED))
    assert await client.rest() == b""
    assert len(served.application.scopes) <= 1
    served.application.may_answer.set()


@pytest.mark.parametrize("before", [b"", GET])
async def test_what_is_no_http_is_refused(served: Served, before: bytes) -> None:
    client = await served.connect()
    client.writer.write(before)
    await client.answers(bool(before))
    client.writer.write(b"no such thing\r\n\r\n")
    assert (await client.rest()).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "ask",
    [
        b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
        GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
)
async def test_other_protocols_are_not_worth_a_line_in_the_log(
    served: Served, caplog: pytest.LogCaptureFixture, ask: bytes
) -> None:
    client = await served.connect()
    client.writer.write(ask)
    await client.answers(1)
    client.writer.write(GET)
    await client.answers(1)
    assert not lines(caplog)


# --- how long it takes


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", LATE)
    monkeypatch.setattr(connection, "BODY_SECONDS", LATE)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("sent", [b"\r\n", b"GET / HT", CHUNKED, CHUNKED + b"5\r\nhel", CHUNKED + BODY + b"a: b\r\n"])
async def test_whoever_takes_too_long_is_closed(
    served: Served, caplog: pytest.LogCaptureFixture, before: int, sent: bytes
) -> None:
    client = await served.connect()
    client.writer.write(GET * before)
    await client.answers(before)
    client.writer.write(sent)
    assert await client.rest() == b""
    await soon(lambda: len(served.application.ended) == sent.startswith(CHUNKED))
    assert not lines(caplog)


@pytest.mark.usefixtures("hurried")
async def test_whoever_connects_has_to_say_something(served: Served) -> None:
    client = await served.connect()
    assert await client.rest() == b""


@pytest.mark.usefixtures("hurried")
async def test_whoever_waits_for_us_is_not_late(served: Served) -> None:
    """Neither an answer that takes long, with more requests behind it, nor silence between two requests is a delay."""
    served.application.may_answer.clear()
    client = await served.connect()
    client.writer.write(GET * 2 + GET[:10])
    await asyncio.sleep(4 * LATE)
    client.writer.write(GET[10:])
    served.application.may_answer.set()
    await client.answers(3)
    await asyncio.sleep(4 * LATE)
    client.writer.write(GET)
    await client.answers(1)


async def test_requests_cost_no_timer_of_their_own(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[connection.Protocol] = []
    expect = connection.Protocol._expect

    def noted(self: connection.Protocol) -> None:
        made.append(self)
        expect(self)

    monkeypatch.setattr(connection.Protocol, "_expect", noted)
    client = await served.connect()
    await soon(lambda: made != [])
    timer = made[0]._timer
    for _ in range(20):
        client.writer.write(GET)
        await client.answers(1)
    assert len(made) == 20
    assert timer is not None
    assert made[0]._timer is timer
    client.writer.close()
    await soon(timer.cancelled)


async def test_whoever_is_gone_is_noticed_behind_further_requests_as_well(served: Served) -> None:
    """What answers the first request, such as a stream, would go on for ever."""
    served.application.is_stream = True
    client = await served.connect()
    client.writer.write(GET * 3)
    await soon(lambda: served.application.bodies == [b""])
    client.writer.close()
    await soon(lambda: served.application.ended == ["hung up"])
    assert len(served.application.scopes) == 1


# --- how it stops


@pytest.mark.parametrize("sent", [b"", b"GET / HT", GET + b"GET / HT", CHUNKED + b"5\r\nhel"])
async def test_what_is_incomplete_is_not_waited_for(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    monkeypatch.setattr(connection, "LAST_SECONDS", LATE)
    made: list[connection.Protocol] = []
    monkeypatch.setattr(connection.Protocol, "connection_made", noting(made, connection.Protocol.connection_made))
    client = await served.connect()
    client.writer.write(sent)
    await client.answers(sent.startswith(GET))
    await soon(lambda: bool(made) and (not sent or made[0]._deadline is not None))
    await asyncio.sleep(LATE)
    made[0].shutdown()
    assert await client.rest() == b""
    assert not lines(caplog)


async def test_a_body_that_comes_at_once_is_still_answered(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many clients send it in a packet of its own."""
    made: list[connection.Protocol] = []
    monkeypatch.setattr(connection.Protocol, "connection_made", noting(made, connection.Protocol.connection_made))
    client = await served.connect()
    client.writer.write(CHUNKED)
    await soon(lambda: served.application.scopes != [])
    made[0].shutdown()
    client.writer.write(BODY + b"\r\n")
    head = await client.reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in head
    assert await client.rest() == b"ok"


def noting(made: list[connection.Protocol], done: Callable[..., None]) -> Callable[..., None]:
    def noted(self: connection.Protocol, transport: asyncio.Transport) -> None:
        made.append(self)
        done(self, transport)

    return noted
