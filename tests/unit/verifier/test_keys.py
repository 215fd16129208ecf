"""What the keeper of keys believes, when it asks, and what it does not let itself be talked into."""

import logging
import os
import random
import threading
from dataclasses import replace
from typing import Any

import pytest
from tests.support.verifying import (
    ISSUER,
    Asked,
    FakeClock,
    ScriptedTransport,
    json_response,
    jwks_response,
    metadata_of,
)

from mintmark.jose import jwk
from mintmark.jose.jwk import Key
from mintmark.verifier.keys import KeyKeeper
from mintmark.verifier.ports import Response, TransportError

METADATA = f"{ISSUER}/.well-known/oauth-authorization-server"
OPENID = f"{ISSUER}/.well-known/openid-configuration"
JWKS = f"{ISSUER}/jwks"
DAY = 86_400

ONE = jwk.generate("ES256", kid="one")
TWO = jwk.generate("EdDSA", kid="two")
THREE = jwk.generate("ES256", kid="three")
DOWN = TransportError("no answer in time")


class World:
    """A keeper, the authority it asks, and the time both live in."""

    def __init__(self, *keys: Key, issuer: str = ISSUER) -> None:
        self.clock = FakeClock()
        self.changes = 0
        self.transport = ScriptedTransport({METADATA: json_response(metadata_of())})
        self.publish(*(keys or (ONE,)))
        self.keeper = KeyKeeper(
            issuer, self.transport, self.clock, on_change=self._changed, randomness=random.Random(1)
        )

    def publish(self, *keys: Key, **headers: str) -> None:
        self.transport.answers[JWKS] = jwks_response(*keys, **headers)

    def publish_raw(self, *entries: dict[str, Any]) -> None:
        self.transport.answers[JWKS] = json_response({"keys": list(entries)})

    def kids(self) -> set[str]:
        keys = self.keeper.keys
        assert keys is not None
        return set(keys)

    def fetches(self) -> int:
        return self.transport.count(JWKS)

    def _changed(self) -> None:
        self.changes += 1


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def ready() -> World:
    """A world whose keys were fetched, so long ago that an unknown kid may ask again."""
    world = World()
    assert world.keeper.refresh()
    world.clock.advance(5)
    return world


# Discovery


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
        f"the keys of {ISSUER} cannot be fetched: the metadata is of another issuer"
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


# What replaces the keys, and what does not


@pytest.mark.spec("S05", "S06")
def test_the_set_is_replaced_not_merged(ready: World) -> None:
    ready.publish(TWO)
    assert ready.keeper.refresh()
    assert ready.kids() == {"two"}


@pytest.mark.spec("S05")
@pytest.mark.parametrize(
    "answer",
    [
        DOWN,
        OSError("a transport that breaks its promise"),
        Response(500),
        Response(403),
        Response(301, {"location": "https://evil.example/jwks"}, jwks_response(TWO).body),
        Response(200, {}, b"not JSON"),
        json_response({"keys": {}}),
        json_response({"keys": []}),
        json_response({"keys": [TWO.public_jwk() | {"use": "enc"}]}),
        json_response({"keys": [TWO.public_jwk()] * 2}),
        Response(200, {}, b'{"keys":[],"keys":[]}'),
        json_response({"keys": [TWO.public_jwk()], "padding": "x" * 524_288}),
        json_response({"keys": [{"kty": "unknown", "kid": str(number)} for number in range(300)]}),
        # Nothing was asked that it could be an answer to: no ETag was known.
        Response(304),
    ],
)
def test_an_answer_that_is_no_good_leaves_the_last_good_keys(ready: World, answer: Response | Exception) -> None:
    before = ready.keeper.keys
    ready.transport.answers[JWKS] = answer
    assert not ready.keeper.refresh()
    assert ready.keeper.keys is before
    assert (ready.changes, ready.keeper.fetches, ready.keeper.failures) == (1, 2, 1)


def test_a_set_without_any_usable_key_is_a_failure_also_at_the_start() -> None:
    world = World()
    world.publish_raw()
    assert not world.keeper.refresh()
    assert world.keeper.keys is None


@pytest.mark.spec("J11")
def test_published_secrets_are_never_keys(world: World) -> None:
    secret = {"kty": "oct", "alg": "HS256", "kid": "secret", "k": "A" * 43}
    private = [key.private_jwk() for key in (TWO, jwk.generate("RS256", kid="rsa"))]
    disguised = ONE.public_jwk() | {"kid": "disguised", "k": "A" * 43}
    world.publish_raw(secret, *private, disguised, ONE.public_jwk())
    assert world.keeper.refresh()
    assert world.kids() == {"one"}
    assert world.keeper.keys is not None
    assert not world.keeper.keys["one"].can_sign


