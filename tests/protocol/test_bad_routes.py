"""Methods, paths and origins that nothing is behind: the right 4xx in the right dialect."""

import pytest
from tests.protocol.wire_things import (
    ALLOWED,
    AUTHENTICATED,
    DOCUMENTS,
    HEALTH,
    SCRIPTS_MAY,
    USERINFO,
    Wire,
    assert_dialect,
    wire,
)
from tests.support.installation import PREFIX
from tests.support.wire import FORM, send

__all__ = ["wire"]

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "\u00fc"]
UNKNOWN = [
    PREFIX + "/",
    PREFIX + "/nothing",
    PREFIX + "/token/",
    PREFIX + "/token/x",
    PREFIX + "/Token",
    PREFIX + "//token",
    PREFIX + "/../token",
    PREFIX + "/\u00fc",
    PREFIX + "/%00",
    "/.well-known/nothing",
    "/.well-known/jwks.json/",
]


@pytest.mark.spec("T01", "RFC 9110 §15.5.6")
@pytest.mark.parametrize("path", [*AUTHENTICATED, USERINFO, *DOCUMENTS, *HEALTH])
async def test_a_wrong_method_is_405_and_says_which_are_right(wire: Wire, path: str) -> None:
    """In the dialect of the endpoint; the right ones are not 405."""
    for method in METHODS:
        answer = await send(wire.app, method, path)
        if method in ALLOWED[path]:
            assert answer.status != 405, method
        elif method == "OPTIONS" and path in SCRIPTS_MAY:
            assert answer.status == 204
        else:
            if method != "HEAD":
                assert_dialect(answer, 405)
            assert answer.status == 405
            allow = {name.strip() for name in (answer.header("allow") or "").split(",")}
            assert allow - {"OPTIONS"} == ALLOWED[path], method


@pytest.mark.spec("RFC 9110 §9.3.2")
@pytest.mark.parametrize(
    "path",
    [
        *AUTHENTICATED,
        *(USERINFO, *DOCUMENTS, *HEALTH, PREFIX + "/nothing"),
    ],
)
async def test_head_never_has_a_body(wire: Wire, path: str) -> None:
    """Nor where it is refused."""
    answer = await send(wire.app, "HEAD", path)
    assert answer.body == b""
    same = await send(wire.app, "GET", path)
    assert answer.status == same.status
    assert answer.header("content-length") == same.header("content-length")


@pytest.mark.parametrize("path", UNKNOWN)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_path_is_404_in_json(wire: Wire, method: str, path: str) -> None:
    """Below the prefix and below /.well-known, whatever is in it."""
    assert_dialect(await send(wire.app, method, path, headers=(FORM,), body=wire.credentials()), 404)
    await wire.assert_works()


@pytest.mark.parametrize("path", [PREFIX + "/a\nb", "/.well-known/\n0"])
async def test_a_line_end_in_the_path_is_404_in_json_too(wire: Wire, path: str) -> None:
    """%0A is a character like any other: the dialect stays."""
    assert_dialect(await send(wire.app, "GET", path), 404)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_an_unknown_path_is_refused_by_any_method(wire: Wire, method: str) -> None:
    """In JSON: there is nothing, whatever one would do with it."""
    assert_dialect(await send(wire.app, method, PREFIX + "/nothing"), 404, 405)


@pytest.mark.parametrize("path", SCRIPTS_MAY)
async def test_scripts_of_any_origin_may_ask(wire: Wire, path: str) -> None:
    """Preflight and answer, errors and refusals too; never with cookies."""
    origin = (b"origin", b"https://spa.example")
    preflight = await send(
        wire.app,
        "OPTIONS",
        path,
        headers=(
            origin,
            (b"access-control-request-method", b"POST"),
            (b"access-control-request-headers", b"authorization"),
        ),
    )
    assert (preflight.status, preflight.body) == (204, b"")
    assert preflight.header("access-control-allow-origin") == "*"
    allowed = {name.strip().lower() for name in (preflight.header("access-control-allow-headers") or "").split(",")}
    assert {"authorization", "content-type"} <= allowed
    methods = {name.strip() for name in (preflight.header("access-control-allow-methods") or "").split(",")}
    assert ALLOWED[path] - {"HEAD"} <= methods
    for method in ("GET", "POST", "DELETE"):
        answer = await send(wire.app, method, path, headers=(origin, FORM))
        assert answer.header("access-control-allow-origin") == "*", method
        assert answer.header("access-control-allow-credentials") is None
    large = await send(wire.app, "POST", path, headers=(origin, FORM), body=b"x" * 70_000)
    assert large.header("access-control-allow-origin") == "*"


@pytest.mark.parametrize("path", [PREFIX + "/introspect", *HEALTH, PREFIX + "/nothing"])
async def test_scripts_may_not_ask_elsewhere(wire: Wire, path: str) -> None:
    """Introspection is for resource servers: no CORS at all."""
    for method in ("OPTIONS", "GET", "POST"):
        answer = await send(wire.app, method, path, headers=((b"origin", b"https://spa.example"), FORM))
        assert [name for name, _ in answer.headers if name.startswith(b"access-control-")] == []
        assert answer.status != 204
