"""Bearer tokens in Litestar: guards, the token as a dependency, and security in the OpenAPI document.

auth = Auth(verifier)

@get("/orders", guards=[auth.require(scope="orders:read")])
async def orders(token: Token) -> ...: ...

app = Litestar([orders], plugins=[auth])
"""

from collections.abc import Sequence
from copy import copy
from typing import Any, Self, cast

from litestar.config.app import AppConfig
from litestar.connection import ASGIConnection, Request
from litestar.di import Provide
from litestar.exceptions import WebSocketException
from litestar.handlers import BaseRouteHandler
from litestar.openapi.spec import Components, OAuthFlow, OAuthFlows, SecurityScheme
from litestar.plugins import InitPlugin, ReceiveRoutePlugin
from litestar.response import Response
from litestar.routes import BaseRoute, HTTPRoute
from litestar.types import Scope

from mintmark.verifier import asgi
from mintmark.verifier.bearer import Requirement, aauthorize, refusal
from mintmark.verifier.errors import VerifierError
from mintmark.verifier.judging import OnStale
from mintmark.verifier.openapi import SCHEME, endpoints
from mintmark.verifier.token import Names, Token, names
from mintmark.verifier.verifier import Verifier


class Auth(InitPlugin, ReceiveRoutePlugin):
    """Protects the routes of one Litestar application; one of its plugins.

    Args:
        verifier: Who verifies.
        realm: Names the protected space in challenges (RFC 9110 §11.5).
        resource_metadata: URL of this resource's metadata, for challenges (RFC 9728 §5.1).
    """

    def __init__(self, verifier: Verifier, *, realm: str | None = None, resource_metadata: str | None = None) -> None:
        self._verifier = verifier
        self._realm = realm
        self._resource_metadata = resource_metadata
        self._scopes: dict[str, str] = {}

    def require(
        self,
        *,
        scope: Names = (),
        role: Names = (),
        permission: Names = (),
        max_age: int | None = None,
        acr: Names = (),
        on_stale: OnStale | None = None,
    ) -> "Guard":
        """Return a guard for a route, controller, router or application; without arguments any good token will do.

        Args:
            scope: Scopes that are all needed.
            role: Roles that are all needed.
            permission: Permissions that are all needed.
            max_age: The person must have signed in at most that many seconds ago (RFC 9470 §4).
            acr: One of these authentication classes is needed (RFC 9470 §4).
            on_stale: Instead of the verifier's own, see `OnStale`.
        """
        scopes = names(scope)
        requirement = Requirement(
            scope=scopes, role=role, permission=permission, max_age=max_age, acr=acr, on_stale=on_stale
        )
        self._scopes |= dict.fromkeys(scopes, "")
        return Guard(self._verifier, requirement, scopes)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Bring in what the application needs: the dependency ``token``, answers to refusals, the OpenAPI scheme."""
        app_config.dependencies = {"token": Provide(_token, sync_to_thread=False), **(app_config.dependencies or {})}
        app_config.exception_handlers = {VerifierError: self._refuse, **(app_config.exception_handlers or {})}
        if app_config.openapi_config is not None:
            # A copy: the default is one object for all applications.
            config = copy(app_config.openapi_config)
            given = config.components if isinstance(config.components, list) else [config.components]
            config.components = [*given, self._components()]
            app_config.openapi_config = config
        return app_config

    def receive_route(self, route: BaseRoute) -> None:
        """Say in the OpenAPI document which scopes a route wants."""
        if not isinstance(route, HTTPRoute):
            return
        for handler in route.route_handlers:
            guards = [guard for guard in handler.resolve_guards() if isinstance(guard, Guard)]
            if guards:
                # One requirement for all of them: several would be alternatives.
                scopes = dict.fromkeys(name for guard in guards for name in guard.scopes)
                handler.security = [*(handler.security or ()), {SCHEME: list(scopes)}]

    def _components(self) -> Components:
        authorization_url, token_url = endpoints(self._verifier)
        flow = OAuthFlow(authorization_url=authorization_url, token_url=token_url, scopes=self._scopes)
        scheme = SecurityScheme(type="oauth2", flows=OAuthFlows(authorization_code=flow))
        return Components(security_schemes={SCHEME: scheme})

    def _refuse(self, _request: Request[Any, Any, Any], error: VerifierError) -> Response[bytes]:
        answer = refusal(error, realm=self._realm, resource_metadata=self._resource_metadata)
        return Response(answer.body, status_code=answer.status, headers=dict(answer.headers))


class Guard:
    """One guard of Litestar's; made by `Auth.require`.

    Attributes:
        scopes: What the OpenAPI document says of it.
    """

    def __init__(self, verifier: Verifier, requirement: Requirement, scopes: Sequence[str]) -> None:
        self._verifier = verifier
        self._requirement = requirement
        self.scopes = scopes

    def __deepcopy__(self, _memo: object) -> Self:
        # Litestar copies the routes of controllers, guards included; a verifier cannot be copied.
        return self

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
        """Let the request through, or raise.

        Raises:
            VerifierError: It may not go on.
            WebSocketException: Nor may this handshake.
        """
        scope = cast("asgi.Scope", connection.scope)
        try:
            token = await aauthorize(self._verifier, asgi.sent(scope), self._requirement)
        except VerifierError as error:
            if scope["type"] == "websocket":
                raise WebSocketException(detail=error.description, code=asgi.POLICY_VIOLATION) from error
            raise
        scope[asgi.TOKEN_KEY] = token


def _token(scope: Scope) -> Token:
    return asgi.current_token(cast("asgi.Scope", scope))