def test_entries_that_are_no_keys_are_skipped(world: World) -> None:
    world.transport.answers[JWKS] = json_response({"keys": [None, 1, "x", [], {}, ONE.public_jwk()]})
    assert world.keeper.refresh()
    assert world.kids() == {"one"}


def test_the_same_content_leaves_the_same_objects(ready: World) -> None:
    before = ready.keeper.keys
    assert ready.keeper.refresh()
    # Written in other words, with a member nobody knows.
    ready.publish_raw(dict(reversed(list((ONE.public_jwk() | {"x-new": 1}).items()))))
    assert ready.keeper.refresh()
    assert ready.keeper.keys is before
    assert ready.changes == 1


def test_a_key_that_stays_is_the_same_object_in_the_next_set(ready: World) -> None:
    assert ready.keeper.keys is not None
    before = ready.keeper.keys["one"]
    ready.publish(TWO, ONE)
    assert ready.keeper.refresh()
    assert ready.keeper.keys["one"] is before
    assert ready.changes == 2


def test_another_key_under_the_same_kid_is_another_object(ready: World) -> None:
    assert ready.keeper.keys is not None
    before = ready.keeper.keys["one"]
    ready.publish_raw(THREE.public_jwk() | {"kid": "one"})
    assert ready.keeper.refresh()
    assert ready.keeper.keys["one"] is not before
    assert ready.keeper.keys["one"].public_jwk()["x"] == THREE.public_jwk()["x"]


def test_who_is_told_of_a_change_sees_the_new_keys(world: World) -> None:
    seen: list[set[str]] = []
    keeper = KeyKeeper(ISSUER, world.transport, world.clock, on_change=lambda: seen.append(set(keeper.keys or ())))
    keeper.refresh()
    world.publish(TWO)
    keeper.refresh()
    keeper.drop("two", world.clock.now() + 60)
    assert seen == [{"one"}, {"two"}, set()]


# Age


@pytest.mark.spec("S05", "S06")
def test_the_last_good_keys_serve_for_a_day(world: World) -> None:
    world.keeper.refresh()
    world.transport.answers[JWKS] = DOWN
    world.clock.advance(DAY - 1)
    world.keeper.refresh()
    assert world.kids() == {"one"}
    assert world.changes == 1
    world.clock.advance(1)
    assert world.keeper.keys is None
    world.keeper.refresh()
    world.keeper.refresh()
    assert world.changes == 2


def test_keys_that_had_expired_come_back_with_the_issuer(world: World) -> None:
    world.publish(ONE, etag='"1"')
    world.keeper.refresh()
    world.transport.answers[JWKS] = DOWN
    world.clock.advance(DAY)
    world.keeper.refresh()
    world.transport.answers[JWKS] = Response(304)
    assert world.keeper.refresh()
    assert world.kids() == {"one"}
    assert world.changes == 3


@pytest.mark.parametrize(
    ("headers", "lifetime"),
    [
        ({}, 300),
        ({"cache_control": "public"}, 300),
        ({"cache_control": "public, max-age=600"}, 600),
        ({"cache_control": "MAX-AGE=600"}, 600),
        ({"cache_control": 'max-age="600"'}, 600),
        ({"cache_control": "s-maxage=900, max-age=600"}, 600),
        ({"cache_control": "s-maxage=900"}, 300),
        ({"cache_control": "max-age=0"}, 30),
        ({"cache_control": "max-age=29"}, 30),
        ({"cache_control": "max-age=3600"}, 3600),
        ({"cache_control": "max-age=999999999999"}, 3600),
        ({"cache_control": "max-age=-1"}, 300),
        ({"cache_control": "no-store"}, 30),
        ({"cache_control": "max-age=600, no-cache"}, 30),
        ({"cache_control": "max-age=600", "age": "200"}, 400),
        ({"cache_control": "max-age=600", "age": "9" * 5000}, 30),
        ({"cache_control": "max-age=600", "age": "-200"}, 600),
    ],
)
def test_the_issuer_says_how_long_its_keys_last_within_bounds(
    world: World, headers: dict[str, str], lifetime: int
) -> None:
    world.publish(ONE, **headers)
    world.keeper.refresh()
    assert lifetime * 0.8 * 0.9 <= world.keeper.due_in() <= lifetime * 0.8


