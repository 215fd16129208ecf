"""Bearer tokens for any WSGI application (PEP 3333).

app = BearerMiddleware(app, verifier, scope="orders:read")
"""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from mintmark.verifier.bearer import Requirement, authorize, refusal
from mintmark.verifier.errors import VerifierError
from mintmark.verifier.judging import OnStale
from mintmark.verifier.token import Names
from mintmark.verifier.verifier import Verifier

TOKEN_KEY: Final = "mintmark.token"
"""Where the verified `Token` is in the environ."""


class BearerMiddleware:
    """Lets requests through that bring a good token; it is in ``environ["mintmark.token"]``.

    A `VerifierError` that the application raises when it is called, as by ``token.require(role="clerk")``, is answered
    as well, unless its response has begun.

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
        app: WSGIApplication,
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

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request, or let it through."""
        has_begun = False

        def watch(*args: Any) -> Any:
            nonlocal has_begun
            has_begun = True
            return start_response(*args)

        try:
            environ[TOKEN_KEY] = authorize(self._verifier, sent(environ), self._requirement)
            return self._app(environ, watch)
        except VerifierError as error:
            if has_begun:
                raise
            answer = refusal(error, realm=self._realm, resource_metadata=self._resource_metadata)
        headers = [*answer.headers, ("content-length", str(len(answer.body)))]
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", headers)
        # Not every server drops it by itself (RFC 9110 §9.3.2).
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]


def sent(environ: Mapping[str, Any]) -> list[str]:
    """Return the ``Authorization`` headers of a request as far as they can be told apart; Django's ``META`` will do."""
    value = environ.get("HTTP_AUTHORIZATION")
    if value is None:
        return []
    # There is one variable for all of them, so servers join them with commas; other schemes have commas of their own.
    parts: list[str] = value.split(",")
    return parts if any(part.split()[:1] == ["bearer"] for part in map(str.lower, parts[1:])) else [value]
