"""One connection of a client, and how much of this process it may take."""

import asyncio
from typing import Final

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

MAX_HEAD_BYTES: Final = 65_536
"""Of a head; and once more of what frames a body: sizes of chunks, extensions, trailer fields."""
MAX_HEADERS: Final = 200
MAX_PIPELINED: Final = 32
"""Requests that may wait for the answer to the one before."""
HEAD_SECONDS: Final = 30
"""From the connection, or the first octet of a further request, to the end of the head."""
BODY_SECONDS: Final = 30
"""From there to the end of the body."""
LAST_SECONDS: Final = 2
"""What is left to a body that is still coming when the server stops."""

_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

_NOTHING, _HEAD, _BODY = range(3)


class _TooMuchError(Exception):
    """More than a client may send. The parser ends with it, and the connection with the parser."""


class Protocol(HttpToolsProtocol):
    """Reads requests within bounds: the parser has none of its own, neither in size nor in number nor in time."""

    _reading = _NOTHING
    _framing = 0
    _is_too_large = False
    # While something is expected. The timer may run out earlier, and is then set again; so a request costs none.
    _deadline: float | None = None
    _timer: asyncio.TimerHandle | None = None
    _answered: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Expect a request."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing any more, and tell whoever answers."""
        self._deadline = None
        if self._timer is not None:
            self._timer.cancel()
        self._tell_of_the_end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count, and close the connection beyond the limit."""
        if self._framing > MAX_HEAD_BYTES:
            self._is_too_large = True
            self.send_400_response("")
            return
        self._framing += len(data)
        if self._deadline is None:
            self._expect()
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Begin a head, unless too many requests wait already."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise _TooMuchError
        self._reading, self._framing = _HEAD, 0
        if self._deadline is None:
            self._expect()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, but no trailer field: those come with the body, past the proxies that guard the head.

        RFC 9110 §6.5.1: what was not defined for trailers must not be merged into the head.
        """
        if self._reading != _HEAD:
            return
        if len(self.headers) >= MAX_HEADERS:
            self._is_too_large = True
            raise _TooMuchError
        # As the base class does, whose method would cost more than this: there are many headers.
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Begin a body: its length is the application's affair, what frames it is counted anew."""
        self._reading, self._framing = _BODY, 0
        if self._deadline is not None:
            self._deadline += BODY_SECONDS
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Leave the body itself out of what frames it."""
        self._framing -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect nothing until the next request begins."""
        self._reading, self._deadline = _NOTHING, None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse and close; without a word where it would be taken for the answer to another request."""
        if not self._may_answer():
            self.transport.close()
        elif self._is_too_large:
            self.transport.write(_TOO_LARGE)
            self.transport.close()
        else:
            super().send_400_response(msg)

    def shutdown(self) -> None:
        """Close once what is under way has been answered; a request that is incomplete is not waited for."""
        super().shutdown()
        if self._reading == _BODY:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._expect(LAST_SECONDS)

    def hang_up(self) -> None:
        """Close at once, whatever is under way; whoever answers finds that nobody is there any more."""
        self._tell_of_the_end()
        self.transport.abort()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def _tell_of_the_end(self) -> None:
        # The base class tells the request that came last, which may be one that waits.
        if self._answered is not None and not self._answered.response_complete:
            self._answered.disconnected = True
            self._answered.message_event.set()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: a client that asks for another protocol gets its answer in this one (RFC 9110 §7.8)."""

    def _may_answer(self) -> bool:
        if self._reading == _BODY:
            return not (self.pipeline or self.cycle.response_started)
        return not self._is_owing()

    def _is_owing(self) -> bool:
        """Tell whether an earlier request than the one that is read has no answer yet."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete and self._reading != _BODY

    def _expect(self, seconds: float | None = None) -> None:
        self._deadline = self.loop.time() + (HEAD_SECONDS if seconds is None else seconds)
        if self._timer is None:
            self._timer = self.loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        """Hang up on whoever is late. While it is us who do not read, or who owe an answer first, nobody is."""
        self._timer = None
        if self._deadline is None:
            return
        if self._is_owing() or self.flow.read_paused:
            self._expect()
        elif self.loop.time() < self._deadline:
            self._timer = self.loop.call_at(self._deadline, self._look)
        else:
            self.transport.abort()
