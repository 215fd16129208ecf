"""Django REST framework: its own machinery answers, with our challenges."""

from collections.abc import Iterator
from typing import Any

# Makes the settings, which everything of the framework reads when it is imported.
from tests.unit.verifier.adapters.django_project import project

# isort: split
import pytest
from django.core.cache import cache
from django.http import HttpResponse
from django.test.utils import override_settings
from django.urls import path
from rest_framework.authentication import BasicAuthentication, SessionAuthentication
from rest_framework.permissions import AllowAny, IsAdminUser, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient, APIRequestFactory, force_authenticate
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView
from tests.unit.verifier.adapters.cases import INVALID, MALFORMED, NOT_PERMITTED, ROUTES, SIGN_IN, Case, all_cases

from mintmark.testing import Mint
from mintmark.verifier.drf import BearerAuthentication, Caller, exception_handler, require
from mintmark.verifier.token import Token


@pytest.fixture
def mint() -> Iterator[Mint]:
    with Mint() as mint, override_settings(MINTMARK={"verifier": mint.verifier()}):
        yield mint


class Who(APIView):  # type: ignore[misc] # REST framework has no types
    authentication_classes = (BearerAuthentication,)
    permission_classes = (require(),)

    def get(self, request: Request) -> Response:
        return Response({"sub": request.auth.sub})


def view_with(**attributes: Any) -> Any:
    view: Any = type("View", (Who,), attributes)
    return view.as_view()


def ask(headers: dict[str, str], method: str = "get", /, **attributes: Any) -> HttpResponse:
    """Ask a view with these ``attributes``."""
    with project([path("", view_with(**attributes))]):
        return getattr(APIClient(), method)("/", headers=headers)


@pytest.mark.spec("S01", "S02", "S03", "RFC 6750 §3", "RFC 9470 §3")
@all_cases
def test_the_table(case: Case, mint: Mint) -> None:
    one = ROUTES[case.path]
    permission = require(
        scope=one.scope,
        role=one.role,
        permission=one.permission,
        max_age=one.max_age,
        acr=one.acr,
        on_stale=one.on_stale,
    )
    view = view_with(permission_classes=(permission,))
    sent = ",".join(value for _, value in case.sent(mint))
    with project([path(case.path.strip("/"), view)]), case.during(mint):
        extra = {"HTTP_AUTHORIZATION": sent} if sent else {}
        answer = APIClient().get(case.path, case.query(mint), **extra)
    headers = {name.lower(): value for name, value in answer.headers.items()}
    if case.error == "unauthorized":
        # Here the framework words the body.
        assert (answer.status_code, headers["www-authenticate"]) == (401, "Bearer")
        assert answer.json() == {"detail": "Authentication credentials were not provided."}
        return
    # It sends no Cache-Control; no cache may keep such an answer anyway (RFC 9111 §3).
    case.check(answer.status_code, {**headers, "cache-control": "no-store"}, answer.content)


@pytest.mark.spec("S04")
def test_who_calls_is_known_by_issuer_and_subject(mint: Mint) -> None:
    seen = []

    def get(_: object, request: Request) -> Response:
        seen.append((request.user, request.auth))
        return Response()

    assert ask(mint.headers(sub="ada", scope="orders:read"), get=get).status_code == 200
    user, token = seen[0]
    assert user == Caller(mint.issuer, "ada") != Caller("https://other.example", "ada")
    assert (user.sub, user.is_authenticated, user.is_anonymous) == ("ada", True, False)
    assert isinstance(token, Token)
    assert token.scopes == {"orders:read"}


def test_the_permissions_and_throttles_of_the_framework_know_the_caller(mint: Mint) -> None:
    class OncePerHour(UserRateThrottle):  # type: ignore[misc]
        rate = "1/hour"

    assert ask(mint.headers(), permission_classes=(IsAuthenticated,)).status_code == 200
    assert ask(mint.headers(), permission_classes=(IsAdminUser,)).status_code == 403
    cache.clear()
    throttled = {"throttle_classes": (OncePerHour,)}
    statuses = [ask(mint.headers(sub=sub), **throttled).status_code for sub in ("ada", "ada", "bob")]
    assert statuses == [200, 429, 200]


