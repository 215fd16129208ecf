"""One ASGI request, byte for byte: for what a well-behaved HTTP client would not send."""

import json
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

from mintmark.asgi import ASGIApp

FORM = (b"content-type", b"application/x-www-form-urlencoded")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return a header; it must not come twice."""
        found = [value.decode() for key, value in self.headers if key == name.lower().encode()]
        assert len(found) < 2, f"{name} came {len(found)} times"
        return found[0] if found else None

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


async def send(
    app: ASGIApp,
    method: str,
    path: str,
    *,
    query: bytes = b"",
    headers: Iterable[tuple[bytes, bytes]] = (),
    body: bytes | Iterable[bytes] = b"",
    address: str = "192.0.2.1",
) -> Answer:
    """Send one request; a body of several chunks arrives in as many messages. The answer must be one whole response."""
    chunks = iter([body] if isinstance(body, bytes) else body)
    following = next(chunks, None)
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        nonlocal following
        current, following = following or b"", next(chunks, None)
        return {"type": "http.request", "body": current, "more_body": following is not None}

    async def collect(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "root_path": "",
        "query_string": query,
        "headers": list(headers),
        "client": (address, 1),
        "server": ("id.example", 443),
    }
    await app(scope, receive, collect)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    start, content = sent
    return Answer(start["status"], tuple((bytes(k), bytes(v)) for k, v in start["headers"]), content.get("body", b""))
