"""A world for the verifier: time that stands still, and an authority made of answers prepared in advance."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from mintmark.jose import strict_json
from mintmark.jose.jwk import Key, KeySet
from mintmark.verifier.ports import Response, Stream, TransportError

ISSUER = "https://auth.example"


@dataclass
class FakeClock:
    """Time that only moves when it is told to; both kinds at once with `advance`."""

    unix: float = 1_800_000_000.0
    up: float = 1_000.0

    def now(self) -> float:
        return self.unix

    def uptime(self) -> float:
        return self.up

    def advance(self, seconds: float) -> None:
        self.unix += seconds
        self.up += seconds


@dataclass(frozen=True)
class Asked:
    """A request that was made."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    timeout: float
    max_bytes: int


Answer = Response | Exception | Callable[[Asked], Response]


@dataclass
class ScriptedStream:
    """Gives what was prepared, piece by piece, then ends."""

    pieces: Iterator[bytes | TransportError]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "text/event-stream"})
    is_closed: bool = False

    def read(self) -> bytes:
        if self.is_closed:
            raise TransportError("the stream is closed")
        piece = next(self.pieces, b"")
        if isinstance(piece, TransportError):
            raise piece
        return piece

    def close(self) -> None:
        self.is_closed = True


@dataclass
class ScriptedTransport:
    """Answers by URL, again and again; what is not there is 404. Remembers what it was asked. Thread-safe.

    An answer may be a `Response`, an exception to raise, or a function of the request; a stream is a list of pieces
    and exceptions.
    """

    answers: dict[str, Answer] = field(default_factory=dict)
    streams: dict[str, list[bytes | TransportError]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def request(
        self,
        method: Literal["GET", "POST"],
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        timeout: float,
        max_bytes: int,
    ) -> Response:
        asked = Asked(method, url, dict(headers), body, timeout, max_bytes)
        with self._lock:
            self.asked.append(asked)
            answer = self.answers.get(url, Response(404))
        if isinstance(answer, Exception):
            raise answer
        response = answer if isinstance(answer, Response) else answer(asked)
        if len(response.body) > max_bytes:
            raise TransportError("the answer is longer than allowed")
        return response

    @contextmanager
    def stream(
        self, url: str, *, headers: Mapping[str, str], connect_timeout: float, read_timeout: float
    ) -> Iterator[Stream]:
        with self._lock:
            self.asked.append(Asked("GET", url, dict(headers), None, read_timeout, 0))
            pieces = self.streams.get(url)
        if pieces is None:
            raise TransportError("no stream was prepared")
        stream = ScriptedStream(iter(pieces))
        try:
            yield stream
        finally:
            stream.close()

    def count(self, url: str) -> int:
        """How often a URL was asked for."""
        return sum(one.url == url for one in self.asked)


def json_response(document: Any, **headers: str) -> Response:
    """A response with a JSON body; in header names ``_`` stands for ``-``."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(200, names, strict_json.dumps(document))


def jwks_response(*keys: Key, **headers: str) -> Response:
    """What an authority answers that publishes these keys."""
    return json_response(KeySet(keys).public_jwks(), **headers)


def metadata_of(issuer: str = ISSUER, **more: Any) -> dict[str, Any]:
    """The metadata of an authority; ``None`` removes a member."""
    document = {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/jwks",
        "introspection_endpoint": f"{issuer}/introspect",
        "revocations_endpoint": f"{issuer}/revocations",
        **more,
    }
    return {name: value for name, value in document.items() if value is not None}


def end_after(seconds: int) -> None:
    """Let this process, the forked child of a test, end by itself should it hang: nobody else would end it."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)
