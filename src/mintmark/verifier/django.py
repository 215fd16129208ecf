"""Django: protects views, sync and async, by functions or classes.

INSTALLED_APPS = [..., "mintmark.verifier.django.MintmarkConfig"]
MINTMARK = {"issuer": "https://auth.example", "audience": "https://api.example", "client_id": ..., "client_secret": ...}

@require(scope="orders:read")
def orders(request):
    return JsonResponse(orders_of(request.token.sub), safe=False)

A protected view is about the token alone: neither session nor ``request.user`` is looked at or changed. No browser adds
an ``Authorization`` header by itself, so such a view needs no protection against cross-site requests, and has none:
whatever a session cookie permits has no place in it.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from asgiref.sync import iscoroutinefunction
from django.apps import AppConfig, apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_cache_control

from mintmark.verifier.bearer import Refusal, Requirement, aauthorize, authorize, refusal
from mintmark.verifier.errors import VerifierError
from mintmark.verifier.judging import OnStale
from mintmark.verifier.token import Names
from mintmark.verifier.verifier import Verifier
from mintmark.verifier.wsgi import sent

_View = TypeVar("_View", bound=Callable[..., Any])

_SETTING: Final = "MINTMARK"
_NEEDED: Final = frozenset({"issuer", "audience"})
_OF_VERIFIER: Final = _NEEDED | {"client_id", "client_secret", "on_stale", "introspect", "leeway"}
_OF_CHALLENGES: Final = frozenset({"realm", "resource_metadata"})


@dataclass(frozen=True, slots=True)
class Auth:
    """What the setting ``MINTMARK`` describes.

    Attributes:
        verifier: Who verifies.
        realm: Names the protected space in challenges (RFC 9110 §11.5).
        resource_metadata: URL of this resource's metadata, for challenges (RFC 9728 §5.1).
    """

    verifier: Verifier
    realm: str | None = None
    resource_metadata: str | None = None

    def refusal(self, error: VerifierError) -> Refusal:
        """Return what to answer."""
        return refusal(error, realm=self.realm, resource_metadata=self.resource_metadata)


class MintmarkConfig(AppConfig):  # type: ignore[misc] # Django has no types
    """Holds the verifier; Django does not start while the setting ``MINTMARK`` is wrong.

    ``MINTMARK`` has the arguments of `Verifier` and, for challenges, ``realm`` and ``resource_metadata``. Instead of the
    former it may have a ``verifier``: one for several issuers, or that of a test.
    """

    name = "mintmark.verifier.django"
    label = "mintmark"
    verbose_name = "mintmark"

    def ready(self) -> None:
        """Read the setting.

        Raises:
            ImproperlyConfigured: It is missing or wrong.
        """
        self._auth: Auth | None = _auth_of(settings)
        setting_changed.connect(self._forget)

    @property
    def auth(self) -> Auth:
        """What the setting describes."""
        if self._auth is None:
            self._auth = _auth_of(settings)
        return self._auth

    def _forget(self, *, setting: str, **_: Any) -> None:
        # Tests replace settings.
        if setting == _SETTING:
            self._auth = None


def current_auth() -> Auth:
    """Return what the setting ``MINTMARK`` describes.

    Raises:
        ImproperlyConfigured: The application is not installed.
    """
    try:
        return cast("MintmarkConfig", apps.get_app_config(MintmarkConfig.label)).auth
    except LookupError:
        raise ImproperlyConfigured(f'INSTALLED_APPS lacks "{__name__}.{MintmarkConfig.__name__}"') from None


def require(
    *,
    scope: Names = (),
    role: Names = (),
    permission: Names = (),
    max_age: int | None = None,
    acr: Names = (),
    on_stale: OnStale | None = None,
) -> Callable[[_View], _View]:
    """Return a decorator for views; the `Token` is ``request.token``.

    For a class: ``@method_decorator(require(…), name="dispatch")``, or ``require(…)(Orders.as_view())`` among the URLs.
    `Token.require` may also be called in the view: what it raises is answered alike. No cache keeps the answer.

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
        return _protected(view, requirement)

    return protected


def _protected(view: _View, requirement: Requirement) -> _View:
    def sync_view(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        auth = current_auth()
        try:
            request.token = authorize(auth.verifier, sent(request.META), requirement)
            response = view(request, *args, **kwargs)
        except VerifierError as error:
            return _response(auth.refusal(error))
        return _private(response)

    async def async_view(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        auth = current_auth()
        try:
            request.token = await aauthorize(auth.verifier, sent(request.META), requirement)
            response = await view(request, *args, **kwargs)
        except VerifierError as error:
            return _response(auth.refusal(error))
        return _private(response)

    wrapper: Any = functools.wraps(view)(async_view if _is_async(view) else sync_view)
    wrapper.csrf_exempt = True
    # Or LoginRequiredMiddleware would ask for a session.
    wrapper.login_required = False
    return cast("_View", wrapper)


def _is_async(view: Callable[..., Any]) -> bool:
    # What `method_decorator` hands over is a bound `dispatch`, which itself is never marked.
    owner = getattr(getattr(view, "func", view), "__self__", None)
    return iscoroutinefunction(view) or bool(getattr(owner, "view_is_async", False))


def _private(response: HttpResponse) -> HttpResponse:
    # The cache middleware answers before any view is called: to whoever asks, token or not.
    patch_cache_control(response, private=True)
    return response


def _response(answer: Refusal) -> HttpResponse:
    return HttpResponse(answer.body, status=answer.status, headers=dict(answer.headers))


def _auth_of(source: Any) -> Auth:
    values = getattr(source, _SETTING, None)
    if not isinstance(values, Mapping):
        raise ImproperlyConfigured(f"{_SETTING} is a dictionary with at least issuer and audience")
    of_challenges = {name: values[name] for name in values.keys() & _OF_CHALLENGES}
    return Auth(_verifier_of({name: values[name] for name in values.keys() - _OF_CHALLENGES}), **of_challenges)


def _verifier_of(values: Mapping[str, Any]) -> Verifier:
    is_made = "verifier" in values
    unknown = values.keys() - ({"verifier"} if is_made else _OF_VERIFIER)
    if unknown:
        raise ImproperlyConfigured(f"{_SETTING} does not take {', '.join(sorted(map(str, unknown)))} here")
    missing = () if is_made else _NEEDED - values.keys()
    if missing:
        raise ImproperlyConfigured(f"{_SETTING} lacks {', '.join(sorted(missing))}")
    try:
        verifier = values["verifier"] if is_made else Verifier(**values)
    except (TypeError, ValueError) as error:
        raise ImproperlyConfigured(f"{_SETTING}: {error}") from error
    if not isinstance(verifier, Verifier):
        raise ImproperlyConfigured(f"{_SETTING}: verifier is a Verifier")
    return verifier
