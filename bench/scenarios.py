"""The scenarios: what is sent, what it is compared with, and which ratio is the goal."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from bench.load import CONNECTIONS, Client, Repeating, fetch
from bench.machine import Server
from bench.seed import Seeds

PREFIX: Final = "/api/v2/auth"
_INTROSPECTED: Final = 500
_REFRESH_TOKEN: Final = re.compile(rb'"refresh_token":"([^"]+)"')

Limit = Literal["RSA signs", "bare ASGI", "group commits"]


@dataclass(frozen=True)
class Scenario:
    """One line of the table.

    Attributes:
        name: As in the table.
        limit: What it is compared with.
        goal: The ratio to reach; ``None`` if the figure is only reported.
        clients: Makes what each connection sends.
    """

    name: str
    limit: Limit
    goal: float | None
    clients: Callable[[Server, Seeds], list[Client]]


class Rotating:
    """Refreshes its grants in turn, each with the token it got last."""

    def __init__(self, before: bytes, tokens: list[bytes]) -> None:
        self._before = before
        self._tokens = tokens
        self._turn = 0

    def request(self) -> bytes:
        """Return the next refresh request; its length is known, since all refresh tokens are equally long."""
        return self._before + self._tokens[self._turn]

    def answered(self, body: bytes) -> None:
        """Keep the successor."""
        found = _REFRESH_TOKEN.search(body)
        assert found is not None
        self._tokens[self._turn] = found[1]
        self._turn = (self._turn + 1) % len(self._tokens)


def _post(path: str, seeds: Seeds, client_id: str, form: bytes) -> bytes:
    credentials = base64.b64encode(f"{client_id}:{seeds.secrets[client_id]}".encode())
    return b"\r\n".join(
        [
            b"POST %b%b HTTP/1.1" % (PREFIX.encode(), path.encode()),
            b"Host: id.example",
            b"User-Agent: mintmark-bench",
            b"Accept: application/json",
            b"Authorization: Basic " + credentials,
            b"Content-Type: application/x-www-form-urlencoded",
            b"Content-Length: %d" % len(form),
            b"",
            form,
        ]
    )


def _get(path: str, *headers: bytes) -> bytes:
    return b"\r\n".join(
        [b"GET %b HTTP/1.1" % path.encode(), b"Host: id.example", b"User-Agent: mintmark-bench", *headers, b"", b""]
    )


def _same(requests: list[bytes]) -> list[Client]:
    return [Repeating(requests, turn=number * 7) for number in range(CONNECTIONS)]


def _credentials_request(seeds: Seeds, alg: str) -> bytes:
    form = b"grant_type=client_credentials&scope=orders%3Aread+orders%3Awrite"
    return _post("/token", seeds, f"service-{alg}", form)


def client_credentials(alg: str) -> Callable[[Server, Seeds], list[Client]]:
    """Return what makes the load of services that get tokens signed with ``alg``."""
    return lambda _, seeds: _same([_credentials_request(seeds, alg)])


def _refresh_request(seeds: Seeds, client_id: str, token: str) -> bytes:
    return _post("/token", seeds, client_id, b"grant_type=refresh_token&refresh_token=" + token.encode())


def refresh(client_id: str) -> Callable[[Server, Seeds], list[Client]]:
    """Return what makes the load that refreshes the grants of ``client_id``."""
    return lambda _, seeds: rotating(seeds, client_id, seeds.refresh_tokens[client_id], CONNECTIONS)


def rotating(seeds: Seeds, client_id: str, tokens: list[str], connections: int) -> list[Client]:
    """Return clients that refresh ``tokens`` among them, each its own part."""
    before = _refresh_request(seeds, client_id, tokens[0]).removesuffix(tokens[0].encode())
    encoded = [token.encode() for token in tokens]
    return [Rotating(before, encoded[first::connections]) for first in range(connections)]


def _introspection(server: Server, seeds: Seeds) -> list[Client]:
    answers = fetch(server, [_credentials_request(seeds, "RS256")] * _INTROSPECTED)
    tokens = [json.loads(answer)["access_token"] for answer in answers]
    return _same([_post("/introspect", seeds, "service-RS256", b"token=" + token.encode()) for token in tokens])


def _userinfo(server: Server, seeds: Seeds) -> list[Client]:
    # Taken away: what was presented once is spent.
    tokens = [seeds.refresh_tokens["openid-RS256"].pop() for _ in range(CONNECTIONS)]
    answers = fetch(server, [_refresh_request(seeds, "openid-RS256", token) for token in tokens])
    access = [json.loads(answer)["access_token"] for answer in answers]
    path = PREFIX + "/userinfo"
    return _same([_get(path, b"Authorization: Bearer " + token.encode()) for token in access])


SCENARIOS: Final = (
    Scenario("client_credentials RS256", "RSA signs", 0.75, client_credentials("RS256")),
    Scenario("client_credentials ES256", "bare ASGI", 0.30, client_credentials("ES256")),
    Scenario("userinfo", "bare ASGI", None, _userinfo),
    Scenario("refresh RS256, SQLite FULL", "RSA signs", 0.65, refresh("app-RS256")),
    Scenario("refresh ES256, SQLite FULL", "group commits", 0.30, refresh("app-ES256")),
    Scenario("refresh with ID token, RS256", "RSA signs", None, refresh("openid-RS256")),
    Scenario("introspection of a JWT, warm", "bare ASGI", 0.40, _introspection),
    Scenario("JWKS", "bare ASGI", None, lambda *_: _same([_get("/.well-known/jwks.json")])),
)
