"""Responses on their way out: whole ones, and those that go on and on."""

import asyncio
from collections.abc import MutableMapping
from dataclasses import dataclass
from traceback import format_tb
from typing import Any, Final

from mintmark.asgi.messages import CUT_OFF, Headers, Receive, Reply, Scope, Send, Stream
from mintmark.asgi.noting import log

_FAREWELL_SECONDS: Final = 0.1


async def send_reply(send: Send, reply: Reply, headers: Headers, *, has_body: bool) -> None:
    """Send a response whole; ``headers`` in the place of its own."""
    # RFC 9110 §8.6: none with 204; with 304 it would speak of another body.
    if reply.status not in {204, 304}:
        headers = (*headers, (b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body if has_body else b""})


async def send_stream(
    stream: Stream, headers: Headers, path: str, scope: Scope, receive: Receive, send: Send, *, has_body: bool
) -> None:
    """Send a stream until it ends, the receiver leaves or is too slow, or the server stops.

    Args:
        stream: Closed afterwards.
        headers: In the place of its own.
        path: What the log calls it.
        scope: Of the request, as are ``receive`` and ``send``.
        receive: Tells when the receiver leaves.
        send: Takes what is sent.
        has_body: False for ``HEAD``.
    """
    await _Streaming(stream, headers, path, scope, receive, send).run(has_body=has_body)


def log_fault(path: str, problem: BaseException) -> None:
    """Log a fault of ours: where, but not the exception's text, which may quote what was sent to us."""
    log.error("fault", path=path, kind=type(problem).__name__, where=format_tb(problem.__traceback__)[-3:])


class _TooSlowError(Exception):
    """The receiver did not take a part in time."""


@dataclass(frozen=True, slots=True)
class _Streaming:
    """One ``Stream`` on its way."""

    stream: Stream
    headers: Headers
    path: str
    scope: Scope
    receive: Receive
    send: Send

    async def run(self, *, has_body: bool) -> None:
        """See ``send_stream``."""
        patience = self.stream.patience
        pouring = leaving = None
        try:
            start = {"type": "http.response.start", "status": 200, "headers": self.headers}
            await self._hand_over(start, patience)
            if has_body:
                pouring = asyncio.create_task(self._pour(patience))
                leaving = asyncio.create_task(self._gone())
                await self._first_of(pouring, leaving)
            else:
                await self._end(patience)
        except Exception as problem:  # noqa: BLE001 - the edge, as in `endpoints`; but the response has begun
            if isinstance(problem, _TooSlowError):
                log.info("cut off", path=self.path, why="the receiver is too slow")
            else:
                log_fault(self.path, problem)
            await self._cut_off(leaving)
        finally:
            for task in (pouring, leaving):
                if task is not None:
                    await _ended(task)
            await self.stream.parts.aclose()

    async def _first_of(self, pouring: "asyncio.Task[None]", leaving: "asyncio.Task[None]") -> None:
        await asyncio.wait({pouring, leaving, self.stream.stopped}, return_when=asyncio.FIRST_COMPLETED)
        if leaving.done():
            return
        if pouring.done():
            await pouring
            return
        await _ended(pouring)
        await self._end(_FAREWELL_SECONDS)

    async def _pour(self, patience: float) -> None:
        async for part in self.stream.parts:
            await self._hand_over({"type": "http.response.body", "body": part, "more_body": True}, patience)
        await self._end(patience)

    async def _end(self, patience: float) -> None:
        await self._hand_over({"type": "http.response.body", "body": b""}, patience)

    async def _hand_over(self, message: MutableMapping[str, Any], patience: float) -> None:
        try:
            async with asyncio.timeout(patience):
                await self.send(message)
        except TimeoutError as problem:
            raise _TooSlowError from problem

    async def _gone(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def _cut_off(self, leaving: "asyncio.Task[None] | None") -> None:
        extension = (self.scope.get("extensions") or {}).get(CUT_OFF)
        if extension is not None:
            extension["now"]()
            if leaving is not None:
                # The server hears of it in a moment; to return before that looks like a response left unfinished.
                await asyncio.wait({leaving}, timeout=_FAREWELL_SECONDS)


async def _ended(task: "asyncio.Task[None]") -> None:
    """Cancel ``task`` if it is still under way, and wait until it has ended, however it does."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
