"""The limit of every HTTP scenario: raw ASGI that parses a form and answers 900 bytes of JSON. Run as a child process."""

from typing import Final
from urllib.parse import parse_qsl

import msgspec
import uvloop

from bench import machine, serving
from mintmark.asgi import Receive, Scope, Send

_BODY: Final = msgspec.json.encode({"answer": "x" * 887})
_HEADERS: Final = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"content-length", b"%d" % len(_BODY)),
)


async def application(_scope: Scope, receive: Receive, send: Send) -> None:
    """Do the least that a form endpoint can do."""
    message = await receive()
    body = message["body"]
    while message.get("more_body", False):
        message = await receive()
        body += message["body"]
    dict(parse_qsl(body.decode("ascii"), keep_blank_values=True))
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


async def _serve() -> None:
    with serving.listening() as listener:
        await serving.serve(application, listener)


if __name__ == "__main__":
    machine.pin_as_told()
    uvloop.run(_serve())
