"""Whatever is sent at random: never a 5xx, and nothing half-written."""

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.protocol.wire_things import AUTHENTICATED, DOCUMENTS, USERINFO, Wire, assert_dialect, refused, wire
from tests.support.installation import PREFIX
from tests.support.wire import FORM, send

__all__ = ["wire"]

SOME = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


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
