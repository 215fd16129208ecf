"""Flask: protects views and blueprints.

auth = Auth(verifier)

@app.get("/orders")
@auth.require(scope="orders:read")
def orders():
    return orders_of(auth.token.sub)

A refusal is an ``HTTPException`` that carries the whole response, so the application's own error handlers see it.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar, cast

from flask import Blueprint, Flask, Response, current_app, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, default_exceptions

from mintmark.verifier.bearer import Requirement, aauthorize, authorize, refusal
from mintmark.verifier.errors import VerifierError
from mintmark.verifier.judging import OnStale
from mintmark.verifier.token import Names, Token
from mintmark.verifier.verifier import Verifier
from mintmark.verifier.wsgi import sent

_View = TypeVar("_View", bound=Callable[..., Any])

_KEY: Final = "mintmark_token"


class Auth:
    """What protects the views of an application.

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
    def token(self) -> Token:
        """The token of this request.

        Raises:
            RuntimeError: Nothing protects this view, or there is no request.
        """
        token = getattr(request, _KEY, None)
        if token is None:
            raise RuntimeError("no token here: this view is protected neither by require() nor by protect()")
        return cast("Token", token)

    def require(
        self,
        *,
        scope: Names = (),
        role: Names = (),
        permission: Names = (),
        max_age: int | None = None,
        acr: Names = (),
        on_stale: OnStale | None = None,
    ) -> Callable[[_View], _View]:
        """Return a decorator for views, sync or async; it goes below the route.

        `Token.require` may also be called in the view: what it raises is answered alike.

        Args:
            scope: Scopes that are all needed.
            role: Roles that are all needed.
            permission: Permissions that are all needed.
            max_age: The person must have signed in at most that many seconds ago (RFC 9470 §4).
            acr: One of these authentication classes is needed (RFC 9470 §4).
            on_stale: Instead of the verifier's own, see `OnStale`.
        """
        requirement = Requirement(
            scope=scope, role=role, permission=permission, max_age=max_age, acr=acr, on_stale=on_stale
        )

        def protected(view: _View) -> _View:
            @functools.wraps(view)
            def sync_view(*args: Any, **kwargs: Any) -> Any:
                with self._refusing():
                    self._authorize(requirement)
                    return view(*args, **kwargs)

            @functools.wraps(view)
            async def async_view(*args: Any, **kwargs: Any) -> Any:
                with self._refusing():
                    token = await aauthorize(self._verifier, sent(request.environ), requirement)
                    _keep(token)
                    return await view(*args, **kwargs)

            return cast("_View", async_view if inspect.iscoroutinefunction(view) else sync_view)

        return protected

    def protect(
        self,
        target: Flask | Blueprint,
        *,
        scope: Names = (),
        role: Names = (),
        permission: Names = (),
        max_age: int | None = None,
        acr: Names = (),
        on_stale: OnStale | None = None,
    ) -> None:
        """Protect every view of a blueprint or an application; the arguments are those of `require`.

        Only the ``OPTIONS`` that Flask answers by itself needs no token: browsers send none with their preflights.
        """
        requirement = Requirement(
            scope=scope, role=role, permission=permission, max_age=max_age, acr=acr, on_stale=on_stale
        )

        def check() -> None:
            if request.method == "OPTIONS" and getattr(request.url_rule, "provide_automatic_options", False):
                return
            with self._refusing():
                self._authorize(requirement)

        target.before_request(check)
        target.register_error_handler(VerifierError, self._answer)

    def _authorize(self, requirement: Requirement) -> None:
        _keep(authorize(self._verifier, sent(request.environ), requirement))

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except VerifierError as error:
            raise self._http(error) from error

    def _answer(self, error: VerifierError) -> HTTPException | ResponseReturnValue:
        return current_app.handle_user_exception(self._http(error))

    def _http(self, error: VerifierError) -> HTTPException:
        answer = refusal(error, realm=self._realm, resource_metadata=self._resource_metadata)
        response = Response(answer.body, answer.status, list(answer.headers))
        return default_exceptions[answer.status](error.description, response)


def _keep(token: Token) -> None:
    # Not in ``g``: that lives as long as the application's context, which may serve several requests.
    setattr(request, _KEY, token)
