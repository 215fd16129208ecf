"""The WSGI middleware, in front of an application that is checked for its manners (PEP 3333)."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.validate import validator

import pytest
from tests.unit.verifier.adapters.cases import MALFORMED, NOT_PERMITTED, ROUTES, Case, all_cases
from werkzeug.datastructures import Headers
from werkzeug.test import Client, TestResponse

from mintmark.testing import Mint
from mintmark.verifier.errors import RequirementNotMet
from mintmark.verifier.token import Token
from mintmark.verifier.verifier import Verifier
from mintmark.verifier.wsgi import TOKEN_KEY, BearerMiddleware, sent

CHALLENGE = 'Bearer realm="orders", resource_metadata="https://api.test/meta"'


@pytest.fixture
def mint() -> Iterator[Mint]:
    with Mint() as mint:
        yield mint


@pytest.fixture
def verifier(mint: Mint) -> Verifier:
    return mint.verifier()


def who(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Say whom the token speaks for."""
    token: Token = environ[TOKEN_KEY]
    body = json.dumps({"sub": token.sub}).encode()
    start_response("200 OK", [("content-type", "application/json"), ("content-length", str(len(body)))])
    return [body]


def ask(app: BearerMiddleware, *authorization: str, method: str = "GET") -> TestResponse:
    headers = Headers([("Authorization", value) for value in authorization])
    return Client(validator(app)).open("/", method=method, headers=headers, buffered=True)


@pytest.mark.spec("S01", "S02", "S03", "RFC 6750 §3", "RFC 9470 §3")
@all_cases
def test_the_table(case: Case, mint: Mint, verifier: Verifier) -> None:
    one = ROUTES[case.path]
    app = BearerMiddleware(
        who,
        verifier,
        scope=one.scope,
        role=one.role,
        permission=one.permission,
        max_age=one.max_age,
        acr=one.acr,
        on_stale=one.on_stale,
    )
    with case.during(mint):
        query, headers = case.query(mint), Headers(case.sent(mint))
        answer = Client(validator(app)).get(case.path, query_string=query, headers=headers, buffered=True)
    case.check(answer.status_code, answer.headers, answer.data)


@pytest.mark.spec("RFC 9110 §5.3", "S02")
@pytest.mark.parametrize(
    "joined",
    [
        "Bearer {0},Bearer {0}",
        "Bearer {0}, Bearer {1}",
        "Bearer {0},Basic eDp5",
        "Basic eDp5,Bearer {0}",
        "Basic a, bEARER",
    ],
)
def test_headers_that_the_server_joined_are_several(joined: str, mint: Mint, verifier: Verifier) -> None:
    answer = ask(BearerMiddleware(who, verifier), joined.format(mint.token(), mint.token()))
    assert (answer.status_code, answer.headers["www-authenticate"]) == (400, MALFORMED)


@pytest.mark.spec("S01")
def test_another_scheme_may_have_commas(verifier: Verifier) -> None:
    answer = ask(BearerMiddleware(who, verifier), 'Digest username="bearer", realm="x"')
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.spec("S01")
@pytest.mark.parametrize("raw", ["é", "\xff\xfe", "ÃŒ.b.c"])
def test_octets_beyond_ascii_are_malformed(raw: str, verifier: Verifier) -> None:
    answer = ask(BearerMiddleware(who, verifier), f"Bearer {raw}")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (400, MALFORMED)


def test_there_is_a_header_or_none() -> None:
    assert sent({}) == []
    assert sent({"HTTP_AUTHORIZATION": "Bearer a"}) == ["Bearer a"]
    assert sent({"HTTP_AUTHORIZATION": "Bearer a,Bearer b"}) == ["Bearer a", "Bearer b"]


@pytest.mark.spec("RFC 9110 §11.5", "RFC 9728 §5.1")
def test_the_challenge_names_realm_and_metadata(verifier: Verifier) -> None:
    app = BearerMiddleware(who, verifier, realm="orders", resource_metadata="https://api.test/meta")
    assert ask(app).headers["www-authenticate"] == CHALLENGE


@pytest.mark.spec("RFC 9110 §9.3.2")
def test_an_answer_to_head_has_no_body(mint: Mint, verifier: Verifier) -> None:
    app = BearerMiddleware(who, verifier)
    refused = ask(app, method="HEAD")
    assert (refused.status_code, refused.data) == (401, b"")
    assert refused.headers["content-length"] == str(len(ask(app).data))
    assert ask(app, f"Bearer {mint.token()}", method="HEAD").status_code == 200


def test_the_application_is_not_called_without_a_good_token(mint: Mint, verifier: Verifier) -> None:
    called = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        called.append(environ[TOKEN_KEY])
        return who(environ, start_response)

    assert ask(BearerMiddleware(app, verifier), "Bearer a.b.c").status_code == 401
    assert called == []
    assert ask(BearerMiddleware(app, verifier), f"Bearer {mint.token()}").status_code == 200
    assert [token.sub for token in called] == ["ada"]


@pytest.mark.spec("S01")
def test_what_the_application_requires_further_is_answered_alike(mint: Mint, verifier: Verifier) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[TOKEN_KEY].require(role="clerk")
        return who(environ, start_response)

    protected = BearerMiddleware(app, verifier)
    refused = ask(protected, f"Bearer {mint.token()}")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (403, NOT_PERMITTED)
    assert ask(protected, f"Bearer {mint.token(roles=['clerk'])}").status_code == 200


def test_a_response_that_began_is_not_answered_again(mint: Mint, verifier: Verifier) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("content-type", "text/plain")])
        environ[TOKEN_KEY].require(role="clerk")
        return [b"done"]

    with pytest.raises(RequirementNotMet):
        ask(BearerMiddleware(app, verifier), f"Bearer {mint.token()}")
    assert ask(BearerMiddleware(app, verifier), f"Bearer {mint.token(roles=['clerk'])}").data == b"done"


FRAMEWORKS = ("asgiref", "django", "fastapi", "flask", "litestar", "mcp", "rest_framework", "starlette", "werkzeug")


@pytest.mark.parametrize(
    ("module", "is_found"),
    [("mintmark.verifier", True), ("mintmark.verifier.wsgi", True), ("mintmark.verifier.flask", False)],
)
def test_the_verifier_needs_no_framework(module: str, *, is_found: bool) -> None:
    absent = f"import sys; sys.modules.update(dict.fromkeys({FRAMEWORKS!r})); import {module}"
    outcome = subprocess.run([sys.executable, "-c", absent], capture_output=True, text=True, check=False)
    assert (outcome.returncode == 0) is is_found, outcome.stderr
