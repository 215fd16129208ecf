"""Whatever is sent: the right 4xx in the right dialect, never a 5xx, and nothing half-written."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.protocol.answers import assert_tokens
from tests.protocol.inhabitants import grant_of
from tests.support.installation import PREFIX, Installation
from tests.support.wire import FORM, Answer, send

from mintmark import bootstrap
from mintmark.asgi import ASGIApp
from mintmark.storage.memory import MemoryStore

AUTHENTICATED = [PREFIX + "/token", PREFIX + "/revoke", PREFIX + "/introspect"]
USERINFO = PREFIX + "/userinfo"
DOCUMENTS = ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/.well-known/jwks.json"]
HEALTH = ["/livez", "/readyz"]
SCRIPTS_MAY = [PREFIX + "/token", PREFIX + "/revoke", USERINFO, *DOCUMENTS]
ALLOWED = {path: {"POST"} for path in AUTHENTICATED} | {path: {"GET", "HEAD"} for path in (*DOCUMENTS, *HEALTH)}
ALLOWED[USERINFO] = {"GET", "HEAD", "POST"}
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
SOME = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@dataclass
class Wire:
    """An installation spoken to byte for byte, and what it would answer to good requests."""

    mint: Installation
    app: ASGIApp

    def credentials(self) -> bytes:
        return f"client_id=service&client_secret={self.mint.secrets['service']}".encode()

    def stored(self) -> object:
        store = self.mint.authority.store
        assert isinstance(store, MemoryStore)
        return store.snapshot()

    async def post(self, path: str, body: Any, *headers: tuple[bytes, bytes], query: bytes = b"") -> Answer:
        return await send(self.app, "POST", path, query=query, headers=headers or (FORM,), body=body)

    async def assert_works(self) -> None:
        """The positive twin of whatever was refused."""
        answer = await self.post(PREFIX + "/token", self.credentials() + b"&grant_type=client_credentials")
        assert answer.status == 200, answer.body
        assert answer.json()["access_token"]


@pytest.fixture
def wire(mint: Installation) -> Wire:
    return Wire(mint, bootstrap.application(mint.authority))


def assert_dialect(answer: Answer, *statuses: int, path: str = "") -> None:
    """An RFC 6749 §5.2 error that no cache may keep; at userinfo, without a token, a bare challenge."""
    assert answer.status in statuses, (answer.status, answer.body)
    assert answer.header("cache-control") == "no-store"
    assert answer.header("content-length") == str(len(answer.body)) or not answer.body
    if path == USERINFO and answer.status == 401 and not answer.body:
        assert (answer.header("www-authenticate") or "").startswith("Bearer ")
        return
    assert answer.header("content-type") == "application/json"
    body = answer.json()
    assert set(body) == {"error", "error_description"}
    assert all(isinstance(value, str) and value.isascii() and value for value in body.values())
    assert (answer.status == 401) == (answer.header("www-authenticate") is not None) or answer.status == 403


def refused(answer: Answer, path: str = "") -> None:
    """Any refusal that is the sender's fault."""
    assert 400 <= answer.status < 500, (answer.status, answer.body)
    assert_dialect(answer, answer.status, path=path)


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


@pytest.mark.spec("T01")
@pytest.mark.parametrize("path", AUTHENTICATED)
@pytest.mark.parametrize(
    "content_type",
    [
        b"application/json",
        b"text/plain",
        b"multipart/form-data; boundary=x",
        b"",
        b"application/x-www-form-urlencodedx",
        b"\xff",
        b";",
        None,
    ],
)
async def test_another_content_type_is_refused(wire: Wire, path: str, content_type: bytes | None) -> None:
    """400, also without one, also if the body is a good form."""
    before = wire.stored()
    headers = () if content_type is None else ((b"content-type", content_type),)
    body = wire.credentials() + b"&grant_type=client_credentials&token=x"
    answer = await send(wire.app, "POST", path, headers=headers, body=body)
    assert_dialect(answer, 400)
    assert answer.json()["error"] == "invalid_request"
    assert wire.stored() == before
    await wire.assert_works()


