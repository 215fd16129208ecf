"""Bearer tokens in Starlette's own words: an authentication backend, ``@requires``, and ``request.user.token``.

auth = Auth(verifier)
app = Starlette(routes, middleware=[auth.middleware], exception_handlers=auth.exception_handlers)

A request without a token is anonymous, so that public routes can stand beside protected ones. What Starlette cannot
say with ``@requires`` - roles, a recent sign-in - is said with ``current_token(request).require(role="clerk")``, or by
`BearerMiddleware` on a route.
"""

from collections.abc import Iterable
from typing import Any

from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    BaseUser,
    UnauthenticatedUser,
)
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.websockets import WebSocket, WebSocketState

from mintmark.oauth.scope import is_scope_token
from mintmark.verifier import asgi
from mintmark.verifier.bearer import Refusal, aauthorize, refusal
from mintmark.verifier.errors import RequirementNotMet, TokenMissing, VerifierError
from mintmark.verifier.token import Token
from mintmark.verifier.verifier import Verifier

ExceptionHandlers = dict[Any, Any]
"""What ``exception_handlers`` of an application takes."""


def current_token(connection: HTTPConnection) -> Token:
    """Return the token that was verified for this request.

    Raises:
        TokenMissing: The request is anonymous.
    """
    return asgi.current_token(connection.scope)


class BearerUser(BaseUser):
    """Whom a verified token speaks for.

    Attributes:
        token: What it says.
    """

    def __init__(self, token: Token) -> None:
        self.token = token

    @property
    def is_authenticated(self) -> bool:
        """Whether it is known who this is."""
        return True

    @property
    def display_name(self) -> str:
        """The subject; an identifier, no name for people."""
        return self.token.sub

    @property
    def identity(self) -> str:
        """Issuer and subject: the same subject of another issuer is somebody else."""
        return f"{self.token.issuer} {self.token.sub}"


class Auth:
    """Authentication for one Starlette application.

    Args:
        verifier: Who verifies.
        realm: Names the protected space in challenges (RFC 9110 §11.5).
        resource_metadata: URL of this resource's metadata, for challenges (RFC 9728 §5.1).
    """

    def __init__(self, verifier: Verifier, *, realm: str | None = None, resource_metadata: str | None = None) -> None:
        self._verifier = verifier
        self._realm = realm
        self._resource_metadata = resource_metadata

    @property
    def middleware(self) -> Middleware:
        """Verifies what is sent; a bad token is refused, no token makes the request anonymous."""
        return Middleware(AuthenticationMiddleware, backend=_Backend(self._verifier), on_error=self._on_error)

    @property
    def exception_handlers(self) -> ExceptionHandlers:
        """Answers to a `VerifierError` and to Starlette's ``@requires``, with the right challenge."""
        return {VerifierError: self._refuse, 401: self._forbidden, 403: self._forbidden}

    def _refusal(self, error: VerifierError) -> Refusal:
        return refusal(error, realm=self._realm, resource_metadata=self._resource_metadata)

    def _on_error(self, _connection: HTTPConnection, error: AuthenticationError) -> Response:
        assert isinstance(error.__cause__, VerifierError)
        return response(self._refusal(error.__cause__))

    async def _refuse(self, connection: Request | WebSocket, error: VerifierError) -> Response | None:
        return await respond(connection, self._refusal(error))

    async def _forbidden(self, request: Request, error: HTTPException) -> Response | None:
        credentials = request.scope.get("auth")
        if not isinstance(credentials, _Credentials) or not credentials.scopes.is_short:
            # Not ``@requires`` but the application itself said so: answered as Starlette does.
            return PlainTextResponse(error.detail, status_code=error.status_code, headers=error.headers)
        if asgi.TOKEN_KEY not in request.scope:
            return response(self._refusal(TokenMissing()))
        return response(self._refusal(RequirementNotMet("scope", scope=" ".join(credentials.scopes.asked) or None)))


class _Backend(AuthenticationBackend):
    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser]:
        try:
            token = await aauthorize(self._verifier, asgi.sent(conn.scope))
        except TokenMissing:
            return _Credentials(()), UnauthenticatedUser()
        except VerifierError as error:
            raise AuthenticationError(str(error)) from error
        conn.scope[asgi.TOKEN_KEY] = token
        return _Credentials(token.scopes), BearerUser(token)


class _Scopes(list[str]):
    """Remembers what it was asked for: ``@requires`` raises a bare 403, and the challenge has to name the scopes."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(names)
        self.asked: list[str] = []
        self.is_short = False

    def __contains__(self, name: object) -> bool:
        # Whatever else a route looks for here is not for a header.
        if isinstance(name, str) and is_scope_token(name):
            self.asked.append(name)
        self.is_short = not super().__contains__(name)
        return not self.is_short


class _Credentials(AuthCredentials):
    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self.scopes: _Scopes = _Scopes(names)


def response(refused: Refusal) -> Response:
    """Return a refusal as Starlette's response."""
    return Response(refused.body, status_code=refused.status, headers=dict(refused.headers))


async def respond(connection: Request | WebSocket, refused: Refusal) -> Response | None:
    """Return the response of a request; refuse a WebSocket, or close it if it was accepted before."""
    if not isinstance(connection, WebSocket):
        return response(refused)
    if connection.application_state is WebSocketState.CONNECTING:
        await asgi.refuse(refused, connection.scope, connection.send)
    else:
        await connection.close(asgi.POLICY_VIOLATION)
    return None
