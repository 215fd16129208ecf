"""Where the keys are, as the issuer says itself."""

from dataclasses import replace
from typing import Any

import pytest
from tests.support.key_keeping import JWKS, METADATA, ONE, OPENID, TWO, World
from tests.support.verifying import ISSUER, FakeClock, ScriptedTransport, json_response, jwks_response, metadata_of
from tests.unit.verifier.keys_things import ready, world

from mintmark.verifier.keys import KeyKeeper
from mintmark.verifier.ports import Response

__all__ = ["ready", "world"]


def test_before_the_first_fetch_nothing_is_known_and_nothing_was_asked(world: World) -> None:
    assert world.keeper.keys is None
    assert world.keeper.endpoints is None
    assert world.keeper.due_in() <= 0
    assert world.transport.asked == []


@pytest.mark.spec("RFC 8414 §3")
def test_the_metadata_says_where_the_keys_and_the_endpoints_are(world: World) -> None:
    assert world.keeper.refresh()
    assert world.kids() == {"one"}
    endpoints = world.keeper.endpoints
    assert endpoints is not None
    assert endpoints.jwks_uri == JWKS
    assert endpoints.introspection_endpoint == f"{ISSUER}/introspect"
    assert endpoints.revocations_endpoint == f"{ISSUER}/revocations"
    assert [one.url for one in world.transport.asked] == [METADATA, JWKS]


def test_endpoints_that_are_not_there_are_none(world: World) -> None:
    world.transport.answers[METADATA] = json_response(
        metadata_of(introspection_endpoint=None, revocations_endpoint=None)
    )
    assert world.keeper.refresh()
    assert world.keeper.endpoints is not None
    assert world.keeper.endpoints.introspection_endpoint is None
    assert world.keeper.endpoints.revocations_endpoint is None