@pytest.mark.parametrize("path", [*AUTHENTICATED, USERINFO])
async def test_a_huge_body_is_413_and_is_not_read_to_its_end(wire: Wire, path: str) -> None:
    """10 MB at once and in chunks; the connection is closed, since the rest of it is still under way."""
    served = 0

    def chunks() -> Iterator[bytes]:
        nonlocal served
        for _ in range(160):
            served += 1
            yield b"a=" + b"x" * 65_000

    for body in (b"a=" + b"x" * 10_000_000, chunks()):
        answer = await wire.post(path, body)
        assert_dialect(answer, 413)
        assert answer.header("connection") == "close"
    assert served < 5
    await wire.assert_works()


@pytest.mark.parametrize("path", AUTHENTICATED)
async def test_the_limit_of_a_body(wire: Wire, path: str) -> None:
    """64 KiB are read, in however many pieces; one more octet is too many."""
    start = wire.credentials() + b"&grant_type=client_credentials&token=x&padding="
    fits = start + b"x" * (65_536 - len(start))
    assert (await wire.post(path, fits)).status == 200
    assert (await wire.post(path, [fits[:1], b"", fits[1:40_000], fits[40_000:]])).status == 200
    for too_long in (fits + b"x", [fits, b"x"]):
        assert_dialect(await wire.post(path, too_long), 413)


@pytest.mark.parametrize("path", [*AUTHENTICATED, USERINFO, *DOCUMENTS, PREFIX + "/nothing"])
async def test_a_huge_query_is_414(wire: Wire, path: str) -> None:
    """URLs have a limit, too."""
    method = "POST" if path in AUTHENTICATED else "GET"
    assert_dialect(await send(wire.app, method, path, query=b"a=" + b"x" * 16_384), 414)


@pytest.mark.spec("A07", "RFC 6749 §3.2")
@pytest.mark.parametrize(
    ("path", "extra"),
    [
        (PREFIX + "/token", b"&grant_type=client_credentials&grant_type=client_credentials"),
        (PREFIX + "/token", b"&grant_type=client_credentials&grant_type=refresh_token"),
        (PREFIX + "/token", b"&grant_type=client_credentials&grant_type="),
        (PREFIX + "/token", b"&grant_type=client_credentials&%67rant_type=client_credentials"),
        (PREFIX + "/token", b"&grant_type=client_credentials&client_id=service"),
        (PREFIX + "/token", b"&grant_type=client_credentials&client_id=web"),
        (PREFIX + "/token", b"&grant_type=client_credentials&client_secret=x"),
        (PREFIX + "/token", b"&grant_type=client_credentials&scope=orders:read&scope=orders:write"),
        (PREFIX + "/token", b"&grant_type=refresh_token&refresh_token=a&refresh_token=b"),
        (PREFIX + "/token", b"&grant_type=authorization_code&code=a&code=b"),
        (PREFIX + "/token", b"&grant_type=client_credentials&x=1&x=2"),
        (PREFIX + "/revoke", b"&token=a&token=b"),
        (PREFIX + "/introspect", b"&token=a&token=b"),
        (PREFIX + "/introspect", b"&token=a&token_type_hint=a&token_type_hint=b"),
    ],
)
async def test_no_parameter_comes_twice(wire: Wire, path: str, extra: bytes) -> None:
    """Equal, different, empty, differently encoded, unknown: refused. Only resource may repeat."""
    answer = await wire.post(path, wire.credentials() + extra)
    assert_dialect(answer, 400)
    assert answer.json()["error"] == "invalid_request"
    resources = b"&grant_type=client_credentials&resource=https://api.example&resource=https://api.example"
    assert (await wire.post(PREFIX + "/token", wire.credentials() + resources)).status == 200


@pytest.mark.spec("T01", "A07")
@pytest.mark.parametrize("path", AUTHENTICATED)
@pytest.mark.parametrize(
    "query", [b"grant_type=client_credentials", b"token=x", b"a", b"&", b"client_id=service", b"%ff"]
)
async def test_nothing_is_taken_from_the_url(wire: Wire, path: str, query: bytes) -> None:
    """One in the query, the rest in the body: refused."""
    body = wire.credentials() + b"&grant_type=client_credentials&token=x"
    answer = await wire.post(path, body, query=query)
    assert_dialect(answer, 400)
    assert (await wire.post(path, body)).status == 200