def test_a_fleet_does_not_refresh_in_step() -> None:
    dues = set()
    for seed in range(20):
        world = World()
        keeper = KeyKeeper(ISSUER, world.transport, world.clock, on_change=lambda: None, randomness=random.Random(seed))
        keeper.refresh()
        dues.add(round(keeper.due_in(), 3))
    assert len(dues) == 20


def test_after_failures_it_is_due_again_later_and_later_up_to_a_minute(ready: World) -> None:
    ready.transport.answers[JWKS] = DOWN
    dues = []
    for _ in range(12):
        ready.keeper.refresh()
        dues.append(ready.keeper.due_in())
    for due, step in zip(dues, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60], strict=True):
        assert max(1, step * 0.9) <= due <= step
    ready.publish(ONE)
    assert ready.keeper.refresh()
    ready.transport.answers[JWKS] = DOWN
    ready.keeper.refresh()
    assert ready.keeper.due_in() == 1


# ETag


def test_an_etag_is_sent_back_and_304_renews_what_is_there(world: World) -> None:
    world.publish(ONE, etag='W/"1"', cache_control="max-age=600")
    world.keeper.refresh()
    before = world.keeper.keys
    world.transport.answers[JWKS] = Response(304)
    world.clock.advance(DAY - 1)
    assert world.keeper.refresh()
    assert world.transport.asked[-1].headers["if-none-match"] == 'W/"1"'
    assert 432 <= world.keeper.due_in() <= 480
    world.clock.advance(DAY - 1)
    assert world.keeper.keys is before
    assert world.changes == 1


def test_304_may_say_for_how_long(world: World) -> None:
    world.publish(ONE, etag='"1"')
    world.keeper.refresh()
    world.transport.answers[JWKS] = Response(304, {"cache-control": "max-age=1000"})
    assert world.keeper.refresh()
    assert 720 <= world.keeper.due_in() <= 800


@pytest.mark.parametrize("etag", ["", '"a\r\nb"', '"a b"', '"é"', "x" * 257])
def test_an_etag_that_cannot_be_sent_back_is_forgotten(world: World, etag: str) -> None:
    world.publish(ONE, etag=etag)
    world.keeper.refresh()
    world.keeper.refresh()
    assert "if-none-match" not in world.transport.asked[-1].headers


def test_the_etag_of_a_refused_answer_is_not_used(world: World) -> None:
    world.publish(ONE, etag='"1"')
    world.keeper.refresh()
    world.transport.answers[JWKS] = json_response({"keys": []}, etag='"2"')
    assert not world.keeper.refresh()
    world.keeper.refresh()
    assert world.transport.asked[-1].headers["if-none-match"] == '"1"'


def test_the_etag_of_one_address_is_not_sent_to_another(world: World) -> None:
    world.publish(ONE, etag='"1"')
    world.keeper.refresh()
    world.transport.answers |= {
        METADATA: json_response(metadata_of(jwks_uri=f"{ISSUER}/moved")),
        f"{ISSUER}/moved": jwks_response(ONE),
    }
    world.clock.advance(3600)
    assert world.keeper.refresh()
    assert "if-none-match" not in world.transport.asked[-1].headers


# Unknown kids


@pytest.mark.spec("S05")
def test_an_unknown_kid_fetches_the_key_that_was_published_since(ready: World) -> None:
    ready.publish(ONE, TWO)
    assert ready.keeper.may_find("two")
    ready.keeper.find("two")
    assert ready.kids() == {"one", "two"}
    assert not ready.keeper.may_find("two")


def test_a_known_kid_fetches_nothing(ready: World) -> None:
    assert not ready.keeper.may_find("one")
    ready.keeper.find("one")
    assert ready.fetches() == 1


@pytest.mark.parametrize("answer", [None, DOWN], ids=["after a success", "after a failure"])
def test_unknown_kids_ask_at_most_once_in_five_seconds_from_the_end_of_any_attempt(
    world: World, answer: TransportError | None
) -> None:
    def slowly(_asked: Asked) -> Response:
        world.clock.advance(3)
        if answer is not None:
            raise answer
        return jwks_response(ONE)

    world.transport.answers[JWKS] = slowly
    world.keeper.refresh()
    world.clock.advance(4.9)
    assert not world.keeper.may_find("x")
    world.keeper.find("x")
    assert world.fetches() == 1
    world.clock.advance(0.1)
    assert world.keeper.may_find("x")
    world.keeper.find("x")
    assert world.fetches() == 2
    world.clock.advance(4.9)
    assert not world.keeper.may_find("y")
    world.clock.advance(0.1)
    assert world.keeper.may_find("y")


