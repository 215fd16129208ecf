"""Authorities in memory for tests of the whole verifier: keys, introspection, and a feed that can be live, cut or gone."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
from tests.support.verifying import (
    ISSUER,
    Asked,
    FakeClock,
    ScriptedTransport,
    json_response,
    jwks_response,
    metadata_of,
)

from mintmark.jose import jwk, jwt
from mintmark.jose.algorithms import Algorithm
from mintmark.jose.jwk import Key
from mintmark.oauth.revocations import WireEntry
from mintmark.verifier import Issuer, TokenRejected, Verifier, VerifierUnavailable
from mintmark.verifier.ports import Response, Stream, TransportError

API: Final = "https://api.example"
CLIENT_ID: Final = "orders-api"
CLIENT_SECRET: Final = "the-secret-of-this-service"
WELL_KNOWN: Final = "/.well-known/oauth-authorization-server"


@cache
def key(kid: str, alg: Algorithm = "ES256") -> Key:
    """A key pair, the same one in the whole run."""
    return jwk.generate(alg, kid=kid)


class Feed:
    """What an authority revoked, as events.

    Attributes:
        is_live: A connection stays open; otherwise it ends with a heartbeat once everything was told.
        connections: The positions from which it was read.
    """

    def __init__(self) -> None:
        self.is_live = False
        self.connections: list[str | None] = []
        self._events: list[bytes] = []
        self._beats = 0
        self._changed = threading.Condition()
        self._is_open = True

    def add(self, *entries: WireEntry) -> None:
        """Tell that something was revoked."""
        with self._changed:
            data = msgspec.json.encode(entries)
            self._events.append(b"event: revocations\nid: %d\ndata: %b\n\n" % (len(self._events) + 1, data))
            self._changed.notify_all()

    def beat(self) -> None:
        """Let every live connection say that there is nothing new."""
        with self._changed:
            self._beats += 1
            self._changed.notify_all()

    @contextmanager
    def opened(self, position: str | None) -> Iterator[Stream]:
        """One connection."""
        self.connections.append(position)
        stream = _FeedStream(self, int(position or 0))
        try:
            yield stream
        finally:
            stream.close()


class _FeedStream:
    def __init__(self, feed: Feed, told: int) -> None:
        self.status = 200
        self.headers: Mapping[str, str] = {"content-type": "text/event-stream"}
        self._feed = feed
        self._told = told
        self._beats = -1
        self._is_closed = False

    def read(self) -> bytes:
        feed = self._feed
        with feed._changed:
            while True:
                if self._is_closed:
                    raise TransportError("the stream is closed")
                new, self._told = feed._events[self._told :], len(feed._events)
                if new:
                    return b"".join(new)
                if self._beats < feed._beats:
                    self._beats = feed._beats
                    return b"event: heartbeat\nid: %d\ndata: {}\n\n" % self._told
                if not feed.is_live:
                    return b""
                feed._changed.wait()

    def close(self) -> None:
        with self._feed._changed:
            self._is_closed = True
            self._feed._changed.notify_all()


@dataclass
class Network(ScriptedTransport):
    """Reaches the authorities, unless it is down.

    Attributes:
        is_down: Nobody can be reached, and nothing is heard on a connection that is open.
        feeds: By URL.
        gate: Requests wait for it; threads that come meanwhile pile up.
    """

    is_down: bool = False
    feeds: dict[str, Feed] = field(default_factory=dict)
    gate: threading.Event | None = None

    def request(self, method: Any, url: str, **how: Any) -> Response:
        if self.gate is not None and not self.gate.wait(30):
            raise TransportError("the test forgot the gate")
        if self.is_down:
            with self._lock:
                self.asked.append(Asked(method, url, dict(how["headers"]), how.get("body"), 0, 0))
            raise TransportError("no answer in time")
        return super().request(method, url, **how)

    def close(self) -> None:
        """What `HTTPTransport` has as well, for where this stands in for it."""

    @contextmanager
    def stream(self, url: str, *, headers: Mapping[str, str], **how: Any) -> Iterator[Stream]:
        feed = self.feeds.get(url)
        if self.is_down or feed is None:
            raise TransportError("no answer in time")
        with feed.opened(headers.get("last-event-id")) as stream:
            yield stream


_numbers = count(1)


class Authority:
    """One authority of the network.

    Attributes:
        keys: What it publishes; the first one signs.
        active: What introspection says, by token; the others are inactive.
        feed: What it revoked.
    """

    def __init__(self, network: Network, clock: FakeClock, url: str = ISSUER, *keys: Key) -> None:
        self.url = url
        self.network = network
        self.clock = clock
        self.keys = list(keys) or [key(f"{url}#1")]
        self.active: dict[str, dict[str, Any]] = {}
        self.feed = Feed()
        network.feeds[f"{url}/revocations"] = self.feed
        origin, _, path = url.removeprefix("https://").partition("/")
        self.metadata_url = f"https://{origin}{WELL_KNOWN}{path and '/' + path}"
        self.jwks_url = f"{url}/jwks"
        self.introspection_url = f"{url}/introspect"
        network.answers[self.metadata_url] = json_response(metadata_of(url))
        network.answers[self.jwks_url] = lambda _: jwks_response(*self.keys, cache_control="max-age=300")
        network.answers[self.introspection_url] = self._introspect

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Good claims; a change to ``...`` leaves the claim out."""
        now = int(self.clock.now())
        good = {
            "iss": self.url,
            "aud": API,
            "sub": "usr_ada",
            "client_id": "web",
            "jti": f"jti-{next(_numbers)}",
            "gid": "gid-1",
            "iat": now,
            "exp": now + 900,
            "scope": "orders:read",
        }
        return {name: value for name, value in (good | changed).items() if value is not ...}

    def token(self, signer: Key | None = None, typ: str | None = "at+jwt", **changed: Any) -> str:
        """A token that is good unless something is changed."""
        return jwt.encode(self.claims(**changed), signer or self.keys[0], typ=typ)

    def opaque(self, raw: str, **changed: Any) -> str:
        """Let introspection know ``raw`` as an active token."""
        self.active[raw] = {"active": True, **self.claims(**changed)}
        return raw

    def revoke(self, **entry: Any) -> None:
        """Tell the feed: ``jti="…"``, ``gid="…"``, ``sub="…", before=…`` and so on."""
        self.feed.add(WireEntry(**{"exp": int(self.clock.now()) + 900, **entry}))

    def issuer(self, *, is_client: bool = True, audience: str | list[str] = API) -> Issuer:
        """What a verifier is told about it."""
        if not is_client:
            return Issuer(url=self.url, audience=audience)
        return Issuer(url=self.url, audience=audience, client_id=CLIENT_ID, client_secret=CLIENT_SECRET)

    def _introspect(self, asked: Asked) -> Response:
        raw = parse_qs((asked.body or b"").decode())["token"][0]
        return json_response(self.active.get(raw, {"active": False}))


def verifier(*authorities: Authority, is_client: bool = True, is_ready: bool = True, **options: Any) -> Verifier:
    """A verifier that trusts the authorities; if it is ready, it has caught up and has no threads."""
    made = Verifier(
        [one.issuer(is_client=is_client) for one in authorities],
        transport=authorities[0].network,
        clock=authorities[0].clock,
        **options,
    )
    if is_ready:
        made.catch_up()
    return made


def code(call: Callable[[], object]) -> str:
    """How it ends: ``accepted``, ``unavailable`` or the code of the rejection; any other exception passes."""
    try:
        call()
    except TokenRejected as problem:
        return problem.code
    except VerifierUnavailable:
        return "unavailable"
    return "accepted"