@pytest.mark.spec("S01")
def test_without_a_token_other_authentication_may_do_and_a_bad_one_is_refused(mint: Mint) -> None:
    open_view = {"permission_classes": (AllowAny,), "get": lambda *_: Response("anybody")}
    assert ask({}, **open_view).json() == "anybody"
    refused = ask({"Authorization": "Bearer a.b.c"}, **open_view)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, INVALID)


@pytest.mark.spec("S01", "RFC 6750 §3")
@pytest.mark.parametrize("first", [SessionAuthentication, BasicAuthentication])
def test_the_challenge_to_a_bad_token_is_ours_wherever_we_are_listed(mint: Mint, first: type) -> None:
    classes = {"authentication_classes": (first, BearerAuthentication)}
    refused = ask({"Authorization": "Bearer a.b.c"}, **classes)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, INVALID)
    refused = ask({"Authorization": "Bearer"}, **classes)
    if first is SessionAuthentication:
        assert (refused.status_code, refused.headers["www-authenticate"]) == (400, MALFORMED)
    assert ask(mint.headers(), **classes).status_code == 200


def test_another_kind_of_credentials_has_no_scopes(mint: Mint) -> None:
    class Everybody(SessionAuthentication):  # type: ignore[misc]
        def authenticate(self, request: Request) -> tuple[Caller, None]:
            return Caller("nobody", "knows"), None

    classes = {"authentication_classes": (Everybody,), "get": lambda *_: Response()}
    assert ask({}, permission_classes=(IsAuthenticated,), **classes).status_code == 200
    assert ask({}, permission_classes=(require(),), **classes).status_code == 403


def test_permissions_combine(mint: Mint) -> None:
    orders, reports = require(scope="orders:read"), require(scope="reports:read")
    either, both, neither = (orders | reports,), (orders & reports,), (~orders,)
    assert ask(mint.headers(scope="orders:read"), permission_classes=either).status_code == 200
    assert ask(mint.headers(scope="reports:read"), permission_classes=either).status_code == 200
    assert ask(mint.headers(scope="other"), permission_classes=either).status_code == 403
    assert ask(mint.headers(scope="orders:read"), permission_classes=both).status_code == 403
    assert ask(mint.headers(scope="orders:read reports:read"), permission_classes=both).status_code == 200
    assert ask(mint.headers(scope="orders:read"), permission_classes=neither).status_code == 403
    assert ask(mint.headers(scope="other"), permission_classes=neither).status_code == 200
    assert ask({}, permission_classes=either).status_code == 401
    anybody_else = {"permission_classes": (require() & ~orders,)}
    assert ask({}, **anybody_else).status_code == 401
    assert ask(mint.headers(scope="other"), **anybody_else).status_code == 200


@pytest.mark.parametrize(
    "combine",
    [
        lambda one: ~one,
        lambda one: ~~one,
        lambda one: one | AllowAny,
        lambda one: ~(one & AllowAny),
        lambda one: IsAuthenticated & ~one,
    ],
)
def test_that_nobody_can_say_ends_the_request_whatever_it_is_combined_with(combine: Any, mint: Mint) -> None:
    classes = {"permission_classes": (combine(require(role="banned", on_stale="deny")),)}
    banned, other = mint.headers(roles=["banned"]), mint.headers()
    assert 200 in {ask(headers, **classes).status_code for headers in (banned, other)}
    with mint.outage():
        mint.clock(+60)
        for headers in (banned, other):
            answer = ask(headers, **classes)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["error"] == "temporarily_unavailable"
            # The verifier's own rule lets it pass.
            assert ask(headers, permission_classes=(~require(role="king"),)).status_code == 200


