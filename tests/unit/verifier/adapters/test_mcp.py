"""The adapter for the MCP Python SDK, inside a server of the SDK, asked by the SDK's own client too."""

import logging
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from tests.unit.verifier.adapters.asking import ask, serving
from tests.unit.verifier.adapters.cases import CASES, Case, Sent, bearer, good

from mintmark.testing import Mint
from mintmark.verifier import Verifier, VerifierUnavailable
from mintmark.verifier.asgi import BearerMiddleware
from mintmark.verifier.judging import OnStale
from mintmark.verifier.mcp import MintmarkTokenVerifier, UnavailableMiddleware

RESOURCE = "https://api.test/mcp"
WELL_KNOWN = "/.well-known/oauth-protected-resource/mcp"
METADATA = f'resource_metadata="https://api.test{WELL_KNOWN}"'
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


@pytest.fixture
def mint() -> Iterator[Mint]:
    with Mint(audience=RESOURCE) as mint:
        yield mint


@pytest.fixture
def verifier(mint: Mint) -> Verifier:
    return mint.verifier()


def make(verifier: Verifier, *, scopes: list[str] | None = None, on_stale: OnStale | None = None) -> Starlette:
    server = MCPServer(
        "orders",
        token_verifier=MintmarkTokenVerifier(verifier, on_stale=on_stale),
        # From text: an AnyHttpUrl made elsewhere would add a slash to the issuer.
        auth=AuthSettings.model_validate(
            {
                "issuer_url": "https://mint.test",
                "resource_server_url": RESOURCE,
                "required_scopes": scopes,
                "validate_token_resource": True,
            }
        ),
    )

    @server.tool()
    def whoami() -> str:
        """Say whom the token speaks for."""
        token = get_access_token()
        assert token is not None
        return f"{token.subject} by {token.client_id}, {(token.claims or {})['roles']}"

    app = server.streamable_http_app(json_response=True, stateless_http=True)
    app.add_middleware(UnavailableMiddleware)
    return app


async def initialize(app: Starlette, sent: Sent, **request: Any) -> Any:
    headers = [*sent, ("Accept", "application/json, text/event-stream"), ("Host", "127.0.0.1:8000")]
    async with app.router.lifespan_context(app):
        return await ask(app, "/mcp", headers, method="POST", json=INITIALIZE, **request)


# Routes are the SDK's business, and so are roles; it looks at the first header only.
TABLE = [case for case in CASES if case.path in {"/any", "/scope", "/fresh"} and case.name != "two headers"]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
@pytest.mark.spec("S01", "S02", "S03", "RFC 6750 §2.1", "RFC 9728 §5.1")
async def test_the_table(case: Case, mint: Mint, verifier: Verifier) -> None:
    app = make(
        verifier,
        scopes=["orders:read", "orders:list"] if case.path == "/scope" else None,
        on_stale="deny" if case.path == "/fresh" else None,
    )
    sent, query = case.sent(mint), case.query(mint)
    with case.during(mint):
        answer = await initialize(app, sent, params=query)
    # The SDK has one answer to everything that is no good token.
    assert answer.status_code == (401 if case.status == 400 else case.status)
    if answer.status_code in {401, 403}:
        error = "insufficient_scope" if case.status == 403 else "invalid_token"
        assert answer.json()["error"] == error
        assert answer.headers["www-authenticate"].startswith(f'Bearer error="{error}"')
        assert answer.headers["www-authenticate"].endswith(METADATA)
    elif answer.status_code == 503:
        assert answer.json()["error"] == "temporarily_unavailable"
        assert answer.headers["retry-after"] == "1"
        assert "www-authenticate" not in answer.headers
    else:
        assert answer.json()["result"]["serverInfo"]["name"] == "orders"


@pytest.mark.spec("RFC 9728 §3")
async def test_the_metadata_is_public(verifier: Verifier) -> None:
    document = await ask(make(verifier, scopes=["orders:read"]), WELL_KNOWN)
    assert document.status_code == 200
    assert document.json() == {
        "resource": RESOURCE,
        "authorization_servers": ["https://mint.test"],
        "scopes_supported": ["orders:read"],
        "bearer_methods_supported": ["header"],
    }


