"""The ASGI middlewares, in front of an application without any framework, and once behind a real server."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.unit.verifier.adapters.asking import ask, check, serving, shake_hands
from tests.unit.verifier.adapters.cases import INVALID, NOT_PERMITTED, ROUTES, Case, all_cases, bearer, good

from mintmark.testing import Mint
from mintmark.verifier import Verifier, VerifierUnavailable
from mintmark.verifier.asgi import (
    TOKEN_KEY,
    BearerMiddleware,
    Receive,
    ResourceMetadataMiddleware,
    Scope,
    Send,
    current_token,
)
from mintmark.verifier.errors import TokenMissing
from mintmark.verifier.resource_metadata import ResourceMetadata

METADATA = ResourceMetadata(
    resource="https://api.test/orders",
    authorization_servers=["https://mint.test"],
    scopes_supported=["orders:read"],
    resource_name="Orders",
)
WELL_KNOWN = "/.well-known/oauth-protected-resource/orders"


@pytest.fixture
def verifier(mint: Mint) -> Verifier:
    return mint.verifier()


async def answer(send: Send, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


async def orders(scope: Scope, receive: Receive, send: Send) -> None:
    """Say whom the token speaks for; accept every WebSocket."""
    token = current_token(scope)
    assert token is scope[TOKEN_KEY]
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
    else:
        await answer(send, json.dumps({"sub": token.sub}).encode())


async def unreachable(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("the application was called")


@all_cases
@pytest.mark.spec("S01", "S02", "S03", "RFC 6750 §2.1", "RFC 6750 §3", "RFC 6750 §3.1", "RFC 9470 §3")
async def test_the_table(case: Case, mint: Mint, verifier: Verifier) -> None:
    one = ROUTES[case.path]
    app = BearerMiddleware(
        orders if case.status == 200 else unreachable,
        verifier,
        scope=one.scope,
        role=one.role,
        permission=one.permission,
        max_age=one.max_age,
        acr=one.acr,
        on_stale=one.on_stale,
    )
    await check(app, case, mint)


@pytest.mark.spec("RFC 6750 §3", "RFC 9728 §5.1")
async def test_a_challenge_names_the_realm_and_the_metadata(verifier: Verifier) -> None:
    app = BearerMiddleware(orders, verifier, realm="orders", resource_metadata=METADATA.url)
    refused = await ask(app)
    assert refused.headers["www-authenticate"] == (
        'Bearer realm="orders", resource_metadata="https://api.test/.well-known/oauth-protected-resource/orders"'
    )


async def test_what_the_application_requires_later_is_answered_alike(mint: Mint, verifier: Verifier) -> None:
    async def clerks_only(scope: Scope, receive: Receive, send: Send) -> None:
        current_token(scope).require(role="clerk")
        await answer(send, b"{}")

    app = BearerMiddleware(clerks_only, verifier)
    refused = await ask(app, headers=good(mint))
    assert (refused.status_code, refused.headers["www-authenticate"]) == (403, NOT_PERMITTED)
    assert (await ask(app, headers=bearer(mint.token(roles=["clerk"])))).status_code == 200


async def test_a_response_that_has_begun_is_not_begun_again(mint: Mint, verifier: Verifier) -> None:
    async def too_late(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"{}")
        raise VerifierUnavailable("another service's")

    with pytest.raises(VerifierUnavailable):
        await ask(BearerMiddleware(too_late, verifier), headers=good(mint))


@pytest.mark.parametrize("authorization", [[], [("Authorization", "Bearer a.b.c")]])
async def test_the_body_of_a_refused_request_is_not_read(
    authorization: list[tuple[str, str]], verifier: Verifier
) -> None:
    class Body(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b""
            raise AssertionError("the body was read")

    refused = await ask(BearerMiddleware(orders, verifier), headers=authorization, method="POST", content=Body())
    assert refused.status_code == 401


async def test_a_request_s_body_is_left_to_the_application(mint: Mint, verifier: Verifier) -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, (await receive())["body"])

    said = await ask(BearerMiddleware(echo, verifier), headers=good(mint), method="POST", content=b"access_token=x")
    assert said.content == b"access_token=x"


async def test_lifespan_passes(verifier: Verifier) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    for middleware in (BearerMiddleware(app, verifier), ResourceMetadataMiddleware(app, METADATA)):
        await middleware({"type": "lifespan"}, no_message, no_answer)
    assert seen == ["lifespan", "lifespan"]


@pytest.mark.parametrize("kind", ["webtransport", "HTTP", ""])
async def test_what_is_neither_request_nor_websocket_does_not_pass(kind: str, mint: Mint, verifier: Verifier) -> None:
    """An application rejects a protocol it does not understand by an exception (ASGI 3.0, Applications)."""
    headers = [(name.lower().encode(), value.encode()) for name, value in mint.headers().items()]
    scope = {"type": kind, "path": WELL_KNOWN, "method": "GET", "headers": headers}
    app = ResourceMetadataMiddleware(BearerMiddleware(unreachable, verifier), METADATA)
    with pytest.raises(ValueError, match="only http and websocket"):
        await app(scope, no_message, no_answer)
    app = ResourceMetadataMiddleware(BearerMiddleware(orders, verifier), METADATA)
    assert (await ask(app, headers=mint.headers().items())).status_code == 200
    assert await shake_hands(app, headers=mint.headers().items()) == [{"type": "websocket.accept"}]


async def no_message() -> dict[str, Any]:
    raise AssertionError("nothing is to be received")


async def no_answer(message: Any) -> None:
    raise AssertionError("nothing is to be sent")


def test_there_is_no_token_where_none_was_verified() -> None:
    with pytest.raises(TokenMissing):
        current_token({"type": "http"})


@pytest.mark.spec("S01")
async def test_a_websocket_is_accepted_with_a_good_token_only(mint: Mint, verifier: Verifier) -> None:
    app = BearerMiddleware(orders, verifier)
    assert await shake_hands(app, headers=good(mint)) == [{"type": "websocket.accept"}]
    start, body = await shake_hands(app, headers=bearer("a.b.c"))
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert (b"www-authenticate", INVALID.encode()) in start["headers"]
    assert (body["type"], json.loads(body["body"])["error"]) == ("websocket.http.response.body", "invalid_token")


@pytest.mark.parametrize("sent", [[], bearer("a.b.c")])
async def test_a_websocket_is_closed_before_it_was_accepted_if_nothing_more_can_be_said(
    sent: list[tuple[str, str]], verifier: Verifier
) -> None:
    messages = await shake_hands(BearerMiddleware(unreachable, verifier), headers=sent, denial=False)
    assert messages == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.spec("RFC 9728 §3", "RFC 9728 §3.2")
async def test_the_metadata_is_public_and_everything_else_is_not(mint: Mint, verifier: Verifier) -> None:
    app = ResourceMetadataMiddleware(BearerMiddleware(orders, verifier, resource_metadata=METADATA.url), METADATA)
    document = await ask(app, WELL_KNOWN)
    assert (document.status_code, document.headers["content-type"]) == (200, "application/json")
    assert document.headers["access-control-allow-origin"] == "*"
    assert document.json() == METADATA.document()
    head = await ask(app, WELL_KNOWN, method="HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(document.content))
    for path, method in ((WELL_KNOWN, "POST"), (WELL_KNOWN + "/more", "GET"), ("/orders", "GET")):
        assert (await ask(app, path, method=method)).status_code == 401
    assert (await shake_hands(app, WELL_KNOWN))[0]["status"] == 401
    assert (await ask(app, "/orders", good(mint))).json() == {"sub": "ada"}


@pytest.mark.spec("RFC 9728 §2")
def test_the_document() -> None:
    assert METADATA.document() == {
        "resource": "https://api.test/orders",
        "authorization_servers": ["https://mint.test"],
        "scopes_supported": ["orders:read"],
        "bearer_methods_supported": ["header"],
        "resource_name": "Orders",
    }
    assert json.loads(METADATA.encode()) == METADATA.document()


@pytest.mark.spec("RFC 9728 §3.2")
def test_what_has_no_value_is_left_out_of_the_document() -> None:
    document = ResourceMetadata(resource="https://api.test", authorization_servers=["https://mint.test"]).document()
    assert document.keys() == {"resource", "authorization_servers", "bearer_methods_supported"}


@pytest.mark.spec("RFC 9728 §3.1")
@pytest.mark.parametrize(
    ("resource", "url"),
    [
        ("https://api.test", "https://api.test/.well-known/oauth-protected-resource"),
        ("https://api.test/", "https://api.test/.well-known/oauth-protected-resource"),
        ("https://api.test:8443/v2/mcp", "https://api.test:8443/.well-known/oauth-protected-resource/v2/mcp"),
        ("http://127.0.0.1:8000/mcp", "http://127.0.0.1:8000/.well-known/oauth-protected-resource/mcp"),
    ],
)
def test_where_the_document_is(resource: str, url: str) -> None:
    metadata = ResourceMetadata(resource=resource, authorization_servers=["https://mint.test"])
    assert metadata.url == url
    assert url.endswith(metadata.path)


@pytest.mark.spec("RFC 9728 §1.2")
@pytest.mark.parametrize(
    "resource",
    ["", "orders", "http://api.test", "https://", "https://api.test/#a", "https://api.test/?a=b", "ftp://api.test"],
)
def test_a_resource_is_an_https_url(resource: str) -> None:
    with pytest.raises(ValueError, match="resource is an https URL"):
        ResourceMetadata(resource=resource, authorization_servers=["https://mint.test"])


async def test_behind_a_real_server(mint: Mint, verifier: Verifier) -> None:
    app = ResourceMetadataMiddleware(BearerMiddleware(orders, verifier), METADATA)
    async with serving(app) as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
        assert (await client.get("/any", headers=mint.headers())).json() == {"sub": "ada"}
        assert (await client.get(WELL_KNOWN)).json() == METADATA.document()
        token = mint.token()
        twice = await client.get("/any", headers=bearer(token) + bearer(token))
        assert (twice.status_code, twice.json()["error"]) == (400, "invalid_request")
        upload = await client.post("/any", content=b"x" * 1_000_000, headers=bearer("a.b.c"))
        assert (upload.status_code, upload.headers["www-authenticate"]) == (401, INVALID)
