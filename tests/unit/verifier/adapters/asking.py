"""How an ASGI application is asked: by httpx, or by hand where a message matters."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from tests.unit.verifier.adapters.cases import Case

from mintmark.testing import Mint

Headers = Iterable[tuple[str, str]]


async def ask(
    app: Any, path: str = "/any", headers: Headers = (), method: str = "GET", **request: Any
) -> httpx.Response:
    """Send one request to ``app``; what it raises is raised here."""
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.test") as client:
        return await client.request(method, path, headers=list(headers), **request)


async def check(app: Any, case: Case, mint: Mint) -> None:
    """Go through one case of the table."""
    sent, query = case.sent(mint), case.query(mint)
    with case.during(mint):
        answer = await ask(app, case.path, sent, params=query)
    case.check(answer.status_code, answer.headers, answer.content)


async def shake_hands(
    app: Any, path: str = "/any", headers: Headers = (), *, denial: bool = True
) -> list[dict[str, Any]]:
    """Open a WebSocket to ``app`` and leave at once; return the messages it sent.

    Args:
        app: Is asked.
        path: For what.
        headers: What is sent along.
        denial: Whether the server can answer a handshake as it answers requests.
    """
    received: list[dict[str, Any]] = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}]
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "wss",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "client": ("127.0.0.1", 50_000),
        "server": ("api.test", 443),
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}} if denial else {},
        "state": {},
    }

    async def receive() -> dict[str, Any]:
        return received.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(dict(message))

    await app(scope, receive, send)
    return sent


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """Run ``app`` in a real server on a free loopback port while the context lasts; yield its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = _Server(uvicorn.Config(app, log_level="error"))
        running = asyncio.create_task(server.serve(sockets=[listener]))
        await server.ready.wait()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running
