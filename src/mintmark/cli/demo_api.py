"""The demo API of ``mintmark dev``: a service as anybody would write it, which verifies tokens with `mintmark.verifier`.

It has a port, a thread and an event loop of its own, and speaks to the authority over HTTP like any other service.
"""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Final

import uvicorn

from mintmark.cli import listening
from mintmark.cli.demo import API, SERVICE
from mintmark.cli.refusal import Refusal
from mintmark.verifier import Verifier
from mintmark.verifier.asgi import ASGIApp, BearerMiddleware, Receive, Scope, Send, current_token

PATH: Final = "/orders"
SCOPE: Final = "orders:read"
_ITEMS: Final = ("a dozen blank coins", "one die")
_PORTS_TO_TRY: Final = 10
_PATIENCE: Final = 1


def application(verifier: Verifier) -> ASGIApp:
    """Return the API: ``GET /orders`` needs the scope ``orders:read``."""
    orders = BearerMiddleware(_orders, verifier, scope=SCOPE)

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        is_known = (scope["method"], scope["path"]) == ("GET", PATH)
        await (orders if is_known else _nothing)(scope, receive, send)

    return route


async def _orders(scope: Scope, _receive: Receive, send: Send) -> None:
    await _answer(send, 200, {"orders_of": current_token(scope).sub, "orders": _ITEMS})


async def _nothing(_scope: Scope, _receive: Receive, send: Send) -> None:
    await _answer(send, 404, {"error": f"there is only GET {PATH}"})


async def _answer(send: Send, status: int, content: object) -> None:
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def listen_near(host: str, port: int) -> socket.socket:
    """Take a free port just above ``port``, or any if they are all taken; the very next one is left to the example.

    Raises:
        Refusal: There is none.
    """
    for candidate in range(port + 2, min(port + 2 + _PORTS_TO_TRY, 65536)):
        with contextlib.suppress(Refusal):
            return listening.listen(host, candidate, how_to_move=str)
    return listening.listen(host, 0, how_to_move=str)


@contextlib.contextmanager
def answering(listener: socket.socket, issuer: str, client_secret: str) -> Iterator[Verifier]:
    """Answer requests while the context lasts; yields the API's verifier, which may be closed earlier."""
    verifier = Verifier(issuer, audience=API, client_id=SERVICE, client_secret=client_secret)
    config = uvicorn.Config(
        application(verifier),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=_PATIENCE,
    )
    # On a thread of its own it leaves the signals to the authority.
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), name="demo API")
    thread.start()
    try:
        with verifier:
            yield verifier
    finally:
        server.should_exit = True
        thread.join()
