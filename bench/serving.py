"""How every server here is run: uvicorn with uvloop and httptools on a free loopback port, as `mintmark serve` does."""

import asyncio
import socket
from contextlib import AbstractAsyncContextManager
from typing import Any

import uvicorn
import uvloop

from mintmark.asgi import ASGIApp


def run(application: AbstractAsyncContextManager[ASGIApp]) -> None:
    """Print the port, then serve until somebody sends SIGTERM."""
    uvloop.run(_serve(application))


async def _serve(application: AbstractAsyncContextManager[ASGIApp]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with application as app:
            await _listen(app, listening)


async def _listen(app: Any, listening: socket.socket) -> None:
    config = uvicorn.Config(
        app, http="httptools", loop="none", lifespan="off", ws="none", log_config=None, access_log=False
    )
    print(listening.getsockname()[1], flush=True)
    await uvicorn.Server(config).serve(sockets=[listening])
    await asyncio.sleep(0)