def test_a_token_that_is_revoked_after_authentication_is_no_token_without_a_role(mint: Mint) -> None:
    authenticate = BearerAuthentication.authenticate

    class Revoking(BearerAuthentication):
        def authenticate(self, request: Request) -> Any:
            known = authenticate(self, request)
            if "revoke" in request.GET:
                mint.revoke(request.META["HTTP_AUTHORIZATION"].removeprefix("Bearer "))
            return known

    permission = ~require(role="banned", on_stale="deny")
    view = view_with(authentication_classes=(Revoking,), permission_classes=(permission,))
    with project([path("", view)]):
        answers = [APIClient().get(url, headers=mint.headers()) for url in ("/", "/?revoke")]
    assert [answer.status_code for answer in answers] == [200, 401]
    assert answers[1].headers["www-authenticate"] == INVALID


@pytest.mark.spec("S01", "RFC 9470 §3")
def test_the_first_permission_that_is_lacking_challenges(mint: Mint) -> None:
    permissions = {"permission_classes": (require(scope="orders:read"), require(max_age=60))}
    answers = [ask(mint.headers(**one), **permissions) for one in ({}, {"scope": "orders:read", "auth_time": 0})]
    assert [(one.status_code, one.headers["www-authenticate"]) for one in answers] == [
        (403, f'{NOT_PERMITTED}, scope="orders:read"'),
        (401, f'{SIGN_IN}, max_age="60"'),
    ]
    assert ask(mint.headers(scope="orders:read"), **permissions).status_code == 200


def test_the_view_is_not_called_without_a_good_token(mint: Mint) -> None:
    called = []

    def get(_: object, request: Request) -> Response:
        called.append(request.auth.sub)
        return Response()

    assert ask({"Authorization": "Bearer a.b.c"}, get=get).status_code == 401
    assert ask(mint.headers(), get=get, permission_classes=(require(role="clerk"),)).status_code == 403
    assert called == []
    assert ask(mint.headers(), get=get).status_code == 200
    assert called == ["ada"]


@pytest.mark.spec("S01")
def test_what_a_view_requires_further_is_answered_alike(mint: Mint) -> None:
    def get(_: object, request: Request) -> Response:
        return Response(request.auth.require(role="clerk").sub)

    handling = {"get": get, "get_exception_handler": lambda _: exception_handler}
    refused = ask(mint.headers(), **handling)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (403, NOT_PERMITTED)
    assert ask(mint.headers(roles=["clerk"]), **handling).json() == "ada"
    # What is none of ours is left to the framework.
    assert ask({}, **handling).status_code == 401
    assert ask(mint.headers(), "delete", **handling).status_code == 405


@pytest.mark.spec("RFC 9110 §11.5", "RFC 9728 §5.1")
def test_the_challenge_names_realm_and_metadata(mint: Mint) -> None:
    setting = {"verifier": mint.verifier(), "realm": "orders", "resource_metadata": "https://api.test/meta"}
    with override_settings(MINTMARK=setting):
        none, bad = ask({}), ask({"Authorization": "Bearer a.b.c"})
    assert none.headers["www-authenticate"] == 'Bearer realm="orders", resource_metadata="https://api.test/meta"'
    assert bad.headers["www-authenticate"].startswith('Bearer realm="orders", error="invalid_token"')


def test_the_tests_of_an_application_may_do_without_a_header(mint: Mint) -> None:
    """As the framework's documentation has it: ``force_authenticate``."""
    token = mint.verifier().verify(mint.token(scope="orders:read"))
    answers = []
    for scope in ("orders:read", "orders:write"):
        request = APIRequestFactory().get("/")
        force_authenticate(request, user=Caller(token.issuer, token.sub), token=token)
        answers.append(view_with(permission_classes=(require(scope=scope),))(request).status_code)
    assert answers == [200, 403]