@pytest.mark.spec("RFC 8414 §3.1")
@pytest.mark.parametrize(
    ("issuer", "first", "second"),
    [
        ("https://a.example", "https://a.example/.well-known/{}", "https://a.example/.well-known/{}"),
        ("https://a.example/", "https://a.example/.well-known/{}", "https://a.example/.well-known/{}"),
        ("https://a.example:8443/t/1", "https://a.example:8443/.well-known/{}/t/1", "https://a.example:8443/t/1/.well-known/{}"),
        ("https://a.example/t/", "https://a.example/.well-known/{}/t", "https://a.example/t/.well-known/{}"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/.well-known/{}", "http://127.0.0.1:8000/.well-known/{}"),
    ],
)  # fmt: skip
def test_the_path_of_an_issuer_is_put_where_the_standards_want_it(issuer: str, first: str, second: str) -> None:
    transport = ScriptedTransport()
    assert not KeyKeeper(issuer, transport, FakeClock(), on_change=lambda: None).refresh()
    assert [one.url for one in transport.asked] == [
        first.format("oauth-authorization-server"),
        second.format("openid-configuration"),
    ]


@pytest.mark.parametrize(
    "issuer",
    ["", "auth.example", "http://auth.example", "https://a.example?x", "https://a.example/#f", "https://u:p@a.example"],
)
def test_what_is_no_issuer_identifier_is_refused_at_once(issuer: str) -> None:
    with pytest.raises(ValueError, match="https"):
        KeyKeeper(issuer, ScriptedTransport(), FakeClock(), on_change=lambda: None)


def test_openid_discovery_is_asked_only_where_the_other_document_is_absent(world: World) -> None:
    world.transport.answers |= {METADATA: Response(404), OPENID: json_response(metadata_of())}
    assert world.keeper.refresh()
    world = World()
    world.transport.answers |= {METADATA: Response(500), OPENID: json_response(metadata_of())}
    assert not world.keeper.refresh()
    assert world.transport.count(OPENID) == 0


@pytest.mark.spec("S08", "RFC 8414 §3.3")
@pytest.mark.parametrize("other", ["https://evil.example", ISSUER + "/", ISSUER.upper(), None, 1, [ISSUER]])
def test_metadata_of_another_issuer_is_refused_and_told_once(
    world: World, other: Any, caplog: pytest.LogCaptureFixture
) -> None:
    world.transport.answers[METADATA] = json_response(metadata_of(issuer=ISSUER) | {"issuer": other})
    for _ in range(3):
        assert not world.keeper.refresh()
    assert world.keeper.keys is None
    assert world.keeper.endpoints is None
    assert world.fetches() == 0
    assert [record.message for record in caplog.records] == [
        f"the keys of {ISSUER} cannot be fetched: the metadata is of another issuer: {str(other)!r}"
    ]


@pytest.mark.parametrize(
    "response",
    [
        Response(200, {}, b""),
        Response(200, {}, b"<html>"),
        Response(200, {}, b"[]"),
        Response(200, {}, b'{"issuer":"https://auth.example","issuer":"https://auth.example","jwks_uri":"https://auth.example/jwks"}'),
        json_response(metadata_of(jwks_uri=None)),
        json_response(metadata_of(jwks_uri=7)),
        json_response(metadata_of(jwks_uri="http://auth.example/jwks")),
        json_response(metadata_of(jwks_uri="http://127.0.0.1/jwks")),
        json_response(metadata_of(jwks_uri="file:///etc/passwd")),
        json_response(metadata_of(introspection_endpoint="http://127.0.0.1/introspect")),
        json_response(metadata_of(revocations_endpoint="ftp://auth.example/")),
        replace(json_response(metadata_of()), status=302),
        replace(json_response(metadata_of()), status=503),
        json_response(metadata_of(padding="x" * 262_144)),
    ],
)  # fmt: skip
def test_metadata_that_is_not_in_order_is_refused(world: World, response: Response) -> None:
    world.transport.answers[METADATA] = response
    assert not world.keeper.refresh()
    assert world.keeper.endpoints is None
    assert world.fetches() == 0


def test_what_was_wrong_with_the_metadata_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    for jwks_uri in (7, None, "http://127.0.0.1/jwks", "nothing"):
        world.transport.answers[METADATA] = json_response(metadata_of(jwks_uri=jwks_uri))
        world.keeper.refresh()
    assert [record.message.partition("fetched: ")[2] for record in caplog.records] == [
        "jwks_uri is no text",
        "the metadata names no jwks_uri",
        "jwks_uri is not https",
        "not a URL that may be asked",
    ]


def test_the_content_is_judged_not_the_content_type(world: World) -> None:
    world.transport.answers[METADATA] = json_response(metadata_of(), content_type="text/plain")
    assert world.keeper.refresh()


def test_an_issuer_on_loopback_may_have_its_keys_there_without_tls() -> None:
    issuer = "http://127.0.0.1:8000"
    transport = ScriptedTransport(
        {
            f"{issuer}/.well-known/oauth-authorization-server": json_response(metadata_of(issuer)),
            f"{issuer}/jwks": jwks_response(ONE),
        }
    )
    assert KeyKeeper(issuer, transport, FakeClock(), on_change=lambda: None).refresh()


def test_metadata_is_fetched_at_most_hourly(world: World) -> None:
    world.keeper.refresh()
    world.clock.advance(3599)
    world.keeper.refresh()
    assert world.transport.count(METADATA) == 1
    world.clock.advance(1)
    world.keeper.refresh()
    assert world.transport.count(METADATA) == 2


def test_keys_that_are_not_where_they_were_are_looked_for_anew(world: World) -> None:
    world.keeper.refresh()
    world.transport.answers |= {
        METADATA: json_response(metadata_of(jwks_uri=f"{ISSUER}/moved")),
        JWKS: Response(404),
        f"{ISSUER}/moved": jwks_response(TWO),
    }
    assert not world.keeper.refresh()
    assert world.kids() == {"one"}
    assert world.keeper.refresh()
    assert world.kids() == {"two"}


def test_requests_are_bounded_in_time_and_size(world: World) -> None:
    world.keeper.refresh()
    assert [(one.method, one.timeout, one.max_bytes) for one in world.transport.asked] == [
        ("GET", 5.0, 262_144),
        ("GET", 5.0, 524_288),
    ]
