"""Which keys are known, and for how long."""

import random

import pytest
from tests.support.key_keeping import DAY, DOWN, JWKS, METADATA, ONE, THREE, TWO, World
from tests.support.verifying import ISSUER, json_response, jwks_response, metadata_of
from tests.unit.verifier.keys_things import ready, world

from mintmark.jose import jwk
from mintmark.verifier.keys import KeyKeeper
from mintmark.verifier.ports import Response

__all__ = ["ready", "world"]


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
    assert ready.changes == 3  # told each time: they are good for longer


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
    assert world.changes == 2


def test_who_is_told_of_a_change_hears_that_the_same_keys_are_good_for_longer(world: World) -> None:
    until: list[float] = []
    keeper = KeyKeeper(ISSUER, world.transport, world.clock, on_change=lambda: until.append(keeper.good_until))
    keeper.refresh()
    world.clock.advance(100)
    keeper.refresh()
    assert until == [until[0], until[0] + 100]


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
