"""Flask: decorated views and whole blueprints."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, jsonify
from tests.unit.verifier.adapters.cases import NOT_PERMITTED, ROUTES, Case, all_cases
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from mintmark.testing import Mint
from mintmark.verifier import VerifierError
from mintmark.verifier.bearer import Requirement
from mintmark.verifier.flask import Auth


@pytest.fixture
def mint() -> Iterator[Mint]:
    with Mint() as mint:
        yield mint


@pytest.fixture
def auth(mint: Mint) -> Auth:
    return Auth(mint.verifier())


def members(requirement: Requirement) -> dict[str, Any]:
    names = ("scope", "role", "permission", "max_age", "acr", "on_stale")
    return {name: getattr(requirement, name) for name in names}


def decorated(app: Flask, auth: Auth) -> None:
    """Protect each path by a decorator."""
    for path, requirement in ROUTES.items():

        @auth.require(**members(requirement))
        def view() -> Response:
            return jsonify(sub=auth.token.sub)

        app.add_url_rule(path, path, view)


def decorated_async(app: Flask, auth: Auth) -> None:
    """Protect each path by a decorator on an async view."""
    for path, requirement in ROUTES.items():

        @auth.require(**members(requirement))
        async def view() -> Response:
            return jsonify(sub=auth.token.sub)

        app.add_url_rule(path, path, view)


def in_blueprints(app: Flask, auth: Auth) -> None:
    """Protect each path by a blueprint of its own."""
    for path, requirement in ROUTES.items():
        blueprint = Blueprint(path.strip("/"), __name__)
        auth.protect(blueprint, **members(requirement))
        blueprint.add_url_rule(path, "who", lambda: jsonify(sub=auth.token.sub))
        app.register_blueprint(blueprint)


@pytest.mark.spec("S01", "S02", "S03", "RFC 6750 §3", "RFC 9470 §3")
@pytest.mark.parametrize("protect", [decorated, decorated_async, in_blueprints])
@all_cases
def test_the_table(case: Case, mint: Mint, auth: Auth, protect: Callable[[Flask, Auth], None]) -> None:
    app = Flask(__name__)
    protect(app, auth)
    with case.during(mint):
        answer = app.test_client().get(case.path, query_string=case.query(mint), headers=Headers(case.sent(mint)))
    case.check(answer.status_code, answer.headers, answer.data)


@pytest.mark.spec("RFC 9110 §11.5", "RFC 9728 §5.1")
def test_the_challenge_names_realm_and_metadata(mint: Mint) -> None:
    app = Flask(__name__)
    decorated(app, Auth(mint.verifier(), realm="orders", resource_metadata="https://api.test/meta"))
    expected = 'Bearer realm="orders", resource_metadata="https://api.test/meta"'
    assert app.test_client().get("/any").headers["www-authenticate"] == expected


@pytest.mark.spec("S01")
@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_decorated_view_requires_further_is_answered_alike(mint: Mint, auth: Auth, *, is_async: bool) -> None:
    app = Flask(__name__)

    def view() -> str:
        auth.token.require(role="clerk")
        return "done"

    async def async_view() -> str:
        return view()

    app.add_url_rule("/", "view", auth.require()(async_view if is_async else view))
    refused = app.test_client().get("/", headers=mint.headers())
    assert (refused.status_code, refused.headers["www-authenticate"]) == (403, NOT_PERMITTED)
    assert app.test_client().get("/", headers=mint.headers(roles=["clerk"])).data == b"done"


@pytest.mark.spec("S01")
def test_what_a_view_of_a_blueprint_requires_further_is_answered_alike(mint: Mint, auth: Auth) -> None:
    app, blueprint = Flask(__name__), Blueprint("orders", __name__)
    auth.protect(blueprint, scope="orders:read")
    blueprint.add_url_rule("/", "view", lambda: auth.token.require(role="clerk").sub)
    app.register_blueprint(blueprint)
    refused = app.test_client().get("/", headers=mint.headers(scope="orders:read"))
    assert (refused.status_code, refused.headers["www-authenticate"]) == (403, NOT_PERMITTED)
    assert app.test_client().get("/", headers=mint.headers(scope="orders:read", roles=["clerk"])).data == b"ada"


def test_the_view_is_not_called_without_a_good_token(mint: Mint, auth: Auth) -> None:
    app, called = Flask(__name__), []

    @app.get("/")
    @auth.require()
    def view() -> str:
        called.append(auth.token.sub)
        return ""

    assert app.test_client().get("/", headers={"Authorization": "Bearer a.b.c"}).status_code == 401
    assert called == []
    assert app.test_client().get("/", headers=mint.headers()).status_code == 200
    assert called == ["ada"]


def test_only_the_blueprint_is_protected(mint: Mint, auth: Auth) -> None:
    app, blueprint = Flask(__name__), Blueprint("orders", __name__)
    auth.protect(blueprint)
    blueprint.add_url_rule("/orders", "view", lambda: auth.token.sub)
    app.register_blueprint(blueprint)
    app.add_url_rule("/livez", "livez", lambda: "alive")
    assert app.test_client().get("/livez").data == b"alive"
    assert app.test_client().get("/orders").status_code == 401


def test_static_files_are_protected_with_the_whole_application_or_their_blueprint(
    mint: Mint, auth: Auth, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("a")
    app = Flask(__name__, static_folder=tmp_path, static_url_path="/static")
    outer = Blueprint("outer", __name__, url_prefix="/outer", static_folder=tmp_path, static_url_path="/static")
    inner = Blueprint("inner", __name__, url_prefix="/inner")
    inner.add_url_rule("/", "view", lambda: "inner")
    outer.register_blueprint(inner)
    auth.protect(outer)
    app.register_blueprint(outer)
    whole = Flask(__name__, static_folder=tmp_path, static_url_path="/static")
    auth.protect(whole)
    paths = [(app, "/static/a.txt"), (app, "/outer/static/a.txt"), (app, "/outer/inner/"), (whole, "/static/a.txt")]
    # Buffered, so that files are closed.
    without = [one.test_client().get(path, buffered=True) for one, path in paths]
    assert [answer.status_code for answer in without] == [200, 401, 401, 401]
    good = [one.test_client().get(path, buffered=True, headers=mint.headers()) for one, path in paths]
    assert [answer.status_code for answer in good] == [200, 200, 200, 200]


@pytest.mark.spec("S01")
def test_a_whole_application_is_protected_unknown_paths_included(mint: Mint, auth: Auth) -> None:
    app = Flask(__name__)
    auth.protect(app)
    app.add_url_rule("/", "view", lambda: auth.token.sub)
    assert app.test_client().get("/").status_code == 401
    assert app.test_client().get("/nothing").status_code == 401
    assert app.test_client().get("/", headers=mint.headers()).data == b"ada"


def test_a_preflight_needs_no_token_and_an_options_view_does(mint: Mint, auth: Auth) -> None:
    """Browsers send no credentials with a preflight (Fetch standard, CORS protocol)."""
    app = Flask(__name__)
    auth.protect(app)
    app.add_url_rule("/", "view", lambda: auth.token.sub)
    app.add_url_rule("/own", "own", lambda: auth.token.sub, methods=["OPTIONS"])
    preflight = app.test_client().options("/")
    assert (preflight.status_code, preflight.data) == (200, b"")
    assert app.test_client().options("/own").status_code == 401
    assert app.test_client().options("/nothing").status_code == 401
    assert app.test_client().options("/own", headers=mint.headers()).data == b"ada"


def rewording(app: Flask) -> None:
    """Handle refusals as the documentation of Flask does, keeping their headers."""

    @app.errorhandler(HTTPException)
    def reword(error: HTTPException) -> Any:
        response = error.get_response()
        response.data = b"reworded"
        return response


@pytest.mark.parametrize("protect", [decorated, in_blueprints])
def test_the_applications_own_error_handler_sees_a_refusal(auth: Auth, protect: Callable[[Flask, Auth], None]) -> None:
    app = Flask(__name__)
    rewording(app)
    protect(app, auth)
    answer = app.test_client().get("/any")
    assert (answer.status_code, answer.data, answer.headers["www-authenticate"]) == (401, b"reworded", "Bearer")


def test_the_applications_own_error_handler_sees_what_a_view_requires_further(mint: Mint, auth: Auth) -> None:
    app = Flask(__name__)
    rewording(app)
    auth.protect(app)
    app.add_url_rule("/", "view", lambda: auth.token.require(role="clerk").sub)
    answer = app.test_client().get("/", headers=mint.headers())
    assert (answer.status_code, answer.data, answer.headers["www-authenticate"]) == (403, b"reworded", NOT_PERMITTED)


def test_there_is_no_token_in_a_view_that_nothing_protects(mint: Mint, auth: Auth) -> None:
    app = Flask(__name__)
    app.testing = True
    app.add_url_rule("/", "view", lambda: auth.token.sub)
    with pytest.raises(RuntimeError, match="protected neither by"):
        app.test_client().get("/", headers=mint.headers())


@pytest.mark.parametrize("protect", [decorated, decorated_async, in_blueprints])
def test_a_token_is_its_request_s_own(mint: Mint, auth: Auth, protect: Callable[[Flask, Auth], None]) -> None:
    """Inside a context of the application, as in a command or a test, several requests share its ``g``."""
    app = Flask(__name__)
    app.testing = True
    protect(app, auth)
    app.add_url_rule("/open", "open", lambda: auth.token.sub)
    http = app.test_client()
    with app.app_context():
        for sub in ("ada", "bob"):
            assert http.get("/any", headers=mint.headers(sub=sub)).json == {"sub": sub}
        with pytest.raises(RuntimeError, match="protected neither by"):
            http.get("/open")


def test_an_async_view_stays_one(auth: Auth) -> None:
    """Decorators of the application may come on top, and wait for it."""
    app = Flask(__name__)

    async def view() -> str:
        return ""

    with app.test_request_context("/"):
        waiting = auth.require()(view)()
        with pytest.raises(HTTPException) as refused:
            waiting.send(None)
    assert isinstance(refused.value.__cause__, VerifierError)
