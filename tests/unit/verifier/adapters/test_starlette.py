"""The Starlette adapter, inside Starlette."""

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect
from tests.unit.verifier.adapters.asking import ask, check, shake_hands
from tests.unit.verifier.adapters.cases import INVALID, NOT_PERMITTED, ROUTES, Case, all_cases, bearer, good

from mintmark.testing import Mint
from mintmark.verifier import Verifier
from mintmark.verifier.asgi import BearerMiddleware, Receive, Scope, Send
from mintmark.verifier.starlette import Auth, BearerUser, current_token


@pytest.fixture
def verifier(mint: Mint) -> Verifier:
    return mint.verifier()


def make(auth: Auth, *routes: Route | WebSocketRoute | Mount) -> Starlette:
    return Starlette(routes=routes, middleware=[auth.middleware], exception_handlers=auth.exception_handlers)


async def public(request: Request) -> Response:
    """Say who is there, if anybody."""
    return JSONResponse({"known": request.user.is_authenticated, "name": request.user.display_name})


@requires("orders:read")
async def reads(request: Request) -> Response:
    user: BearerUser = request.user
    return JSONResponse({"sub": user.token.sub})


@requires(["orders:list", "orders:read"], status_code=401)
def reads_in_a_thread(request: Request) -> Response:
    return JSONResponse({"sub": request.user.token.sub})


@pytest.fixture
def app(verifier: Verifier) -> Starlette:
    return make(
        Auth(verifier),
        Route("/public", public),
        Route("/reads", reads),
        Route("/thread", reads_in_a_thread),
    )


@all_cases
@pytest.mark.spec("S01", "S02", "S03", "RFC 6750 §2.1", "RFC 6750 §3", "RFC 6750 §3.1", "RFC 9470 §3")
async def test_the_table(case: Case, mint: Mint, verifier: Verifier) -> None:
    one = ROUTES[case.path]

    async def endpoint(request: Request) -> Response:
        token = current_token(request)
        token.require(scope=one.scope, role=one.role, permission=one.permission, max_age=one.max_age, acr=one.acr)
        return JSONResponse({"sub": token.sub})

    own = [Middleware(BearerMiddleware, verifier, on_stale=one.on_stale)] if one.on_stale else []
    await check(make(Auth(verifier), Route(case.path, endpoint, middleware=own)), case, mint)


async def test_a_public_route_takes_anybody_but_no_bad_token(app: Starlette, mint: Mint) -> None:
    assert (await ask(app, "/public")).json() == {"known": False, "name": ""}
    assert (await ask(app, "/public", good(mint))).json() == {"known": True, "name": "ada"}
    refused = await ask(app, "/public", bearer("a.b.c"))
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, INVALID)


@pytest.mark.parametrize(("own", "expected"), [(False, [200, 200]), (True, [401, 200])])
async def test_what_is_mounted_asks_for_a_token_by_the_middleware_of_its_mount(
    mint: Mint, verifier: Verifier, *, own: bool, expected: list[int]
) -> None:
    middleware = [Middleware(BearerMiddleware, verifier)] if own else []
    app = make(Auth(verifier), Mount("/files", Response("a"), middleware=middleware))
    assert [(await ask(app, "/files/a", sent)).status_code for sent in ([], good(mint))] == expected


@pytest.mark.parametrize("own", [False, True])
async def test_what_is_neither_request_nor_websocket_reaches_no_route(
    mint: Mint, verifier: Verifier, *, own: bool
) -> None:
    reached: list[str] = []

    async def anything(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope["type"])
        await Response()(scope, receive, send)

    middleware = [Middleware(BearerMiddleware, verifier)] if own else []
    app = make(Auth(verifier), Mount("/", anything, middleware=middleware))

    async def nobody(*_: object) -> Any:
        raise LookupError("nothing is to be received or sent")

    # Starlette refuses by an assertion, and where Python is told to skip those, because no route matches.
    with pytest.raises((AssertionError, HTTPException)):
        await app({"type": "webtransport", "path": "/", "method": "GET", "headers": []}, nobody, nobody)
    assert (await ask(app, "/", good(mint))).status_code == 200
    assert reached == ["http"]


@pytest.mark.spec("S01", "S03", "RFC 6750 §3", "RFC 6750 §3.1")
@pytest.mark.parametrize("path", ["/reads", "/thread"])
async def test_requires_of_starlette_itself(path: str, app: Starlette, mint: Mint) -> None:
    anonymous = await ask(app, path)
    assert (anonymous.status_code, anonymous.headers["www-authenticate"]) == (401, "Bearer")
    assert anonymous.json()["error"] == "unauthorized"
    allowed = await ask(app, path, bearer(mint.token(scope="orders:read orders:list")))
    assert (allowed.status_code, allowed.json()) == (200, {"sub": "ada"})