def test_a_kid_that_was_not_found_is_not_asked_for_again_for_a_minute(ready: World) -> None:
    ready.keeper.find("x")
    ready.clock.advance(59.9)
    assert not ready.keeper.may_find("x")
    assert ready.keeper.may_find("y")
    ready.clock.advance(0.1)
    assert ready.keeper.may_find("x")


def test_a_fetch_that_failed_does_not_say_that_a_kid_is_unknown(ready: World) -> None:
    ready.transport.answers[JWKS] = DOWN
    ready.keeper.find("two")
    ready.publish(ONE, TWO)
    ready.clock.advance(5)
    ready.keeper.find("two")
    assert "two" in ready.kids()


def test_a_kid_that_was_not_found_is_known_once_it_is_published(ready: World) -> None:
    ready.keeper.find("two")
    ready.publish(ONE, TWO)
    ready.keeper.refresh()
    assert "two" in ready.kids()


def test_a_thousand_kids_that_were_not_found_are_remembered_the_oldest_go_first(ready: World) -> None:
    # One fetch has to answer for many, or the first would be forgotten for their age.
    waiting = [f"kid-{number}" for number in range(1001)]
    ready.keeper.find(waiting[0])
    ready.clock.advance(5)
    together(ready, [lambda kid=kid: ready.keeper.find(kid) for kid in waiting[1:]])
    ready.clock.advance(5)
    assert ready.keeper.may_find(waiting[0])
    assert not any(ready.keeper.may_find(kid) for kid in waiting[1:])


@pytest.mark.spec("S05")
def test_ten_thousand_random_kids_cause_a_handful_of_fetches(ready: World) -> None:
    source = random.Random(7)
    for _ in range(10_000):
        ready.keeper.find(f"{source.getrandbits(64):x}")
    assert ready.fetches() == 2
    for _ in range(10_000):
        ready.clock.advance(0.002)
        ready.keeper.find(f"{source.getrandbits(64):x}")
    # 20 seconds went by.
    assert ready.fetches() <= 2 + 4


def test_a_kid_that_no_key_can_have_fetches_nothing(ready: World) -> None:
    assert ready.keeper.may_find("x" * 256)
    assert not ready.keeper.may_find("x" * 257)


def test_before_the_first_keys_an_unknown_kid_may_fetch_them(world: World) -> None:
    assert world.keeper.may_find("one")
    world.keeper.find("one")
    assert world.kids() == {"one"}


# One fetch for all


