"""Bearer tokens for servers of the MCP Python SDK.

server = MCPServer("orders", token_verifier=MintmarkTokenVerifier(verifier), auth=AuthSettings(...))
app = server.streamable_http_app()
app.add_middleware(UnavailableMiddleware)

The SDK reads the header, serves the resource's metadata and writes the challenges; `AuthSettings` says which scopes are
required. It knows good tokens and bad ones, but not "cannot say just now": that is what the middleware is for.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

from mcp.server.auth.provider import AccessToken, TokenVerifier

from mintmark.verifier import asgi
from mintmark.verifier.bearer import refusal
from mintmark.verifier.errors import TokenRejected, VerifierUnavailable
from mintmark.verifier.judging import OnStale
from mintmark.verifier.verifier import Verifier

log: Final = logging.getLogger("mintmark.verifier")


class MintmarkTokenVerifier(TokenVerifier):
    """Tells the SDK what a token says.

    Args:
        verifier: Who verifies; the server's URL is (one of) its audience.
        on_stale: Instead of the verifier's own, see `OnStale`.
    """

    def __init__(self, verifier: Verifier, *, on_stale: OnStale | None = None) -> None:
        self._verifier = verifier
        self._on_stale = on_stale

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return what ``token`` says, or ``None`` if it is not good.

        Raises:
            VerifierUnavailable: That cannot be said just now. ``None`` would make clients throw a good token away.
        """
        try:
            verified = await self._verifier.averify(token, on_stale=self._on_stale)
        except TokenRejected as rejected:
            log.info("a token was rejected: %s", rejected.code)
            return None
        except VerifierUnavailable as problem:
            log.warning("a token could not be checked: %s", problem)
            raise
        return AccessToken(
            token=token,
            client_id=verified.client_id,
            scopes=sorted(verified.scopes),
            expires_at=int(verified.expires_at),
            resource=next(name for name in verified.audience if name in self._verifier.audience),
            subject=verified.sub,
            claims=_plain(verified.claims),
        )


class UnavailableMiddleware:
    """Answers 503 where a token could not be checked; without it the SDK's application answers 500.

    Args:
        app: The SDK's application.
    """

    def __init__(self, app: asgi.ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """Answer one request."""
        try:
            await self._app(scope, receive, send)
        except VerifierUnavailable as error:
            # The SDK verifies before it answers, so no response can have begun.
            await asgi.refuse(refusal(error), scope, send)


def _plain(value: Any) -> Any:
    """Undo what makes claims read only: the SDK's model wants dicts and lists."""
    if isinstance(value, Mapping):
        return {name: _plain(member) for name, member in value.items()}
    return [_plain(member) for member in value] if isinstance(value, tuple) else value
