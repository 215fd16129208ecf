"""How the bare server is run: uvicorn as ``mintmark.cli.listening`` configures it, on a free loopback port."""

import socket

import uvicorn

from mintmark.asgi import ASGIApp


def listening() -> socket.socket:
    """Take a free loopback port."""
    return socket.create_server(("127.0.0.1", 0), backlog=2048)


def say_port(listener: socket.socket) -> None:
    """Tell the parent process where we listen."""
    print(listener.getsockname()[1], flush=True)


async def serve(application: ASGIApp, listener: socket.socket) -> None:
    """Serve until SIGTERM."""
    config = uvicorn.Config(
        application,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    say_port(listener)
    await uvicorn.Server(config).serve(sockets=[listener])