async def test_a_custom_route_is_public_unless_the_middleware_is_around_it(mint: Mint, verifier: Verifier) -> None:
    server = MCPServer(
        "orders",
        token_verifier=MintmarkTokenVerifier(verifier),
        auth=AuthSettings.model_validate(
            {"issuer_url": "https://mint.test", "resource_server_url": RESOURCE, "validate_token_resource": True}
        ),
    )

    @server.custom_route("/report", methods=["GET"])  # type: ignore[untyped-decorator] # the SDK's own
    async def report(_: Request) -> Response:
        return Response()

    app = server.streamable_http_app()
    assert (await ask(app, "/report")).status_code == 200
    around = BearerMiddleware(app, verifier)
    assert (await ask(around, "/report")).status_code == 401
    assert (await ask(around, "/report", good(mint))).status_code == 200


async def test_what_the_sdk_learns_of_a_token(mint: Mint, verifier: Verifier) -> None:
    raw = mint.token(
        scope="orders:write orders:read",
        roles=["clerk"],
        audience=["https://mint.test", RESOURCE],
        tenants={"a": [1, {"b": 2}]},
    )
    said = await MintmarkTokenVerifier(verifier).verify_token(raw)
    assert said is not None
    assert (said.token, said.client_id, said.subject, said.resource) == (raw, "app", "ada", RESOURCE)
    assert said.scopes == ["orders:read", "orders:write"]
    claims = dict(verifier.verify(raw).claims)
    assert said.expires_at == claims["exp"]
    assert said.claims is not None
    assert (said.claims["iss"], said.claims["roles"]) == ("https://mint.test", ["clerk"])
    assert said.claims["tenants"] == {"a": [1, {"b": 2}]}
    assert said.model_dump_json()


async def test_an_outage_is_logged_and_is_no_rejection(
    mint: Mint, verifier: Verifier, caplog: pytest.LogCaptureFixture
) -> None:
    ours = MintmarkTokenVerifier(verifier, on_stale="deny")
    ((_, sent),) = good(mint)
    raw = sent.removeprefix("Bearer ")
    assert await ours.verify_token(raw) is not None
    with mint.outage(), caplog.at_level(logging.INFO, logger="mintmark.verifier"):
        mint.clock(+60)
        with pytest.raises(VerifierUnavailable):
            await ours.verify_token(raw)
        assert await MintmarkTokenVerifier(verifier).verify_token("a.b.c") is None
    lines = [record.getMessage() for record in caplog.records]
    assert "a token could not be checked: the revocation feed is silent" in lines
    assert "a token was rejected: malformed" in lines
    assert raw not in caplog.text


async def call(address: str, raw: str, answers: list[httpx2.Response]) -> str:
    """Call the tool as an MCP client does; what comes back is noted in ``answers``."""

    async def note(answer: httpx2.Response) -> None:
        answers.append(answer)

    async with httpx2.AsyncClient(headers=bearer(raw), event_hooks={"response": [note]}) as http:
        transport = streamable_http_client(f"http://{address}/mcp", http_client=http)
        async with Client(transport) as client:
            result = await client.call_tool("whoami", {})
            return result.content[0].text  # type: ignore[union-attr]


@pytest.mark.spec("S01", "S03")
async def test_a_tool_is_called_by_the_sdk_s_own_client(mint: Mint, verifier: Verifier) -> None:
    raw = mint.token(scope="orders:read", roles=["clerk"])
    answers: list[httpx2.Response] = []
    async with serving(make(verifier, scopes=["orders:read"])) as address:
        assert await call(address, raw, answers) == "ada by app, ['clerk']"
        assert {answer.status_code for answer in answers} <= {200, 202}
        answers.clear()
        mint.revoke(raw)
        with pytest.raises(ExceptionGroup) as refused:
            await call(address, raw, answers)
        assert refused.group_contains(MCPError)
        assert answers[0].status_code == 401
        assert METADATA in answers[0].headers["www-authenticate"]
