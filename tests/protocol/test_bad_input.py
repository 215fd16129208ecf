"""Whatever is in a body, a query or a header: the right 4xx in the right dialect, and nothing half-written."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.protocol.answers import assert_tokens
from tests.protocol.inhabitants import grant_of
from tests.protocol.wire_things import AUTHENTICATED, DOCUMENTS, USERINFO, Wire, assert_dialect, refused, wire
from tests.support.installation import PREFIX
from tests.support.wire import FORM, send

__all__ = ["wire"]


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
