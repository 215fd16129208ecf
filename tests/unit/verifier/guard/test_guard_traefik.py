"""Traefik's side of the contract, as `writeHeader` of its ForwardAuth middleware does it (Traefik 3.7)."""

from dataclasses import dataclass

import pytest
from tests.support.wire import Answer, send
from tests.unit.verifier.guard.asking import Asker

from mintmark.testing import Mint

HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
FORWARDED = ("for", "method", "proto", "port", "host", "uri")
Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Traefik:
    """Does with a request what Traefik does, `trustForwardHeader: false` and the file under `deploy/traefik`."""

    asker: Asker

    async def __call__(self, method: str, uri: str, headers: Headers) -> tuple[Answer, Headers]:
        """Return the guard's answer, and with which headers the request goes on if it does."""
        asked = [(name.lower(), value) for name, value in headers if name.lower() not in HOP_BY_HOP]
        asked = [(name, value) for name, value in asked if name.removeprefix("x-forwarded-") not in FORWARDED]
        told = {
            "for": "192.0.2.7",
            "method": method,
            "proto": "https",
            "port": "443",
            "host": "api.example",
            "uri": uri,
        }
        asked += [(f"x-forwarded-{name}", value) for name, value in told.items()]
        asked.append(("accept-encoding", "gzip"))
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in asked]
        answer = await send(self.asker.guard, "GET", "/traefik", headers=encoded)
        going_on = [(name.lower(), value) for name, value in headers if not name.lower().startswith("x-mintmark-")]
        given = [(name.decode(), value.decode()) for name, value in answer.headers if name.startswith(b"x-mintmark-")]
        return answer, going_on + given


@pytest.fixture
def traefik(asker: Asker) -> Traefik:
    return Traefik(asker)


async def test_what_the_service_gets(traefik: Traefik, mint: Mint) -> None:
    good = mint.headers(scope="orders:write")["Authorization"]
    forged = [("X-Mintmark-Subject", "eve"), ("X-Mintmark-Roles", "admin"), ("X-Mintmark-Roles", "root")]
    answer, headers = await traefik("POST", "/orders?x=1", [("Authorization", good), *forged])
    assert answer.status == 200
    identity = sorted((name, value) for name, value in headers if name.startswith("x-mintmark-"))
    assert identity == [
        ("x-mintmark-client", "app"),
        ("x-mintmark-issuer", mint.issuer),
        ("x-mintmark-permissions", ""),
        ("x-mintmark-roles", ""),
        ("x-mintmark-scope", "orders:write"),
        ("x-mintmark-subject", "ada"),
    ]


@pytest.mark.parametrize("name", ["X-Forwarded-Uri", "X-Forwarded-Method", "X-Original-Uri"])
async def test_what_the_client_says_of_its_request_counts_for_nothing(traefik: Traefik, name: str) -> None:
    answer, _ = await traefik("GET", "/orders", [(name, "/health")])
    assert answer.status == 401
    answer, _ = await traefik("GET", "/health", [(name, "/orders")])
    assert answer.status == 200


@pytest.mark.spec("RFC 6750 §3")
async def test_a_refusal_goes_to_the_client_whole(traefik: Traefik, mint: Mint) -> None:
    # Traefik copies status, headers and body of whatever is not 2xx.
    answer, _ = await traefik(
        "POST", "/orders", [("Authorization", mint.headers(scope="orders:read")["Authorization"])]
    )
    assert answer.status == 403
    assert 'scope="orders:write"' in (answer.header("www-authenticate") or "")
    assert answer.header("content-type") == "application/json"
    assert answer.json()["error"] == "insufficient_scope"
    # A Location would make Traefik redirect, a cookie it would hand on.
    assert answer.header("location") is None
    assert answer.header("set-cookie") is None


async def test_a_header_in_another_spelling_is_refused(traefik: Traefik) -> None:
    answer, _ = await traefik("GET", "/health", [("X_Mintmark_Subject", "eve")])
    assert answer.status == 400