@pytest.mark.spec("RFC 6749 appendix B")
@pytest.mark.parametrize("path", AUTHENTICATED)
@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(b"&x=%ff", id="not UTF-8"),
        pytest.param(b"&x=%c3%28", id="broken sequence"),
        pytest.param(b"&x=%ed%a0%80", id="surrogate"),
        pytest.param(b"&x=%c0%80", id="overlong NUL"),
        pytest.param(b"&%ff=x", id="in a name"),
        pytest.param(b"&x=\xc3\xbc", id="not percent-encoded"),
        pytest.param(b"&x=%00", id="NUL"),
        pytest.param(b"&x%00=1", id="NUL in a name"),
        pytest.param(b"&x=\x00", id="raw NUL"),
        pytest.param(b"&resource=%00", id="NUL in a resource"),
        pytest.param(b"".join(b"&a%d=1" % n for n in range(70)), id="too many"),
    ],
)
async def test_a_form_that_is_none_is_refused(wire: Wire, path: str, extra: bytes) -> None:
    """Although everything needed is in it."""
    before = wire.stored()
    body = wire.credentials() + b"&grant_type=client_credentials&token=x"
    answer = await wire.post(path, body + extra)
    assert_dialect(answer, 400)
    assert answer.json()["error"] == "invalid_request"
    assert wire.stored() == before
    assert (await wire.post(path, body + b"&unknown=%C3%BC&empty=&alone")).status == 200


@pytest.mark.parametrize("path", AUTHENTICATED)
@pytest.mark.parametrize("body", [b"", b"&", b"=", b"a", b"%", b"%%%", b"a=b=c", b"\xff\xfe", b"{}", b"\x00" * 100])
async def test_a_malformed_form_is_refused(wire: Wire, path: str, body: bytes) -> None:
    """Without credentials in it 401, else 400."""
    refused(await wire.post(path, body))
    await wire.assert_works()


@pytest.mark.spec("T05", "RFC 6749 §5.1")
async def test_unknown_parameters_are_ignored(wire: Wire) -> None:
    """And an empty one counts as left out."""
    body = wire.credentials() + b"&grant_type=client_credentials&foo=bar&scope=&code=&refresh_token=x"
    assert (await wire.post(PREFIX + "/token", body)).status == 200


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


@pytest.mark.parametrize("path", [*AUTHENTICATED, USERINFO])
async def test_strange_header_values_are_survived(wire: Wire, path: str) -> None:
    """Bytes of every kind in the headers that are looked at."""
    for value in (
        b"",
        b"\xff" * 50,
        b"\x00",
        b"Basic \xff",
        b"Bearer \xff",
        b"Basic " + b"=" * 9,
        b"Bearer a b",
        b" " * 99,
    ):
        for name in (b"authorization", b"content-type", b"if-none-match", b"cookie", b"content-length", b"host"):
            refused(await send(wire.app, "POST", path, headers=((name, value), FORM), body=b"token=x"), path)


@pytest.mark.parametrize("path", DOCUMENTS)
async def test_strange_conditions_are_survived(wire: Wire, path: str) -> None:
    """The document comes, whatever If-None-Match says."""
    for value in (b"", b"\xff", b",,,", b'"', b"W/", b"x" * 5000):
        answer = await send(wire.app, "GET", path, headers=((b"if-none-match", value),), body=b"ignored")
        assert answer.status == 200


async def test_a_client_id_of_any_kind_is_survived(wire: Wire) -> None:
    """Long, odd, like SQL or a path: one answer."""
    answers = set()
    for name in (
        "%27%20OR%201=1--",
        "..%2F..%2Fetc",
        "x" * 60_000,
        "%F0%9F%94%91",
        "usr_x",
        "%0D%0ASet-Cookie:a=b",
        "%7F",
    ):
        answer = await wire.post(PREFIX + "/token", f"client_id={name}&client_secret=x&grant_type=x".encode())
        assert_dialect(answer, 401)
        answers.add(answer.body)
    assert len(answers) == 1


