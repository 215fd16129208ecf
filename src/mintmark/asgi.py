"""HTTP in as values, HTTP out as values: what the JSON edge and the HTML edge share. Knows no endpoint.

A handler is ``async (Incoming) -> Reply``. ``endpoint`` makes it an ASGI application that reads a bounded body, turns
every failure into a reply of its edge's dialect, and never lets an exception's text out. A handler may also return a
``Stream``: a response that goes on for as long as there is something to say.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field, replace
from traceback import format_tb
from typing import Any, Final

import structlog

from mintmark.authority.ports import StoreUnavailableError
from mintmark.oauth.errors import OAuthError, invalid_request, unavailable
from mintmark.oauth.parameters import Parameters, parse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

MAX_BODY_BYTES: Final = 65_536
MAX_QUERY_BYTES: Final = 16_384
FORM: Final = b"application/x-www-form-urlencoded"

log = structlog.get_logger("mintmark.http")


@dataclass(frozen=True, slots=True)
class Incoming:
    """One request, whole."""

    method: str
    path: str
    query: bytes = field(repr=False)
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)
    address: str

    def header(self, name: bytes) -> list[str]:
        """Return the values of a header (name in lower case), each as sent."""
        return [value.decode("latin-1") for key, value in self.headers if key == name]

    def parameters(self) -> Parameters:
        """Return the query's parameters.

        Raises:
            OAuthError: ``invalid_request``.
        """
        return parse(self.query)

    def form(self) -> Parameters:
        """Return the body's parameters (RFC 6749 appendix B).

        Raises:
            OAuthError: ``invalid_request``, also for any other content type.
        """
        content_type = next((value for key, value in self.headers if key == b"content-type"), b"")
        if content_type.partition(b";")[0].strip().lower() != FORM:
            raise invalid_request("Send the parameters as application/x-www-form-urlencoded")
        return parse(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """One response, whole."""

    status: int
    body: bytes = field(default=b"", repr=False)
    headers: Headers = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Stream:
    """One response whose status is 200 and whose body comes in parts; it ends with them.

    Attributes:
        parts: The body. Closed when the response is over, whoever ended it.
        headers: As of a reply.
        patience: Seconds the receiver may take for one part. Who takes longer is cut off, since what waits for it is
            kept in memory.
        stopped: Done when the server stops: the response then ends, whatever is under way.
    """

    parts: AsyncGenerator[bytes, None] = field(repr=False)
    headers: Headers
    patience: float
    stopped: "asyncio.Future[None]"


Handler = Callable[[Incoming], Awaitable[Reply | Stream]]
Render = Callable[[OAuthError], Reply]


class _TooLargeError(Exception):
    """The body is longer than the limit."""


class _CutOffError(Exception):
    """The sender went away before the body was whole."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An ASGI application as an instance: Starlette's ``Route`` takes a plain function for a request handler."""

    application: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self.application(scope, receive, send)


def endpoint(handler: Handler, methods: Iterable[str], render: Render, *, path: str, is_cors: bool = False) -> Endpoint:
    """Make an ASGI application of a handler.

    Args:
        handler: Answers the request.
        methods: Methods it knows; ``HEAD`` goes with ``GET``. Others get 405.
        render: Turns an error into a reply.
        path: What the log calls it: the route, never what was sent, which may hold a misplaced token.
        is_cors: Whether scripts of any origin may call it (never with cookies).
    """
    known = frozenset(methods) | ({"HEAD"} if "GET" in methods else frozenset())
    allow = ((b"allow", ", ".join(sorted(known | ({"OPTIONS"} if is_cors else set()))).encode()),)
    cors: Headers = ((b"access-control-allow-origin", b"*"),) if is_cors else ()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        reply: Reply | Stream
        if method not in known:
            if is_cors and method == "OPTIONS":
                await _send(send, Reply(204, headers=(*allow, *_PREFLIGHT)))
                return
            error = OAuthError("invalid_request", f"Use {' or '.join(sorted(known))}", status=405)
            reply = render(error)
            reply = replace(reply, headers=(*reply.headers, *allow))
        else:
            try:
                reply = await _answer(handler, render, path, scope, receive)
            except _CutOffError:
                # Half a form must not be taken for a whole one, and nobody is there to be answered.
                return
        if is_cors:
            reply = replace(reply, headers=(*reply.headers, *cors))
        if isinstance(reply, Stream):
            await _Streaming(reply, path, scope, receive, send).run(has_body=method != "HEAD")
        else:
            await _send(send, reply, has_body=method != "HEAD")

    return Endpoint(application)


