"""The FastAPI adapter, inside FastAPI."""

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from fastapi.openapi.models import OpenAPI
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from tests.unit.verifier.adapters.asking import ask, check, shake_hands
from tests.unit.verifier.adapters.cases import INVALID, NOT_PERMITTED, ROUTES, Case, all_cases, bearer, good

from mintmark.authority.metadata import PATHS
from mintmark.testing import Mint
from mintmark.verifier import Token
from mintmark.verifier.asgi import BearerMiddleware
from mintmark.verifier.fastapi import Auth


@pytest.fixture
def auth(mint: Mint) -> Auth:
    return Auth(mint.verifier())


def nothing() -> None:
    """Be a route."""


def make(auth: Auth, **options: Any) -> FastAPI:
    return FastAPI(exception_handlers=auth.exception_handlers, **options)


@all_cases
@pytest.mark.spec("S01", "S02", "S03", "RFC 6750 §2.1", "RFC 6750 §3", "RFC 6750 §3.1", "RFC 9470 §3")
async def test_the_table(case: Case, mint: Mint, auth: Auth) -> None:
    app = make(auth)
    one = ROUTES[case.path]
    needed = auth.require(
        scope=one.scope,
        role=one.role,
        permission=one.permission,
        max_age=one.max_age,
        acr=one.acr,
        on_stale=one.on_stale,
    )

    @app.get(case.path)
    async def route(token: Annotated[Token, needed]) -> dict[str, str]:
        return {"sub": token.sub}

    await check(app, case, mint)


@pytest.mark.spec("S03")
async def test_a_route_that_runs_in_a_thread(mint: Mint, auth: Auth) -> None:
    app = make(auth)

    @app.get("/any")
    def route(token: Annotated[Token, auth.require(scope="orders:read")]) -> str:
        return token.sub

    assert (await ask(app, headers=good(mint))).status_code == 403
    assert (await ask(app, headers=bearer(mint.token(scope="orders:read")))).json() == "ada"


@pytest.mark.spec("S03")
async def test_a_router_and_its_route_both_have_their_say(mint: Mint, auth: Auth) -> None:
    router = APIRouter(dependencies=[auth.require(scope="orders:read")])

    @router.get("/refund")
    async def refund(token: Annotated[Token, auth.require(role="clerk")]) -> str:
        return token.sub

    app = make(auth)
    app.include_router(router)
    reads, clerk = {"scope": "orders:read"}, {"roles": ["clerk"]}
    answers = [await ask(app, "/refund", bearer(mint.token(**given))) for given in (reads, clerk, reads | clerk)]
    assert [answer.status_code for answer in answers] == [403, 403, 200]


@pytest.mark.parametrize("path", ["/sub/any", "/openapi.json", "/docs", "/redoc"])
async def test_what_the_dependencies_of_an_application_do_not_cover_the_middleware_does(
    path: str, mint: Mint, auth: Auth
) -> None:
    app, sub = make(auth, dependencies=[auth.require()]), FastAPI()
    app.get("/any")(nothing)
    sub.get("/any")(nothing)
    app.mount("/sub", sub)
    assert [(await ask(app, one)).status_code for one in ("/any", path)] == [401, 200]
    around = make(auth)
    around.mount("/sub", sub)
    around.add_middleware(BearerMiddleware, verifier=mint.verifier())
    refused = await ask(around, path)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert (await ask(around, path, good(mint))).status_code == 200


@pytest.mark.spec("RFC 6750 §3", "RFC 9728 §5.1")
async def test_a_challenge_names_the_realm_and_the_metadata(mint: Mint) -> None:
    auth = Auth(mint.verifier(), realm="orders", resource_metadata="https://api.test/meta")
    app = make(auth, dependencies=[auth.require()])
    app.get("/any")(nothing)
    refused = await ask(app)
    assert refused.headers["www-authenticate"] == 'Bearer realm="orders", resource_metadata="https://api.test/meta"'


async def test_what_a_route_requires_later_is_answered_alike(mint: Mint, auth: Auth) -> None:
    app = make(auth)

    @app.get("/any")
    def clerks_only(token: Annotated[Token, auth.require()]) -> str:
        return token.require(role="clerk").sub

    refused = await ask(app, headers=good(mint))
    assert (refused.status_code, refused.headers["www-authenticate"]) == (403, NOT_PERMITTED)
    assert (await ask(app, headers=bearer(mint.token(roles=["clerk"])))).json() == "ada"