@pytest.mark.spec("invariant I3")
async def test_refused_redemptions_and_refreshes_write_nothing(wire: Wire) -> None:
    """Every malformed use of a genuine code and refresh token leaves the row as it was."""
    mint = wire.mint
    code = await mint.grant()
    before = wire.stored()
    bad: list[dict[str, Any]] = [
        {"code_verifier": "x"},
        {"redirect_uri": "x"},
        {"resource": "https://unknown.example"},
        {"redirect_uri": "\x00"},
    ]
    for extra in bad:
        assert (await mint.redeem(code, **extra)).status_code == 400
    assert wire.stored() == before
    tokens = assert_tokens(await mint.redeem(code))
    before = wire.stored()
    for extra in ({"scope": "more"}, {"scope": '"'}, {"resource": "x"}, {"scope": "x\x00"}):
        assert (await mint.refresh(tokens["refresh_token"], **extra)).status_code == 400
    assert wire.stored() == before
    assert (await grant_of(mint, code)).generation == 1
    assert_tokens(await mint.refresh(tokens["refresh_token"]))


names = st.sampled_from(
    [
        "grant_type",
        "code",
        "refresh_token",
        "token",
        "scope",
        "resource",
        "client_id",
        "client_secret",
        "redirect_uri",
        "code_verifier",
        "client_assertion",
        "claims",
        "x",
    ]
)
values = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "authorization_code",
            "refresh_token",
            "client_credentials",
            "service",
            "web",
            "spa",
            "mmr_" + "A" * 71,
            "mmc_" + "_" * 71,
            "a.b.c",
        ]
    ),
)
headers = st.lists(
    st.tuples(
        st.sampled_from(
            [b"authorization", b"content-type", b"accept", b"cookie", b"origin", b"dpop", b"x-forwarded-for"]
        ),
        st.one_of(st.binary(max_size=60), st.sampled_from([FORM[1], b"Basic c2VydmljZTp4", b"Bearer a.b.c"])),
    ),
    max_size=5,
)


@pytest.mark.parametrize("path", [*AUTHENTICATED, USERINFO])
@SOME
@given(body=st.binary(max_size=300), query=st.one_of(st.just(b""), st.binary(max_size=40)))
@example(body=b"client_id=spa&grant_type=refresh_token&refresh_token=" + b"%00", query=b"")
async def test_random_bytes_in_body_and_query(wire: Wire, path: str, body: bytes, query: bytes) -> None:
    """Sent as a form, whatever they are."""
    before = wire.stored()
    answer = await send(wire.app, "POST", path, query=query, headers=(FORM,), body=body)
    refused(answer, path)
    assert wire.stored() == before


@pytest.mark.parametrize("path", [*AUTHENTICATED, USERINFO])
@SOME
@given(fields=st.lists(st.tuples(names, values), max_size=8))
async def test_random_forms_of_an_authenticated_client(wire: Wire, path: str, fields: list[tuple[str, str]]) -> None:
    """Known names, odd values, in any number: 200 where it happens to be good, else the sender's fault."""
    from urllib.parse import urlencode

    before = wire.stored()
    body = urlencode(fields, errors="surrogatepass").encode()
    answer = await wire.post(path, wire.credentials() + b"&" + body)
    if answer.status != 200:
        refused(answer, path)
    assert wire.stored() == before


@pytest.mark.parametrize("path", [*AUTHENTICATED, USERINFO, DOCUMENTS[-1], PREFIX + "/nothing"])
@SOME
@given(sent=headers, method=st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT"]))
async def test_random_headers(wire: Wire, path: str, sent: list[tuple[bytes, bytes]], method: str) -> None:
    """In any number and combination."""
    before = wire.stored()
    answer = await send(wire.app, method, path, headers=sent, body=b"token=x&grant_type=client_credentials")
    assert answer.status < 500
    if method in {"GET", "POST"} and answer.status >= 400:
        refused(answer, path)
    assert wire.stored() == before


@pytest.mark.parametrize("start", [PREFIX + "/", "/.well-known/"])
@SOME
@given(rest=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1, max_size=60))
async def test_random_paths(wire: Wire, start: str, rest: str) -> None:
    """Nothing there, or something that answers; never a fault."""
    answer = await send(wire.app, "GET", start + rest)
    assert answer.status < 500
    if answer.status == 404:
        assert_dialect(answer, 404)