def together(world: World, calls: list[Any]) -> list[Any]:
    """Make the calls on as many threads; the authority answers only when all of them have boarded its one answer."""
    boarded, all_there = 0, threading.Event()
    outcomes: list[Any] = []
    answer = world.transport.answers[JWKS]
    board = world.keeper._board

    def counting() -> Any:
        nonlocal boarded
        # Under the keeper's lock, as every boarding is.
        boarded += 1
        if boarded == len(calls):
            all_there.set()
        return board()

    def patiently(_asked: Asked) -> Response:
        assert all_there.wait(60)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Response)
        return answer

    world.transport.answers[JWKS] = patiently
    world.keeper._board = counting  # type: ignore[method-assign]
    threads = [threading.Thread(target=lambda call=call: outcomes.append(call())) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.transport.answers[JWKS] = answer
    world.keeper._board = board  # type: ignore[method-assign]
    return outcomes


@pytest.mark.spec("S05")
def test_a_thousand_threads_share_one_fetch(ready: World) -> None:
    ready.publish(ONE, TWO)
    calls = [ready.keeper.refresh, lambda: ready.keeper.find("two")] * 500
    outcomes = together(ready, calls)
    assert ready.fetches() == 2
    assert sorted(outcomes, key=str) == [None] * 500 + [True] * 500
    assert ready.keeper.fetches == 2


def test_a_thousand_threads_share_one_failure(ready: World) -> None:
    ready.transport.answers[JWKS] = DOWN
    assert together(ready, [ready.keeper.refresh] * 1000) == [False] * 1000
    assert (ready.keeper.fetches, ready.keeper.failures) == (2, 1)


# Emergencies


def test_a_dropped_key_is_gone_at_once_and_stays_away_whatever_is_published(ready: World) -> None:
    ready.publish(ONE, TWO)
    ready.keeper.refresh()
    former = ready.keeper.keys
    ready.keeper.drop("one", ready.clock.now() + 900)
    assert ready.kids() == {"two"}
    assert ready.keeper.keys is not former
    assert ready.changes == 3
    for _ in range(2):
        ready.publish(ONE, TWO, THREE)
        assert ready.keeper.refresh()
    assert ready.kids() == {"two", "three"}
    ready.clock.advance(900)
    ready.keeper.refresh()
    assert ready.kids() == {"one", "two", "three"}


def test_a_key_may_be_dropped_before_it_was_ever_seen(world: World) -> None:
    world.keeper.drop("one", world.clock.now() + 900)
    assert world.changes == 0
    world.publish(ONE, TWO)
    world.keeper.refresh()
    assert world.kids() == {"two"}


def test_a_dropped_key_does_not_return_with_a_fetch_that_was_under_way(ready: World) -> None:
    def meanwhile(_asked: Asked) -> Response:
        ready.keeper.drop("one", ready.clock.now() + 900)
        return jwks_response(ONE, TWO)

    ready.transport.answers[JWKS] = meanwhile
    ready.keeper.refresh()
    assert ready.kids() == {"two"}


def test_nobody_asks_for_a_dropped_key(ready: World) -> None:
    ready.keeper.drop("one", ready.clock.now() + 900)
    assert not ready.keeper.may_find("one")
    ready.clock.advance(900)
    assert ready.keeper.may_find("one")


def test_dropping_the_last_key_leaves_none_that_is_good(ready: World) -> None:
    ready.keeper.drop("one", ready.clock.now() + 900)
    assert ready.kids() == set()
    assert ready.keeper.refresh()
    assert ready.kids() == set()


def test_the_later_end_counts_and_a_repetition_changes_nothing(ready: World) -> None:
    ready.keeper.drop("one", ready.clock.now() + 900)
    ready.keeper.drop("one", ready.clock.now() + 10)
    assert ready.changes == 2
    ready.clock.advance(899)
    ready.keeper.refresh()
    assert ready.kids() == set()


def test_drops_whose_time_has_come_are_forgotten(ready: World) -> None:
    for number in range(100):
        ready.keeper.drop(f"kid-{number}", ready.clock.now() + 1)
        ready.clock.advance(1)
    assert len(ready.keeper._dropped) == 1


# What is told


def test_a_failure_and_its_end_are_told_once(ready: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mintmark.verifier")
    ready.transport.answers[JWKS] = DOWN
    for _ in range(5):
        ready.keeper.refresh()
    ready.publish(ONE)
    for _ in range(5):
        ready.keeper.refresh()
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", f"the keys of {ISSUER} cannot be fetched: no answer in time"),
        ("INFO", f"the keys of {ISSUER} can be fetched again"),
    ]


@pytest.mark.spec("S07")
def test_what_came_back_is_not_told(ready: World, caplog: pytest.LogCaptureFixture) -> None:
    for answer in (
        Response(200, {}, b'{"keys": "hush-hush"'),
        json_response({"keys": "hush-hush"}),
        ValueError("hush-hush"),
    ):
        ready.transport.answers[JWKS] = answer
        ready.keeper.refresh()
    assert len(caplog.records) == 2
    assert "hush" not in caplog.text


def test_attempts_and_failures_are_counted(ready: World) -> None:
    ready.transport.answers[JWKS] = DOWN
    ready.keeper.refresh()
    ready.keeper.refresh()
    assert (ready.keeper.fetches, ready.keeper.failures) == (3, 2)


# Forks


def test_a_child_forgets_the_fetch_of_a_thread_that_it_does_not_have(ready: World) -> None:
    inside, go = threading.Event(), threading.Event()

    def patiently(_asked: Asked) -> Response:
        inside.set()
        assert go.wait(60)
        return jwks_response(ONE)

    ready.transport.answers[JWKS] = patiently
    thread = threading.Thread(target=ready.keeper.refresh)
    thread.start()
    assert inside.wait(60)
    child = os.fork()
    if child == 0:
        # No exception may come out of here: the child would go on as a second pytest.
        try:
            ready.keeper.reset_after_fork()
            ready.publish(TWO)
            is_fine = ready.kids() == {"one"} and ready.keeper.refresh() and ready.kids() == {"two"}
        except BaseException:  # noqa: BLE001
            is_fine = False
        os._exit(0 if is_fine else 1)
    _, status = os.waitpid(child, 0)
    go.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0


def test_the_workers_of_one_server_do_not_refresh_in_step(ready: World) -> None:
    twins = []
    for _ in range(2):
        keeper = KeyKeeper(ISSUER, ready.transport, ready.clock, on_change=lambda: None, randomness=random.Random(1))
        keeper.reset_after_fork()
        keeper.refresh()
        twins.append(keeper.due_in())
    assert twins[0] != twins[1]
