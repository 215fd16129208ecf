"""Readers of the revocation feed over ASGI, in this process, and time that passes when told."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Self

from mintmark.asgi import CUT_OFF, ASGIApp
from mintmark.oauth.revocations import RevocationTable

PATH = "/api/v2/auth/revocations"
_TURNS = 50


async def settle() -> None:
    """Let everything happen that can happen now."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


class FakeTimers:
    """An event loop's clock that moves only when told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._numbers = count()
        self._due: dict[int, tuple[float, Callable[..., Any]]] = {}

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[..., Any], /) -> "FakeTimer":
        number = next(self._numbers)
        self._due[number] = (self.now + delay, callback)
        return FakeTimer(self._due, number)

    @property
    def waiting(self) -> int:
        """How many timers are set."""
        return len(self._due)

    async def advance(self, seconds: float) -> None:
        """Let time pass; whatever is due happens in its moment."""
        await settle()
        until = self.now + seconds
        while self._due:
            number, (at, callback) = min(self._due.items(), key=lambda item: (item[1][0], item[0]))
            if at > until:
                break
            self.now = max(self.now, at)
            del self._due[number]
            callback()
            await settle()
        self.now = until
        await settle()


@dataclass(frozen=True)
class FakeTimer:
    """One call that is due."""

    _due: dict[int, tuple[float, Callable[..., Any]]]
    _number: int

    def cancel(self) -> None:
        self._due.pop(self._number, None)


@dataclass(frozen=True)
class Event:
    """One event of the stream."""

    kind: str
    id: str
    data: Any

    @property
    def is_heartbeat(self) -> bool:
        return self.kind == "heartbeat"


def read_event(block: str) -> Event | None:
    """Read one block of lines; ``None`` if it is no event."""
    fields = dict(line.split(": ", 1) for line in block.split("\n"))
    if set(fields) == {"retry"}:
        return None
    assert list(fields) == ["event", "id", "data"], block
    return Event(fields["event"], fields["id"], json.loads(fields["data"]))


class Reader:
    """One request to the feed, and what came of it.

    Attributes:
        events: Those that came and were not looked at yet.
        parts: The bytes of the parts, as they came.
        gate: While it is not set, nothing is taken: what is sent then has to wait.
        was_cut_off: Whether the server dropped the connection.
        is_whole: Whether the response came to its proper end.
    """

    def __init__(self, app: ASGIApp, *, headers: Iterable[tuple[bytes, bytes]] = (), query: bytes = b"") -> None:
        self._app = app
        self._scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "https",
            "path": PATH,
            "raw_path": PATH.encode(),
            "root_path": "",
            "query_string": query,
            "headers": list(headers),
            "client": ("192.0.2.1", 1),
            "server": ("id.example", 443),
            "extensions": {CUT_OFF: {"now": self._cut_off}},
        }
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.events: deque[Event] = deque()
        self.parts: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.was_cut_off = False
        self.is_whole = False
        self._has_asked = False
        self._gone = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._task = asyncio.ensure_future(self._app(self._scope, self._receive, self._send))
        await settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()
        await asyncio.wait_for(self._task, 10)

    @property
    def is_over(self) -> bool:
        """Whether the application is done with it."""
        return self._task.done()

    def leave(self) -> None:
        """Close the connection."""
        self._gone.set()

    async def ended(self) -> None:
        """Wait until the application is done with it."""
        await asyncio.wait_for(asyncio.shield(self._task), 10)

    def take(self) -> list[Event]:
        """Return the events that came since it was asked last."""
        taken = list(self.events)
        self.events.clear()
        return taken

    def entries(self) -> list[dict[str, Any]]:
        """Return the entries that came since it was asked last, of all events together."""
        return [entry for event in self.take() if not event.is_heartbeat for entry in event.data]

    def _cut_off(self) -> None:
        self.was_cut_off = True
        self._gone.set()

    async def _receive(self) -> MutableMapping[str, Any]:
        if not self._has_asked:
            self._has_asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        await self.gate.wait()
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
            return
        assert not self.is_whole
        self.is_whole = not message.get("more_body", False)
        body = message.get("body", b"")
        if body:
            self.parts.append(body)
        if self.headers[b"content-type"] == b"text/event-stream" and body:
            assert body.endswith(b"\n\n")
            found = (read_event(block) for block in body.decode().split("\n\n")[:-1])
            self.events += [event for event in found if event is not None]


def table_of(entries: Iterable[dict[str, Any]]) -> RevocationTable:
    """Return the table of somebody who heard of these entries."""
    table = RevocationTable()
    for entry in entries:
        (kind,) = set(entry) - {"before", "exp"}
        table.add(kind, entry[kind], entry.get("before"), entry["exp"])  # type: ignore[arg-type]
    return table
