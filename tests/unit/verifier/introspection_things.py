"""An introspector, and the authority that answers it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import msgspec
from tests.support.verifying import FakeClock

from mintmark.verifier.introspection import Introspector
from mintmark.verifier.ports import Response, Stream

URL = "https://auth.test/introspect"
ISSUER = "https://auth.test"
API = "https://api.test"
SECRET = "s3cr:t of billing"
ACTIVE: dict[str, Any] = {
    "active": True,
    "token_type": "Bearer",
    "iss": ISSUER,
    "aud": API,
    "sub": "alice",
    "client_id": "shop",
    "scope": "orders:read",
    "jti": "j1",
    "iat": 900,
    "exp": 1_100,
}
INACTIVE = {"active": False}


@dataclass
class FakeTransport:
    """Answers every question by ``answer``, and keeps what was asked."""

    answer: Callable[[str], Response]
    asked: list[dict[str, Any]] = field(default_factory=list)

    def request(self, method: str, url: str, **given: Any) -> Response:
        self.asked.append({"method": method, "url": url, **given})
        return self.answer(parse_qs(given["body"].decode())["token"][0])

    def stream(self, *args: Any, **kwargs: Any) -> AbstractContextManager[Stream]:
        raise AssertionError("a question is no stream")


def said(answer: Any, status: int = 200) -> Response:
    body = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
    return Response(status, {"content-type": "application/json"}, body)


def introspector(transport: FakeTransport, *, url: str | None = URL, leeway: int = 0) -> Introspector:
    return Introspector(
        url_of=lambda: url,
        client_id="billing",
        client_secret=SECRET,
        transport=transport,
        issuer=ISSUER,
        audience=frozenset({API, "https://api2.test"}),
        clock=FakeClock(unix=1_000.0),
        leeway=leeway,
    )


def answering(answer: Any, status: int = 200, *, leeway: int = 0) -> Introspector:
    return introspector(FakeTransport(lambda _: said(answer, status)), leeway=leeway)
