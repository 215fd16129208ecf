"""An installation spoken to byte for byte, and what its refusals have in common."""

from dataclasses import dataclass
from typing import Any

import pytest
from tests.support.installation import PREFIX, Installation
from tests.support.wire import FORM, Answer, send

from mintmark import bootstrap
from mintmark.asgi import ASGIApp
from mintmark.storage.memory import MemoryStore

AUTHENTICATED = [PREFIX + "/token", PREFIX + "/revoke", PREFIX + "/introspect"]
USERINFO = PREFIX + "/userinfo"
DOCUMENTS = ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/.well-known/jwks.json"]
HEALTH = ["/livez", "/readyz"]
SCRIPTS_MAY = [PREFIX + "/token", PREFIX + "/revoke", USERINFO, *DOCUMENTS]
ALLOWED = {path: {"POST"} for path in AUTHENTICATED} | {path: {"GET", "HEAD"} for path in (*DOCUMENTS, *HEALTH)}
ALLOWED[USERINFO] = {"GET", "HEAD", "POST"}


@dataclass
class Wire:
    """An installation spoken to byte for byte, and what it would answer to good requests."""

    mint: Installation
    app: ASGIApp

    def credentials(self) -> bytes:
        return f"client_id=service&client_secret={self.mint.secrets['service']}".encode()

    def stored(self) -> object:
        store = self.mint.authority.store
        assert isinstance(store, MemoryStore)
        return store.snapshot()

    async def post(self, path: str, body: Any, *headers: tuple[bytes, bytes], query: bytes = b"") -> Answer:
        return await send(self.app, "POST", path, query=query, headers=headers or (FORM,), body=body)

    async def assert_works(self) -> None:
        """The positive twin of whatever was refused."""
        answer = await self.post(PREFIX + "/token", self.credentials() + b"&grant_type=client_credentials")
        assert answer.status == 200, answer.body
        assert answer.json()["access_token"]


@pytest.fixture
def wire(mint: Installation) -> Wire:
    return Wire(mint, bootstrap.application(mint.authority))


def assert_dialect(answer: Answer, *statuses: int, path: str = "") -> None:
    """An RFC 6749 §5.2 error that no cache may keep; at userinfo, without a token, a bare challenge."""
    assert answer.status in statuses, (answer.status, answer.body)
    assert answer.header("cache-control") == "no-store", answer.headers
    assert answer.header("content-length") == str(len(answer.body)) or not answer.body, answer.headers
    if path == USERINFO and answer.status == 401 and not answer.body:
        assert (answer.header("www-authenticate") or "").startswith("Bearer "), answer.headers
        return
    assert answer.header("content-type") == "application/json", answer.headers
    body = answer.json()
    assert set(body) == {"error", "error_description"}, body
    assert all(isinstance(value, str) and value.isascii() and value for value in body.values()), body
    is_challenged = answer.header("www-authenticate") is not None
    assert (answer.status == 401) == is_challenged or answer.status == 403, answer.headers


def refused(answer: Answer, path: str = "") -> None:
    """Any refusal that is the sender's fault."""
    assert 400 <= answer.status < 500, (answer.status, answer.body)
    assert_dialect(answer, answer.status, path=path)
