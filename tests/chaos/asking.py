"""One request, as a client sends it through the load balancer: on a connection of its own, with little patience."""

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

PREFIX = "/api/v2/auth"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: dict[str, Any]
    retry_after: int

    def __str__(self) -> str:
        error = self.body.get("error")
        return f"{self.status} {error}" if error else str(self.status)


class UnansweredError(Exception):
    """Nothing that could be understood came in time: whatever was asked for may have happened or not."""


async def post(port: int, path: str, form: dict[str, str], patience: float) -> Answer:
    """Post a form to an endpoint of the authority.

    Raises:
        UnansweredError: With a word why.
    """
    writer = None
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            content = urlencode(form)
            head = (
                f"POST {PREFIX}{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
                f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(content)}\r\n\r\n"
            )
            writer.write((head + content).encode())
            return _read(await reader.read())
    except TimeoutError:
        raise UnansweredError("timeout") from None
    except (OSError, ValueError) as problem:
        raise UnansweredError(type(problem).__name__) from None
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _read(said: bytes) -> Answer:
    head, separator, body = said.partition(b"\r\n\r\n")
    if not separator:
        raise ValueError("half an answer")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if len(body) != int(headers.get("content-length", len(body))):
        raise ValueError("half an answer")
    is_json = headers.get("content-type", "").startswith("application/json")
    return Answer(
        int(status_line.split()[1]), json.loads(body) if is_json and body else {}, int(headers.get("retry-after", 0))
    )
