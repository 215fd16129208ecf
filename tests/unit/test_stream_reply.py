"""A response that goes on and on: whom it ends for, and how (`mintmark.asgi.Stream`)."""

import asyncio
from collections.abc import AsyncGenerator, Callable, MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.support.feed import Reader, settle

from mintmark.asgi import ASGIApp, Incoming, Reply, Stream, endpoint
from mintmark.oauth.errors import OAuthError

pytestmark = pytest.mark.anyio

HEADERS = ((b"content-type", b"text/plain"),)


class Source:
    """Parts that come when told.

    Attributes:
        is_closed: Whether it was told that nobody wants more.
    """

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.is_closed = False
        self.stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def parts(self) -> AsyncGenerator[bytes, None]:
        try:
            while (part := await self.queue.get()) is not None:
                if isinstance(part, Exception):
                    raise part
                yield part
        finally:
            self.is_closed = True

    def app(self, patience: float = 60, **options: Any) -> ASGIApp:
        async def handler(_: Incoming) -> Stream:
            return Stream(self.parts(), HEADERS, patience, self.stopped)

        def render(error: OAuthError) -> Reply:
            return Reply(error.status, b"no", HEADERS)

        return endpoint(handler, ("GET",), render, path="/stream", **options)

    def put(self, *parts: bytes | Exception | None) -> None:
        for part in parts:
            self.queue.put_nowait(part)


@pytest.fixture
async def source() -> Source:
    return Source()


async def test_parts_are_sent_as_they_come_until_they_end(source: Source) -> None:
    async with Reader(source.app()) as reader:
        assert len(reader.headers.pop(b"x-request-id")) > 8
        assert (reader.status, reader.headers, reader.parts) == (200, dict(HEADERS), [])
        source.put(b"one")
        await settle()
        assert reader.parts == [b"one"]
        source.put(b"two", None)
        await reader.ended()
    assert (reader.parts, reader.is_whole) == ([b"one", b"two"], True)
    assert source.is_closed


async def test_other_origins_are_let_in_where_they_may(source: Source) -> None:
    async with Reader(source.app(is_cors=True)) as reader:
        assert reader.headers[b"access-control-allow-origin"] == b"*"


async def test_when_the_receiver_leaves_the_source_is_closed(source: Source) -> None:
    async with Reader(source.app()) as reader:
        source.put(b"one")
        await settle()
        reader.leave()
        await reader.ended()
    assert source.is_closed
    assert (reader.was_cut_off, reader.is_whole) == (False, False)


async def test_when_the_server_stops_the_response_ends_properly(source: Source) -> None:
    async with Reader(source.app()) as reader:
        source.stopped.set_result(None)
        await reader.ended()
        assert reader.is_whole
    assert source.is_closed
    async with Reader(source.app()) as late:
        await late.ended()
        assert late.is_whole


async def test_when_the_server_stops_who_takes_nothing_is_cut_off(source: Source) -> None:
    """The stop waits for nobody."""
    async with Reader(source.app()) as reader:
        reader.gate.clear()
        source.put(b"one")
        await settle()
        source.stopped.set_result(None)
        await reader.ended()
    assert (reader.was_cut_off, reader.is_whole, source.is_closed) == (True, False, True)


async def test_who_takes_too_long_is_cut_off(source: Source) -> None:
    with capture_logs() as logs:
        async with Reader(source.app(patience=0)) as reader:
            reader.gate.clear()
            source.put(b"one")
            await reader.ended()
    assert (reader.was_cut_off, reader.is_whole, source.is_closed) == (True, False, True)
    assert [entry["event"] for entry in logs if entry["log_level"] != "debug"] == ["cut off"]


async def test_waiting_for_a_part_may_take_as_long_as_it_likes(source: Source) -> None:
    """Patience is for the receiver, not for the source."""
    async with Reader(source.app(patience=0)) as reader:
        await settle()
        assert not reader.is_over
        source.put(b"one", None)
        await reader.ended()
    assert (reader.parts, reader.is_whole) == ([b"one"], True)


@pytest.mark.spec("invariant I8")
async def test_a_fault_in_the_middle_breaks_the_response_off_and_is_logged(source: Source) -> None:
    """It must not look complete; and the log says where, without the exception's text."""
    with capture_logs() as logs:
        async with Reader(source.app()) as reader:
            source.put(b"one", RuntimeError("mmr_secret"))
            await reader.ended()
    assert (reader.parts, reader.was_cut_off, reader.is_whole) == ([b"one"], True, False)
    faults = [(entry["event"], entry["path"], entry["kind"]) for entry in logs if entry["log_level"] == "error"]
    assert faults == [("fault", "/stream", "RuntimeError")]
    assert "mmr_secret" not in str(logs)


async def test_a_server_that_cannot_cut_off_gets_an_unfinished_response(source: Source) -> None:
    async with Reader(source.app()) as reader:
        del reader._scope["extensions"]
        source.put(RuntimeError())
        await reader.ended()
    assert (reader.was_cut_off, reader.is_whole) == (False, False)


async def test_whoever_is_cancelled_leaves_nothing_behind(source: Source) -> None:
    reader = Reader(source.app())
    async with reader:
        reader._task.cancel()
        await asyncio.wait({reader._task})
        assert source.is_closed
        reader._task = asyncio.ensure_future(asyncio.sleep(0))


async def test_head_gets_the_headers_and_no_body(source: Source) -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "http", "method": "HEAD", "path": "/", "query_string": b"", "headers": []}
    await source.app()(scope, receive, send)
    assert [(message["type"], message.get("body")) for message in sent] == [
        ("http.response.start", None),
        ("http.response.body", b""),
    ]
    assert "more_body" not in sent[1]


async def test_what_is_refused_before_is_refused_as_ever() -> None:
    async def handler(_: Incoming) -> Stream:
        raise OAuthError("invalid_request", "no")

    refusal: Callable[[OAuthError], Reply] = lambda error: Reply(error.status, b"no", HEADERS)  # noqa: E731
    async with Reader(endpoint(handler, ("GET",), refusal, path="/stream")) as reader:
        await reader.ended()
    assert (reader.status, reader.parts) == (400, [b"no"])
