"""Bearer tokens for any ASGI application: two middlewares, no framework, and nothing reads a request's body.

app = BearerMiddleware(app, verifier, scope="orders:read")
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from mintmark.verifier.bearer import Refusal, Requirement, aauthorize, refusal
from mintmark.verifier.errors import TokenMissing, VerifierError
from mintmark.verifier.judging import OnStale
from mintmark.verifier.resource_metadata import ResourceMetadata
from mintmark.verifier.token import Names, Token
from mintmark.verifier.verifier import Verifier

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN_KEY: Final = "mintmark.token"
"""Where the verified `Token` is in the ASGI scope."""

_DENIAL: Final = "websocket.http.response"
POLICY_VIOLATION: Final = 1008
"""How a WebSocket is closed that may not go on (RFC 6455 §7.4.1)."""


def sent(scope: Scope) -> list[str]:
    """Return the ``Authorization`` headers of a request or handshake, each as it was sent."""
    return [value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"]


def current_token(scope: Scope) -> Token:
    """Return the token that was verified for this request.

    Raises:
        TokenMissing: None was.
    """
    token = scope.get(TOKEN_KEY)
    if not isinstance(token, Token):
        raise TokenMissing
    return token


async def refuse(refused: Refusal, scope: Scope, send: Send) -> None:
    """Answer a request with ``refused``; a WebSocket is closed before it was accepted, which the client sees as 403.

    Where the server can say more to a WebSocket (ASGI extension ``websocket.http.response``), the whole answer is sent.
    """
    kind = "http.response"
    if scope["type"] == "websocket":
        if _DENIAL not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        kind = _DENIAL
    headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in refused.headers]
    headers.append((b"content-length", b"%d" % len(refused.body)))
    await send({"type": f"{kind}.start", "status": refused.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": refused.body})


class BearerMiddleware:
    """Lets requests and WebSocket handshakes through that bring a good token; `current_token` finds it.

    A `VerifierError` that the application raises, as by ``current_token(scope).require(role="clerk")``, is answered as
    well, unless its response has begun. Of everything that is no request only ``lifespan`` passes.

    Args:
        app: What is protected.
        verifier: Who verifies.
        scope: Scopes that are all needed.
        role: Roles that are all needed.
        permission: Permissions that are all needed.
        max_age: The person must have signed in at most that many seconds ago (RFC 9470 §4).
        acr: One of these authentication classes is needed (RFC 9470 §4).
        on_stale: Instead of the verifier's own, see `OnStale`.
        realm: Names the protected space in challenges (RFC 9110 §11.5).
        resource_metadata: URL of this resource's metadata, for challenges (RFC 9728 §5.1).
    """

    def __init__(
        self,
        app: ASGIApp,
        verifier: Verifier,
        *,
        scope: Names = (),
        role: Names = (),
        permission: Names = (),
        max_age: int | None = None,
        acr: Names = (),
        on_stale: OnStale | None = None,
        realm: str | None = None,
        resource_metadata: str | None = None,
    ) -> None:
        self._app = app
        self._verifier = verifier
        self._requirement = Requirement(
            scope=scope, role=role, permission=permission, max_age=max_age, acr=acr, on_stale=on_stale
        )
        self._realm = realm
        self._resource_metadata = resource_metadata

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let it through.

        Raises:
            ValueError: It is of a protocol that cannot be judged here; the server ends it (ASGI 3.0, "Applications").
        """
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] not in {"http", "websocket"}:
            # The application may know it, and would answer without a token.
            raise ValueError(f"only http and websocket bring a token, and not {scope['type']}")
        has_begun = False

        async def watch(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            scope[TOKEN_KEY] = await aauthorize(self._verifier, sent(scope), self._requirement)
            await self._app(scope, receive, watch)
        except VerifierError as error:
            if has_begun:
                raise
            answer = refusal(error, realm=self._realm, resource_metadata=self._resource_metadata)
            await refuse(answer, scope, send)


class ResourceMetadataMiddleware:
    """Serves a resource's metadata at the address it belongs to (RFC 9728 §3); everything else goes to the application.

    The document is public: put this around `BearerMiddleware`, not inside.

    Args:
        app: Answers everything else.
        metadata: What is served.
    """

    def __init__(self, app: ASGIApp, metadata: ResourceMetadata) -> None:
        self._app = app
        self._path = metadata.path
        self._body = metadata.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let it through."""
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] not in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
            return
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(self._body)),
            # Clients that run in a browser, on any site, have to read it before they have a token.
            (b"access-control-allow-origin", b"*"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})
