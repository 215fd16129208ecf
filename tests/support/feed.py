"""Readers of the revocation feed over ASGI, in this process, and time that passes when told."""

import asyncio
import base64
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self

from tests.storage.store_things import event
from tests.support.failing import FailingStore
from tests.support.installation import Installation, install

from mintmark import bootstrap
from mintmark.asgi import CUT_OFF, ASGIApp
from mintmark.oauth.revocations import Revocation, RevocationTable
from mintmark.storage.memory import MemoryStore
from mintmark.web.streaming import Feed

PATH = "/api/v2/auth/revocations"
_TURNS = 50


async def settle() -> None:
    """Let everything happen that can happen now."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


class FakeTimers:
    """An event loop's clock that moves only when told.

    Attributes:
        meanwhile: Happens all the time while time passes; so it does right before whatever is due.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.meanwhile: Callable[[], Awaitable[object]] = settle
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
            await self.meanwhile()
            self.now = max(self.now, at)
            if self._due.pop(number, None):
                callback()
            await settle()
        await self.meanwhile()
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


class TroubledStore(FailingStore):
    """A store with which something else happens at some verbs.

    Attributes:
        troubles: What happens instead of each verb named here, such as ``revocations.after``.
    """

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.troubles: dict[str, Callable[[], Awaitable[Any]]] = {}

    async def call(self, name: str, verb: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        """Call a verb, or be in trouble."""
        if (trouble := self.troubles.get(name)) is not None:
            self.calls.append(name)
            return await trouble()
        return await super().call(name, verb, *args, **kwargs)


def failing(error: Exception) -> Callable[[], Awaitable[Any]]:
    """Trouble that is told."""

    async def fail() -> None:
        raise error

    return fail


@dataclass
class Served:
    """An installation with a feed whose time passes when told. While it does, the node hears of revocations."""

    mint: Installation
    store: MemoryStore
    failing: TroubledStore
    feed: Feed
    timers: FakeTimers
    app: ASGIApp
    _hearing: asyncio.Task[None] | None = field(default=None, init=False)

    def reader(self, *headers: tuple[bytes, bytes], query: bytes = b"", client_id: str = "service") -> Reader:
        pair = base64.b64encode(f"{client_id}:{self.mint.secrets[client_id]}".encode())
        common = ((b"authorization", b"Basic " + pair), (b"accept", b"text/event-stream"))
        return Reader(self.app, headers=(*common, *headers), query=query)

    async def write(self, *names: str) -> None:
        """Revoke, as another process does."""
        for name in names:
            expires_at = self.mint.clock.now() + 900
            await self.store.revocations.add(Revocation(kind="jti", value=name, expires_at=expires_at), event())

    async def revoke(self, *names: str) -> None:
        """Revoke, and hear of it."""
        await self.write(*names)
        await self.mint.authority.denylist.pull(self.mint.authority.store)
        await settle()

    async def hear(self) -> None:
        """Hear of revocations as the chores do: one look after the other, whether they succeed or not."""
        if self._hearing is None or self._hearing.done():
            self._hearing = asyncio.create_task(self._hear())
        await settle()

    def recover(self) -> None:
        """End the trouble, and what hangs because of it."""
        self.failing.troubles = {}
        if self._hearing is not None:
            self._hearing.cancel()

    async def quiet(self) -> None:
        """Let so much time pass that the next entry goes out at once."""
        await self.timers.advance(1)

    async def _hear(self) -> None:
        with suppress(Exception):
            await self.mint.authority.denylist.pull(self.mint.authority.store)


async def serve_feed() -> Served:
    """Return an installation with a feed that somebody has read a moment ago."""
    store = MemoryStore()
    troubled = TroubledStore(store)
    mint = await install(store=troubled.as_store())
    timers = FakeTimers()
    feed = Feed(mint.authority, timers=lambda: timers)
    served = Served(mint, store, troubled, feed, timers, bootstrap.application(mint.authority, feed))
    timers.meanwhile = served.hear
    async with served.reader():
        await timers.advance(1)
    return served