@pytest.mark.spec("S01")
async def test_without_the_handlers_status_and_challenge_are_still_right(mint: Mint, auth: Auth) -> None:
    app = FastAPI(dependencies=[auth.require()])
    app.get("/any")(nothing)
    refused = await ask(app, headers=bearer("a.b.c"))
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, INVALID)
    assert refused.json() == {"detail": "The access token is invalid, expired or revoked"}
    with mint.outage():
        mint.clock(+60)
        late = FastAPI(dependencies=[auth.require(on_stale="deny")])
        late.get("/any")(nothing)
        refused = await ask(late, headers=good(mint))
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


async def test_a_dependency_can_be_replaced(mint: Mint, auth: Auth) -> None:
    reads = auth.require(scope="orders:read")
    app = make(auth)

    @app.get("/any")
    async def route(token: Annotated[Token, reads]) -> str:
        return token.sub

    assert (await ask(app)).status_code == 401
    grace = mint.verifier().verify(mint.token(sub="grace"))
    app.dependency_overrides[reads.dependency] = lambda: grace
    assert (await ask(app)).json() == "grace"


@pytest.mark.spec("S01")
async def test_a_websocket_is_accepted_with_a_good_token_only(mint: Mint, auth: Auth) -> None:
    app = make(auth)

    @app.websocket("/any")
    async def messages(websocket: WebSocket, token: Annotated[Token, auth.require()]) -> None:
        await websocket.accept()
        await websocket.send_text(token.sub)
        token.require(role="clerk")

    assert [m["type"] for m in await shake_hands(app)] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert (await shake_hands(app, headers=bearer("a.b.c")))[0]["status"] == 401
    assert await shake_hands(app, denial=False) == [{"type": "websocket.close", "code": 1008}]
    with TestClient(app).websocket_connect("/any", headers=mint.headers()) as websocket:
        assert websocket.receive_text() == "ada"
        with pytest.raises(WebSocketDisconnect) as closed:
            websocket.receive_text()
    assert closed.value.code == 1008


def documented(mint: Mint) -> dict[str, Any]:
    auth = Auth(mint.verifier())
    app = make(auth)
    app.get("/public")(nothing)
    app.get("/any", dependencies=[auth.require()])(nothing)
    app.get("/reads", dependencies=[auth.require(scope="orders:read orders:list")])(nothing)
    router = APIRouter(dependencies=[auth.require(scope="orders:read")])
    router.get("/refund", dependencies=[auth.require(scope=["orders:refund"], role="clerk")])(nothing)
    app.include_router(router)
    return app.openapi()


def test_the_document_has_padlocks_and_scopes(mint: Mint) -> None:
    paths = documented(mint)["paths"]
    assert "security" not in paths["/public"]["get"]
    assert paths["/any"]["get"]["security"] == [{"mintmark": []}]
    assert paths["/reads"]["get"]["security"] == [{"mintmark": ["orders:read", "orders:list"]}]
    assert paths["/refund"]["get"]["security"] == [{"mintmark": ["orders:read", "orders:refund"]}]
    assert not any("parameters" in path["get"] for path in paths.values())


def test_the_document_says_where_tokens_come_from(mint: Mint) -> None:
    assert documented(mint)["components"]["securitySchemes"] == {
        "mintmark": {
            "type": "oauth2",
            "flows": {
                "authorizationCode": {
                    "authorizationUrl": mint.issuer + PATHS["authorization_endpoint"],
                    "tokenUrl": mint.issuer + PATHS["token_endpoint"],
                    "scopes": {"orders:read": "", "orders:list": "", "orders:refund": ""},
                }
            },
        }
    }


def test_the_document_is_valid(mint: Mint) -> None:
    document = documented(mint)
    OpenAPI.model_validate(document)
    schemes = document["components"]["securitySchemes"]
    for path in document["paths"].values():
        for wanted in path["get"].get("security", []):
            for name, scopes in wanted.items():
                assert set(scopes) <= schemes[name]["flows"]["authorizationCode"]["scopes"].keys()
