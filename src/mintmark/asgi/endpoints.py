"""A handler as an ASGI application: requests read within bounds, failures in the edge's dialect, everything noted."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import partial
from time import perf_counter
from typing import Any, Final

import msgspec

from mintmark.asgi.messages import (
    MAX_BODY_BYTES,
    MAX_QUERY_BYTES,
    ASGIApp,
    Headers,
    Incoming,
    Receive,
    Reply,
    Scope,
    Send,
    Stream,
)
from mintmark.asgi.noting import Noting, address_of, client_address, id_of, log, request_id
from mintmark.asgi.sending import log_fault, send_reply, send_stream
from mintmark.authority.meter import Meter
from mintmark.authority.ports import StoreUnavailableError
from mintmark.oauth.errors import OAuthError, unavailable

Handler = Callable[[Incoming], Awaitable[Reply | Stream]]
Render = Callable[[OAuthError], Reply]


class _TooLargeError(Exception):
    """The body is longer than the limit."""


class _CutOffError(Exception):
    """The sender went away before the body was whole."""


def endpoint(
    handler: Handler,
    methods: Iterable[str],
    render: Render,
    *,
    path: str,
    is_cors: bool = False,
    meter: Meter | None = None,
) -> ASGIApp:
    """Make an ASGI application of a handler.

    Args:
        handler: Answers the request.
        methods: Methods it knows; ``HEAD`` goes with ``GET``. Others get 405.
        render: Turns an error into a reply.
        path: What log and metrics call it: the route, never what was sent, which may hold a misplaced token.
        is_cors: Whether scripts of any origin may call it (never with cookies).
        meter: Where its requests are counted.
    """
    meter = meter or Meter()
    noting = Noting(path, meter)
    table = _Table(handler, render, path, meter, methods, is_cors=is_cors)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter()
        identity = id_of(scope["headers"])
        outside, from_outside = request_id.set(identity), client_address.set(address_of(scope))
        try:
            reply, error = await table.answer(scope, receive)
            noting.note(scope, 200 if isinstance(reply, Stream) else reply.status, error, perf_counter() - began)
            headers = (*reply.headers, *table.cors, (b"x-request-id", identity.encode()))
            has_body = scope["method"] != "HEAD"
            if isinstance(reply, Stream):
                meter.streams += 1
                try:
                    await send_stream(reply, headers, path, scope, receive, send, has_body=has_body)
                finally:
                    meter.streams -= 1
            else:
                await send_reply(send, reply, headers, has_body=has_body)
        except _CutOffError:
            # Half a form must not be taken for a whole one, and nobody is there to be answered.
            return
        finally:
            request_id.reset(outside)
            client_address.reset(from_outside)

    return application


_LOOKS: Final = 4
_LOOK_SECONDS: Final = 0.01

_PREFLIGHT: Final[Headers] = (
    (b"access-control-allow-headers", b"authorization, content-type, dpop"),
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-max-age", b"86400"),
)


class _Table:
    """What answers at one endpoint, by method."""

    def __init__(
        self, handler: Handler, render: Render, path: str, meter: Meter, methods: Iterable[str], *, is_cors: bool
    ) -> None:
        self._handler = handler
        self._render = render
        self._path = path
        self._meter = meter
        methods = frozenset(methods)
        self._known = methods | ({"HEAD"} if "GET" in methods else frozenset())
        self._allow = ((b"allow", ", ".join(sorted(self._known | ({"OPTIONS"} if is_cors else set()))).encode()),)
        self.cors: Headers = ((b"access-control-allow-origin", b"*"),) if is_cors else ()

    async def answer(self, scope: Scope, receive: Receive) -> tuple[Reply | Stream, str]:
        """Return the answer, and the code of the error that it tells of, if any."""
        if scope["method"] not in self._known:
            return self._wrong_method(scope["method"])
        try:
            return await self._handler(await _read(scope, receive)), ""
        except OAuthError as error:
            why = error.detail or error.description
            log.info("refused", path=self._path, error=error.error, why=why, status=error.status)
            return self._render(error), error.error
        except _TooLargeError:
            reply = self._render(OAuthError("invalid_request", "The request is too large", status=413))
            return msgspec.structs.replace(
                reply, headers=(*reply.headers, (b"connection", b"close"))
            ), "invalid_request"
        except _CutOffError:
            raise
        except StoreUnavailableError as problem:
            self._meter.store_unavailable += 1
            log.warning("store unavailable", path=self._path, reason=str(problem))
            return self._render(unavailable("store unavailable")), "temporarily_unavailable"
        except Exception as problem:  # noqa: BLE001 - the edge: a fault of ours must still be answered in its dialect
            log_fault(self._path, problem)
            return self._render(OAuthError("server_error", "Something went wrong on our side")), "server_error"

    def _wrong_method(self, method: str) -> tuple[Reply, str]:
        if self.cors and method == "OPTIONS":
            return Reply(204, headers=(*self._allow, *_PREFLIGHT)), ""
        error = OAuthError("invalid_request", f"Use {' or '.join(sorted(self._known))}", status=405)
        reply = self._render(error)
        return msgspec.structs.replace(reply, headers=(*reply.headers, *self._allow)), error.error


async def _read(scope: Scope, receive: Receive) -> Incoming:
    query = scope["query_string"]
    if len(query) > MAX_QUERY_BYTES:
        raise OAuthError("invalid_request", "The request is too large", status=414)
    headers = tuple(scope["headers"])
    return Incoming(
        scope["method"],
        scope["path"],
        query,
        headers,
        await _body(receive),
        address_of(scope),
        partial(_is_awaited, receive),
    )


async def _is_awaited(receive: Receive) -> bool:
    """Tell whether the sender of a request that was read to its end is still there.

    That it has gone is noticed only after the request, however long ago it went: each look lets the event loop turn to
    its connections once more.
    """
    leaving = asyncio.ensure_future(receive())
    for _ in range(_LOOKS):
        await asyncio.wait({leaving}, timeout=_LOOK_SECONDS)
    if leaving.done():
        return bool(leaving.result()["type"] != "http.disconnect")
    leaving.cancel()
    await asyncio.wait({leaving})
    return True


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