_PREFLIGHT: Final[Headers] = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-headers", b"authorization, content-type, dpop"),
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-max-age", b"86400"),
)


async def _answer(handler: Handler, render: Render, path: str, scope: Scope, receive: Receive) -> Reply | Stream:
    try:
        return await handler(await _read(scope, receive))
    except OAuthError as error:
        log.info("refused", path=path, error=error.error, why=error.detail or error.description, status=error.status)
        return render(error)
    except _TooLargeError:
        reply = render(OAuthError("invalid_request", "The request is too large", status=413))
        return Reply(reply.status, reply.body, (*reply.headers, (b"connection", b"close")))
    except _CutOffError:
        raise
    except StoreUnavailableError as problem:
        log.warning("store unavailable", path=path, reason=str(problem))
        return render(unavailable("store unavailable"))
    except Exception as problem:  # noqa: BLE001 - the edge: a fault of ours must still be answered in its dialect
        _log_fault(path, problem)
        return render(OAuthError("server_error", "Something went wrong on our side"))


def _log_fault(path: str, problem: BaseException) -> None:
    # Where, but not the exception's text: it may quote what was sent to us.
    log.error("fault", path=path, kind=type(problem).__name__, where=format_tb(problem.__traceback__)[-3:])


async def _read(scope: Scope, receive: Receive) -> Incoming:
    query = scope["query_string"]
    if len(query) > MAX_QUERY_BYTES:
        raise OAuthError("invalid_request", "The request is too large", status=414)
    headers = tuple(scope["headers"])
    client = scope.get("client")
    return Incoming(
        scope["method"], scope["path"], query, headers, await _body(receive), client[0] if client else "unknown"
    )


async def _body(receive: Receive) -> bytes:
    message = await _message(receive)
    body: bytes = message.get("body", b"")
    if len(body) > MAX_BODY_BYTES:
        raise _TooLargeError
    if not message.get("more_body", False):
        return body
    parts, size = [body], len(body)
    while message.get("more_body", False):
        message = await _message(receive)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            raise _TooLargeError
    return b"".join(parts)


async def _message(receive: Receive) -> MutableMapping[str, Any]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise _CutOffError
    return message


async def _send(send: Send, reply: Reply, *, has_body: bool = True) -> None:
    headers = reply.headers
    # RFC 9110 §8.6: none with 204; with 304 it would speak of another body.
    if reply.status not in {204, 304}:
        headers = (*headers, (b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body if has_body else b""})


CUT_OFF: Final = "mintmark.cut_off"
"""ASGI extension: a server that can drop a connection at once, unsent bytes and all, offers the function ``now`` here.

Without it, a server asked to close keeps what was not sent, and the connection, for as long as the receiver likes.
"""

_FAREWELL_SECONDS: Final = 0.1


class _TooSlowError(Exception):
    """The receiver did not take a part in time."""


@dataclass(frozen=True, slots=True)
class _Streaming:
    """One ``Stream`` on its way."""

    stream: Stream
    path: str
    scope: Scope
    receive: Receive
    send: Send

    async def run(self, *, has_body: bool) -> None:
        """Send it until it ends, the receiver leaves or is too slow, or the server stops."""
        patience = self.stream.patience
        pouring = leaving = None
        try:
            start = {"type": "http.response.start", "status": 200, "headers": self.stream.headers}
            await self._hand_over(start, patience)
            if has_body:
                pouring = asyncio.create_task(self._pour(patience))
                leaving = asyncio.create_task(self._gone())
                await self._first_of(pouring, leaving)
            else:
                await self._end(patience)
        except Exception as problem:  # noqa: BLE001 - the edge, as in `_answer`; but the response has begun
            if isinstance(problem, _TooSlowError):
                log.info("cut off", path=self.path, why="the receiver is too slow")
            else:
                _log_fault(self.path, problem)
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
