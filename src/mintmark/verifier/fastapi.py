"""Bearer tokens as a FastAPI dependency, with scopes and padlock in the OpenAPI document.

auth = Auth(verifier)
app = FastAPI(exception_handlers=auth.exception_handlers)

@app.get("/orders")
async def orders(token: Annotated[Token, auth.require(scope="orders:read")]) -> ...: ...
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from fastapi import HTTPException, Request, Response, Security, WebSocket
from fastapi.openapi.models import OAuth2, OAuthFlowAuthorizationCode, OAuthFlows
from fastapi.requests import HTTPConnection
from fastapi.security.base import SecurityBase

from mintmark.verifier import asgi
from mintmark.verifier.bearer import Refusal, Requirement, aauthorize, refusal
from mintmark.verifier.errors import VerifierError
from mintmark.verifier.judging import OnStale
from mintmark.verifier.openapi import SCHEME, endpoints
from mintmark.verifier.starlette import ExceptionHandlers, respond
from mintmark.verifier.token import Names, Token, names
from mintmark.verifier.verifier import Verifier


class Auth:
    """Protects the routes of one FastAPI application.

    Args:
        verifier: Who verifies.
        realm: Names the protected space in challenges (RFC 9110 §11.5).
        resource_metadata: URL of this resource's metadata, for challenges (RFC 9728 §5.1).
    """

    def __init__(self, verifier: Verifier, *, realm: str | None = None, resource_metadata: str | None = None) -> None:
        self._verifier = verifier
        self._realm = realm
        self._resource_metadata = resource_metadata
        authorization_url, token_url = endpoints(verifier)
        self._flow = OAuthFlowAuthorizationCode(authorizationUrl=authorization_url, tokenUrl=token_url)
        self._scheme = OAuth2(flows=OAuthFlows(authorizationCode=self._flow))

    def require(
        self,
        *,
        scope: Names = (),
        role: Names = (),
        permission: Names = (),
        max_age: int | None = None,
        acr: Names = (),
        on_stale: OnStale | None = None,
    ) -> Any:
        """Return a dependency whose value is the request's `Token`; without arguments any good token will do.

        It goes into ``Annotated[Token, …]``, or into the ``dependencies`` of a route, router or application.
        To replace it in ``app.dependency_overrides``, name its ``dependency``.

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
        self._flow.scopes |= dict.fromkeys(scopes, "")
        return Security(_Guard(self._scheme, partial(self._authorize, requirement)), scopes=scopes)

    @property
    def exception_handlers(self) -> ExceptionHandlers:
        """Answers with the body of RFC 6750 instead of FastAPI's, and to a `VerifierError` that a route raises."""
        return {_Refused: self._answer, VerifierError: self._refuse}

    async def _authorize(self, requirement: Requirement, connection: HTTPConnection) -> Token:
        try:
            return await aauthorize(self._verifier, asgi.sent(connection.scope), requirement)
        except VerifierError as error:
            raise _Refused(self._refusal(error), error.description) from error

    def _refusal(self, error: VerifierError) -> Refusal:
        return refusal(error, realm=self._realm, resource_metadata=self._resource_metadata)

    async def _answer(self, connection: Request | WebSocket, refused: "_Refused") -> Response | None:
        return await respond(connection, refused.refusal)

    async def _refuse(self, connection: Request | WebSocket, error: VerifierError) -> Response | None:
        return await respond(connection, self._refusal(error))


class _Refused(HTTPException):
    """A request that may not go on. FastAPI itself answers it with the right status and challenge if need be."""

    def __init__(self, refused: Refusal, description: str) -> None:
        super().__init__(refused.status, description, dict(refused.headers))
        self.refusal = refused


class _Guard(SecurityBase):
    """One dependency; FastAPI reads ``model`` and ``scheme_name`` for the OpenAPI document."""

    def __init__(self, scheme: OAuth2, authorize: Callable[[HTTPConnection], Awaitable[Token]]) -> None:
        self.model = scheme
        self.scheme_name = SCHEME
        self._authorize = authorize

    async def __call__(self, connection: HTTPConnection) -> Token:
        return await self._authorize(connection)
