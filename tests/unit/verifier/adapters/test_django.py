"""Django: decorated views of every kind, and the setting."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
import pytest
from django.apps.registry import Apps
from django.contrib.auth.decorators import login_not_required
from django.core.asgi import get_asgi_application
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import AsyncClient, Client
from django.test.utils import override_settings
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views import View
from tests.unit.verifier.adapters.cases import NOT_PERMITTED, ROUTES, Case, all_cases
from tests.unit.verifier.adapters.django_project import MIDDLEWARE, project
from werkzeug.test import Client as WSGIClient

from mintmark.testing import Mint
from mintmark.verifier import asgi, wsgi
from mintmark.verifier.bearer import Requirement
from mintmark.verifier.django import current_auth, require
from mintmark.verifier.errors import VerifierUnavailable
from mintmark.verifier.judging import OnStale
from mintmark.verifier.token import Token
from mintmark.verifier.verifier import Verifier

GOOD = {"issuer": "https://auth.example", "audience": "https://api.example"}


@pytest.fixture
def mint() -> Iterator[Mint]:
    with Mint() as mint, override_settings(MINTMARK={"verifier": mint.verifier()}):
        yield mint


def protecting(requirement: Requirement) -> Callable[[Any], Any]:
    names = ("scope", "role", "permission", "max_age", "acr", "on_stale")
    return require(**{name: getattr(requirement, name) for name in names})


def who(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"sub": request.token.sub})


async def awho(request: HttpRequest) -> JsonResponse:
    return who(request)


class Who(View):  # type: ignore[misc] # Django has no types
    def get(self, request: HttpRequest) -> JsonResponse:
        return who(request)

    def post(self, request: HttpRequest) -> JsonResponse:
        return who(request)


class AsyncWho(View):  # type: ignore[misc]
    async def get(self, request: HttpRequest) -> JsonResponse:
        return who(request)

    async def post(self, request: HttpRequest) -> JsonResponse:
        return who(request)


def decorated_class(view_class: type, requirement: Requirement) -> Any:
    decorate = method_decorator(protecting(requirement), name="dispatch")
    return decorate(type("Protected", (view_class,), {})).as_view()


Kind = Callable[[Requirement], Any]
SYNC: dict[str, Kind] = {
    "function": lambda requirement: protecting(requirement)(who),
    "class": partial(decorated_class, Who),
    "class among the URLs": lambda requirement: protecting(requirement)(Who.as_view()),
}
ASYNC: dict[str, Kind] = {
    "async function": lambda requirement: protecting(requirement)(awho),
    "async class": partial(decorated_class, AsyncWho),
    "async class among the URLs": lambda requirement: protecting(requirement)(AsyncWho.as_view()),
}
KINDS = SYNC | ASYNC
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
every_async_kind = pytest.mark.parametrize("kind", ASYNC.values(), ids=ASYNC.keys())


def routes(kind: Kind) -> list[Any]:
    return [path(where.strip("/"), kind(requirement)) for where, requirement in ROUTES.items()]


@pytest.mark.spec("S01", "S02", "S03", "RFC 6750 §3", "RFC 9470 §3")
@every_kind
@all_cases
def test_the_table(case: Case, mint: Mint, kind: Kind) -> None:
    # As WSGI servers do: one variable for all headers of a name.
    sent = ",".join(value for _, value in case.sent(mint))
    with project(routes(kind)), case.during(mint):
        answer = Client().get(case.path, case.query(mint), **({"HTTP_AUTHORIZATION": sent} if sent else {}))
    case.check(answer.status_code, lower(answer), answer.content)


@pytest.mark.spec("S01", "S02", "S03", "RFC 6750 §3", "RFC 9470 §3")
@every_kind
@all_cases
async def test_the_table_under_asgi(case: Case, mint: Mint, kind: Kind) -> None:
    with project(routes(kind)), case.during(mint):
        transport = httpx.ASGITransport(get_asgi_application())
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as http:
            answer = await http.get(case.path, params=case.query(mint), headers=case.sent(mint))
    case.check(answer.status_code, answer.headers, answer.content)


def lower(answer: HttpResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}


class Elsewhere(Verifier):
    """A verifier that may be waited for, but not in the event loop."""

    def verify(self, raw: str, *, on_stale: OnStale | None = None) -> Token:
        raise AssertionError("this blocks the event loop")

    async def averify(self, raw: str, *, on_stale: OnStale | None = None) -> Token:
        await asyncio.sleep(0)
        raise VerifierUnavailable("nobody is there")


@every_async_kind
async def test_an_async_view_never_blocks_the_event_loop(kind: Kind) -> None:
    with project(routes(kind), MINTMARK={"verifier": Elsewhere("https://auth.example", "orders")}):
        answer = await AsyncClient().get("/any", headers={"Authorization": "Bearer a.b.c"})
    assert answer.status_code == 503


@every_kind
def test_a_token_is_no_cookie_and_needs_no_token_against_forgery(mint: Mint, kind: Kind) -> None:
    plain = path("plain", login_not_required(lambda _: HttpResponse()))
    with project([*routes(kind), plain]):
        client = Client(enforce_csrf_checks=True)
        assert client.post("/any", headers=mint.headers()).status_code == 200
        assert client.post("/any").status_code == 401
        assert client.post("/plain").status_code == 403


@every_kind
def test_no_session_is_asked_for(mint: Mint, kind: Kind) -> None:
    with project([*routes(kind), path("plain", who)]):
        assert Client().get("/any", headers=mint.headers()).status_code == 200
        assert Client().get("/plain", headers=mint.headers()).status_code == 302


def test_session_and_user_are_left_alone(mint: Mint) -> None:
    @require()
    def view(request: HttpRequest) -> JsonResponse:
        session = request.session
        touched = session.accessed or session.modified
        return JsonResponse({"touched": touched, "user": request.user.is_authenticated})

    with project([path("", view)], MIDDLEWARE=[one for one in MIDDLEWARE if "LoginRequired" not in one]):
        answer = Client().get("/", headers=mint.headers())
    assert answer.json() == {"touched": False, "user": False}
    assert not answer.cookies


@pytest.mark.spec("RFC 9111 §5.2.2.7")
@every_kind
def test_no_cache_answers_instead_of_the_view(mint: Mint, kind: Kind) -> None:
    caching = [
        "django.middleware.cache.UpdateCacheMiddleware",
        "django.middleware.cache.FetchFromCacheMiddleware",
    ]
    count = itertools.count()
    plain = path("plain", lambda _: HttpResponse(next(count)))
    cache.clear()
    with project([*routes(kind), plain], MIDDLEWARE=caching):
        assert [Client().get("/plain").content for _ in range(2)] == [b"0", b"0"]
        good = Client().get("/any", headers=mint.headers())
        assert (good.status_code, good.headers["cache-control"]) == (200, "private")
        assert Client().get("/any").status_code == 401


@pytest.mark.spec("S01")
@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_view_requires_further_is_answered_alike(mint: Mint, *, is_async: bool) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        request.token.require(role="clerk")
        return HttpResponse("done")

    async def async_view(request: HttpRequest) -> HttpResponse:
        return view(request)

    with project([path("", require()(async_view if is_async else view))]):
        refused = Client().get("/", headers=mint.headers())
        assert (refused.status_code, refused.headers["www-authenticate"]) == (403, NOT_PERMITTED)
        assert Client().get("/", headers=mint.headers(roles=["clerk"])).content == b"done"


@pytest.mark.parametrize("is_async", [False, True])
def test_the_view_is_not_called_without_a_good_token(mint: Mint, *, is_async: bool) -> None:
    called = []

    def view(request: HttpRequest) -> HttpResponse:
        called.append(request.token.sub)
        return HttpResponse()

    async def async_view(request: HttpRequest) -> HttpResponse:
        return view(request)

    with project([path("", require()(async_view if is_async else view))]):
        assert Client().get("/", headers={"Authorization": "Bearer a.b.c"}).status_code == 401
        assert called == []
        assert Client().get("/", headers=mint.headers()).status_code == 200
        assert called == ["ada"]


@pytest.mark.spec("RFC 9110 §11.5", "RFC 9728 §5.1")
def test_the_challenge_names_realm_and_metadata(mint: Mint) -> None:
    setting = {"verifier": mint.verifier(), "realm": "orders", "resource_metadata": "https://api.test/meta"}
    with project([path("", require()(who))], MINTMARK=setting):
        answer = Client().get("/")
    assert answer.headers["www-authenticate"] == 'Bearer realm="orders", resource_metadata="https://api.test/meta"'


def start() -> None:
    """Start an application with the settings as they are."""
    Apps(["mintmark.verifier.django.MintmarkConfig"])


@pytest.mark.parametrize(
    "setting",
    [
        GOOD,
        {**GOOD, "audience": ["https://api.example", "orders"]},
        {**GOOD, "client_id": "orders", "client_secret": "s3cret", "on_stale": "introspect", "introspect": "always"},
        {**GOOD, "leeway": 5, "realm": "orders", "resource_metadata": "https://api.example/meta"},
        {"verifier": Verifier("https://auth.example", "https://api.example"), "realm": "orders"},
    ],
)
def test_a_good_setting_lets_the_application_start(setting: dict[str, Any]) -> None:
    with override_settings(MINTMARK=setting):
        start()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (None, "MINTMARK is a dictionary"),
        ("https://auth.example", "MINTMARK is a dictionary"),
        ({}, "MINTMARK lacks audience, issuer"),
        ({"issuer": "https://auth.example"}, "MINTMARK lacks audience"),
        ({**GOOD, "audience": ""}, "MINTMARK: audience is empty"),
        ({**GOOD, "audience": None}, "MINTMARK: "),
        ({**GOOD, "client_id": "orders"}, "MINTMARK: client_id and client_secret go together"),
        ({**GOOD, "on_stale": "hope"}, "MINTMARK: on_stale is one of"),
        ({**GOOD, "leeway": "30"}, "MINTMARK: "),
        ({**GOOD, "ISSUER": "https://auth.example"}, "MINTMARK does not take ISSUER"),
        ({"verifier": None}, "MINTMARK: verifier is a Verifier"),
        ({**GOOD, "verifier": Verifier(*GOOD.values())}, "MINTMARK does not take audience, issuer"),
    ],
)
def test_a_bad_setting_does_not(setting: object, said: str) -> None:
    with override_settings(MINTMARK=setting), pytest.raises(ImproperlyConfigured, match=said):
        start()


def test_no_message_quotes_the_secret() -> None:
    setting = {**GOOD, "client_id": "orders", "client_secret": "s3cret", "leeway": 10_000}
    with override_settings(MINTMARK=setting), pytest.raises(ImproperlyConfigured) as problem:
        start()
    assert "s3cret" not in str(problem.value)


def test_the_application_has_to_be_installed(mint: Mint) -> None:
    with (
        project([path("", require()(who))], INSTALLED_APPS=["mintmark.verifier.django"], MIDDLEWARE=[]),
        pytest.raises(ImproperlyConfigured, match=r"mintmark\.verifier\.django\.MintmarkConfig"),
    ):
        Client().get("/", headers=mint.headers())
    with project([path("", require()(who))], MIDDLEWARE=[]):
        assert Client().get("/", headers=mint.headers()).status_code == 200


def test_the_verifier_is_one_for_all_requests() -> None:
    with override_settings(MINTMARK=GOOD):
        assert current_auth().verifier is current_auth().verifier


async def test_the_middlewares_protect_what_is_included_too(mint: Mint) -> None:
    def included(_: HttpRequest) -> HttpResponse:
        return HttpResponse("a")

    inner = include([path("a", login_not_required(included))])
    with project([path("bare/", inner)]):
        assert Client().get("/bare/a").status_code == 200
        around = wsgi.BearerMiddleware(get_wsgi_application(), mint.verifier())
        answers = [WSGIClient(around).get("/bare/a", headers=headers) for headers in ({}, mint.headers())]
        assert [answer.status_code for answer in answers] == [401, 200]
        transport = httpx.ASGITransport(asgi.BearerMiddleware(get_asgi_application(), mint.verifier()))
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            statuses = [(await client.get("/bare/a", headers=headers)).status_code for headers in ({}, mint.headers())]
        assert statuses == [401, 200]
