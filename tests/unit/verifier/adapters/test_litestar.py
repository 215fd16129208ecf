"""The Litestar adapter, inside Litestar."""

from pathlib import Path
from typing import Any

import pytest
from litestar import Controller, Litestar, asgi, get, websocket
from litestar.connection import WebSocket
from litestar.di import NamedDependency
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.response.base import ASGIResponse
from litestar.static_files import create_static_files_router
from litestar.types import Receive, Scope, Send
from tests.unit.verifier.adapters.asking import ask, check, shake_hands
from tests.unit.verifier.adapters.cases import NOT_PERMITTED, ROUTES, Case, all_cases, bearer, good

from mintmark.authority.metadata import PATHS
from mintmark.testing import Mint
from mintmark.verifier import Token
from mintmark.verifier.litestar import Auth


@pytest.fixture
def auth(mint: Mint) -> Auth:
    return Auth(mint.verifier())


@all_cases
@pytest.mark.spec("S01", "S02", "S03", "RFC 6750 §2.1", "RFC 6750 §3", "RFC 6750 §3.1", "RFC 9470 §3")
async def test_the_table(case: Case, mint: Mint, auth: Auth) -> None:
    one = ROUTES[case.path]
    needed = auth.require(
        scope=one.scope,
        role=one.role,
        permission=one.permission,
        max_age=one.max_age,
        acr=one.acr,
        on_stale=one.on_stale,
    )

    @get(case.path, guards=[needed])
    async def route(token: NamedDependency[Token]) -> dict[str, str]:
        return {"sub": token.sub}

    await check(Litestar([route], plugins=[auth]), case, mint)


@pytest.mark.spec("S03")
async def test_a_route_that_runs_in_a_thread(mint: Mint, auth: Auth) -> None:
    @get("/any", guards=[auth.require(scope="orders:read")], sync_to_thread=True)
    def route(token: NamedDependency[Token]) -> str:
        return token.sub

    app = Litestar([route], plugins=[auth])
    assert (await ask(app, headers=good(mint))).status_code == 403
    assert (await ask(app, headers=bearer(mint.token(scope="orders:read")))).text == "ada"


@pytest.mark.spec("S03")
async def test_a_controller_and_its_route_both_have_their_say(mint: Mint, auth: Auth) -> None:
    class Orders(Controller):
        guards = [auth.require(scope="orders:read")]  # noqa: RUF012 - Litestar's own way

        @get("/refund", guards=[auth.require(role="clerk")])
        async def refund(self, token: NamedDependency[Token]) -> str:
            return token.sub

    app = Litestar([Orders], plugins=[auth])
    reads, clerk = {"scope": "orders:read"}, {"roles": ["clerk"]}
    answers = [await ask(app, "/refund", bearer(mint.token(**given))) for given in (reads, clerk, reads | clerk)]
    assert [answer.status_code for answer in answers] == [403, 403, 200]


@pytest.mark.parametrize("path", ["/static/a.txt", "/mounted/any", "/schema", "/schema/openapi.json"])
async def test_guards_of_the_application_cover_what_is_no_route_of_its_own(
    path: str, mint: Mint, auth: Auth, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("a")

    @asgi("/mounted", is_mount=True, copy_scope=True)
    async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
        await ASGIResponse(body=b"a")(scope, receive, send)

    def make(**options: Any) -> Litestar:
        static = create_static_files_router("/static", [tmp_path])
        return Litestar([mounted, static], plugins=[auth], **options)

    guarded = make(guards=[auth.require()])
    assert (await ask(guarded, path)).status_code == 401
    assert (await ask(guarded, path, good(mint))).status_code == 200
    assert (await ask(make(), path)).status_code == 200


async def test_what_a_route_requires_later_is_answered_alike(mint: Mint, auth: Auth) -> None:
    @get("/any", guards=[auth.require()])
    async def clerks_only(token: NamedDependency[Token]) -> str:
        return token.require(role="clerk").sub

    app = Litestar([clerks_only], plugins=[auth])
    refused = await ask(app, headers=good(mint))
    assert (refused.status_code, refused.headers["www-authenticate"]) == (403, NOT_PERMITTED)
    assert (await ask(app, headers=bearer(mint.token(roles=["clerk"])))).text == "ada"


@pytest.mark.spec("S01")
async def test_a_route_without_a_guard_has_no_token(mint: Mint, auth: Auth) -> None:
    @get("/any")
    async def unguarded(token: NamedDependency[Token]) -> str:
        return token.sub

    refused = await ask(Litestar([unguarded], plugins=[auth]), headers=good(mint))
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.spec("RFC 6750 §3", "RFC 9728 §5.1")
async def test_a_challenge_names_the_realm_and_the_metadata(mint: Mint) -> None:
    auth = Auth(mint.verifier(), realm="orders", resource_metadata="https://api.test/meta")

    @get("/any", guards=[auth.require()])
    async def route() -> None: ...

    refused = await ask(Litestar([route], plugins=[auth]))
    assert refused.headers["www-authenticate"] == 'Bearer realm="orders", resource_metadata="https://api.test/meta"'


@pytest.mark.spec("S01")
async def test_a_websocket_is_accepted_with_a_good_token_only(mint: Mint, auth: Auth) -> None:
    @websocket("/any", guards=[auth.require()])
    async def messages(socket: WebSocket[Any, Any, Any], token: NamedDependency[Token]) -> None:
        await socket.accept()
        await socket.send_text(token.sub)
        await socket.close()

    app = Litestar([messages], plugins=[auth])
    accepted = await shake_hands(app, headers=good(mint))
    assert [message["type"] for message in accepted] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert accepted[1]["text"] == "ada"
    for sent in ([], bearer("a.b.c")):
        (refused,) = await shake_hands(app, headers=sent)
        assert (refused["type"], refused["code"]) == ("websocket.close", 1008)


def documented(mint: Mint, **options: Any) -> dict[str, Any]:
    auth = Auth(mint.verifier())

    @get("/public")
    async def public() -> None: ...

    @get("/any", guards=[auth.require()])
    async def known(token: NamedDependency[Token]) -> None: ...

    class Orders(Controller):
        guards = [auth.require(scope="orders:read orders:list")]  # noqa: RUF012

        @get("/refund", guards=[auth.require(scope=["orders:refund"], role="clerk")])
        async def refund(self, token: NamedDependency[Token]) -> None: ...

    return Litestar([public, known, Orders], plugins=[auth], **options).openapi_schema.to_schema()


def test_the_document_has_padlocks_and_scopes(mint: Mint) -> None:
    paths = documented(mint)["paths"]
    assert "security" not in paths["/public"]["get"]
    assert paths["/any"]["get"]["security"] == [{"mintmark": []}]
    assert paths["/refund"]["get"]["security"] == [{"mintmark": ["orders:read", "orders:list", "orders:refund"]}]
    assert not any(path["get"].get("parameters") for path in paths.values())


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


def test_the_application_s_own_components_stay_and_nobody_else_s_change(mint: Mint) -> None:
    own = Components(security_schemes={"key": SecurityScheme(type="apiKey", name="x-key", security_scheme_in="header")})
    config = OpenAPIConfig(title="Orders", version="1", components=own)
    assert documented(mint, openapi_config=config)["components"]["securitySchemes"].keys() == {"key", "mintmark"}
    assert config.components is own
    assert "securitySchemes" not in Litestar([]).openapi_schema.to_schema().get("components", {})


def test_an_application_without_a_document_is_fine(mint: Mint, auth: Auth) -> None:
    assert Litestar([], plugins=[auth], openapi_config=None).openapi_config is None