@pytest.mark.spec("S03", "RFC 6750 §3")
@pytest.mark.parametrize(("path", "scope"), [("/reads", "orders:read"), ("/thread", "orders:list orders:read")])
async def test_the_challenge_for_requires_names_the_scopes(path: str, scope: str, app: Starlette, mint: Mint) -> None:
    refused = await ask(app, path, bearer(mint.token(scope="orders:list")))
    assert refused.status_code == 403
    assert refused.headers["www-authenticate"] == f'{NOT_PERMITTED}, scope="{scope}"'
    assert refused.json()["error"] == "insufficient_scope"


@pytest.mark.parametrize("status", [401, 403])
async def test_the_application_s_own_answers_stay_its_own(status: int, mint: Mint, verifier: Verifier) -> None:
    @requires("orders:read")
    async def not_yours(request: Request) -> Response:
        raise HTTPException(status, "not your order", {"x-order": "1"})

    answer = await ask(make(Auth(verifier), Route("/", not_yours)), "/", bearer(mint.token(scope="orders:read")))
    assert (answer.status_code, answer.text, answer.headers["x-order"]) == (status, "not your order", "1")
    assert "www-authenticate" not in answer.headers


async def test_what_somebody_sent_gets_into_no_header(mint: Mint, verifier: Verifier) -> None:
    async def looks_for(request: Request) -> Response:
        if request.query_params["name"] not in request.auth.scopes:
            raise HTTPException(403)
        return Response()

    app = make(Auth(verifier), Route("/", looks_for))
    for name in ('a" b', "a\r\nset-cookie: b", "a b"):
        refused = await ask(app, "/", good(mint), params={"name": name})
        assert (refused.status_code, refused.headers["www-authenticate"]) == (403, NOT_PERMITTED)
    refused = await ask(app, "/", good(mint), params={"name": "orders:read"})
    assert refused.headers["www-authenticate"] == f'{NOT_PERMITTED}, scope="orders:read"'


@pytest.mark.spec("RFC 6750 §3", "RFC 9728 §5.1")
async def test_a_challenge_names_the_realm_and_the_metadata(mint: Mint, verifier: Verifier) -> None:
    app = make(Auth(verifier, realm="orders", resource_metadata="https://api.test/meta"), Route("/reads", reads))
    start = 'Bearer realm="orders"'
    for sent in ([], good(mint), bearer("a.b.c")):
        challenge = (await ask(app, "/reads", sent)).headers["www-authenticate"]
        assert challenge.startswith(start)
        assert challenge.endswith('resource_metadata="https://api.test/meta"')


@pytest.mark.spec("S04")
async def test_the_same_subject_of_another_issuer_is_another_user(mint: Mint) -> None:
    with Mint("https://other.test") as other:
        users = [BearerUser(one.verifier().verify(one.token())) for one in (mint, mint, other)]
    assert users[0].identity == users[1].identity != users[2].identity


async def messages(websocket: WebSocket) -> None:
    token = current_token(websocket)
    await websocket.accept()
    await websocket.send_text(token.sub)
    token.require(role="clerk")
    await websocket.send_text("clerk")
    await websocket.close()


@pytest.mark.spec("S01")
async def test_a_websocket_is_accepted_with_a_good_token_only(mint: Mint, verifier: Verifier) -> None:
    app = make(Auth(verifier), WebSocketRoute("/any", messages))
    assert (await shake_hands(app, headers=good(mint)))[0]["type"] == "websocket.accept"
    assert (await shake_hands(app))[0]["status"] == 401
    assert await shake_hands(app, denial=False) == [{"type": "websocket.close", "code": 1008}]
    assert [message["type"] for message in await shake_hands(app, headers=bearer("a.b.c"))] == ["websocket.close"]


@pytest.mark.spec("S03")
def test_a_websocket_that_was_accepted_is_closed(mint: Mint, verifier: Verifier) -> None:
    client = TestClient(make(Auth(verifier), WebSocketRoute("/any", messages)))
    with client.websocket_connect("/any", headers=mint.headers(roles=["clerk"])) as websocket:
        assert [websocket.receive_text(), websocket.receive_text()] == ["ada", "clerk"]
    with client.websocket_connect("/any", headers=mint.headers()) as websocket:
        assert websocket.receive_text() == "ada"
        with pytest.raises(WebSocketDisconnect) as closed:
            websocket.receive_text()
    assert closed.value.code == 1008
