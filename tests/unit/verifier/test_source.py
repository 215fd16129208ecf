"""One issuer: what it is made of, how it keeps up, and what it says of silence."""

import logging
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.support.issuers import API, Authority, key, verifier
from tests.support.verifying import json_response, metadata_of
from tests.unit.verifier.source_things import is_accepted, metric, wait_until

from mintmark.jose import base64url, jwk
from mintmark.jose.jwk import Key
from mintmark.verifier import Issuer, VerifierUnavailable, source
from mintmark.verifier.source import STALE_AFTER

# --- an issuer


@pytest.mark.parametrize("audience", ["a", ["a"], ("a",), {"a"}, iter(["a"]), ["a", "a", ""]])
def test_the_names_of_an_audience(audience: Any) -> None:
    made = Issuer(url="https://auth.example", audience=audience)
    # Looked at as often as one likes.
    assert made.names == made.names == {"a"}


@pytest.mark.parametrize("audience", ["", [], [""], iter([])])
def test_a_service_has_a_name(audience: Any) -> None:
    with pytest.raises(ValueError, match="audience is empty"):
        Issuer(url="https://auth.example", audience=audience)


@pytest.mark.parametrize(
    "half",
    [
        {"client_id": "c"},
        {"client_secret": "s"},
        {"client_id": "c", "client_secret": ""},
        {"client_id": "", "client_secret": "s"},
    ],
)
def test_half_a_client_is_none(half: Any) -> None:
    with pytest.raises(ValueError, match="client_secret"):
        Issuer(url="https://auth.example", audience="a", **half)


@pytest.mark.spec("S07")
def test_the_secret_is_in_no_repr(authority: Authority) -> None:
    assert "the-secret-of-this-service" not in repr(authority.issuer())
    assert "the-secret-of-this-service" not in repr(verifier(authority))
    assert authority.issuer().client_secret == "the-secret-of-this-service"


# --- keeping up


def test_what_is_revoked_is_heard_of_in_the_background(authority: Authority) -> None:
    authority.feed.is_live = True
    with verifier(authority, is_ready=False) as made:
        raw, other = authority.token(jti="jti-x"), authority.token(jti="jti-y")
        assert is_accepted(made, raw)
        authority.revoke(jti="jti-x")
        wait_until(lambda: metric(made, authority, "revocations") == 1)
        wait_until(lambda: not is_accepted(made, raw))
        assert is_accepted(made, other)


def test_keys_are_refreshed_in_the_background(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_TICK", 0.01)
    with verifier(authority, is_client=False, is_ready=False) as made:
        assert is_accepted(made, authority.token())
        authority.keys.insert(0, key("next"))
        authority.clock.advance(290)
        wait_until(lambda: metric(made, authority, "keys") == 2)
        fetches = metric(made, authority, "key_fetches_total")
        assert is_accepted(made, authority.token())
        assert metric(made, authority, "key_fetches_total") == fetches == 2


@pytest.mark.spec("S05", "S06")
def test_the_set_is_replaced_not_merged(authority: Authority) -> None:
    made = verifier(authority)
    old = authority.token()
    assert is_accepted(made, old)
    authority.keys = [key("next")]
    assert is_accepted(made, old)  # within the cache time
    authority.clock.advance(250)
    made.catch_up()
    assert not is_accepted(made, old)
    assert is_accepted(made, authority.token())
    assert metric(made, authority, "keys") == 1


@pytest.mark.spec("S05")
def test_an_outage_keeps_the_last_good_keys(authority: Authority) -> None:
    made = verifier(authority)
    authority.network.is_down = True
    for _ in range(20):
        authority.clock.advance(600)
        made.catch_up()
        assert is_accepted(made, authority.token())
    assert metric(made, authority, "key_fetch_failures_total") == 20


@pytest.mark.spec("invariant I7", "S06")
@pytest.mark.parametrize("is_remembered", [False, True])
def test_a_key_may_go_at_once(authority: Authority, is_remembered: bool) -> None:
    authority.keys.append(key("the other one"))
    made = verifier(authority)
    raw, other = authority.token(), authority.token(authority.keys[1])
    if is_remembered:
        assert is_accepted(made, raw)
    # It is still published: whoever stole the authority's front door cannot bring it back.
    authority.revoke(kid=authority.keys[0].kid)
    made.catch_up()
    assert not is_accepted(made, raw)
    assert not is_accepted(made, authority.token())
    assert is_accepted(made, other)
    assert metric(made, authority, "keys") == 1
    authority.clock.advance(400)
    made.catch_up()
    assert not is_accepted(made, authority.token())


@pytest.mark.spec("S08", "RFC 8414 §3.3")
@pytest.mark.parametrize("stated", ["https://evil.example", "https://auth.example/", "HTTPS://auth.example", None, 1])
def test_metadata_of_another_issuer_are_refused(authority: Authority, stated: Any) -> None:
    good = authority.network.answers[authority.metadata_url]
    authority.network.answers[authority.metadata_url] = json_response(metadata_of(authority.url) | {"issuer": stated})
    made = verifier(authority)
    with pytest.raises(VerifierUnavailable):
        made.verify(authority.token())
    assert authority.network.count(authority.jwks_url) == 0
    authority.network.answers[authority.metadata_url] = good
    authority.clock.advance(2)
    assert is_accepted(made, authority.token())


@pytest.mark.spec("J11", "RFC 8725 §3.5")
@pytest.mark.parametrize("wrong", ["weak", "for encryption", "private", "symmetric"])
def test_a_key_that_is_no_good_is_not_believed_though_published(authority: Authority, wrong: str) -> None:
    good = authority.keys[0]
    if wrong == "weak":
        private = rsa.generate_private_key(65537, 1024)
        bad = Key("bad", "RS256", private.public_key(), private)
        published: dict[str, Any] = dict(bad.public_jwk())
    elif wrong == "symmetric":
        bad = jwk.symmetric(b"x" * 32, kid="bad")
        published = {"kty": "oct", "alg": "HS256", "kid": "bad", "k": base64url.encode(b"x" * 32)}
    else:
        bad = jwk.generate("ES256", kid="bad")
        published = bad.public_jwk() | {"use": "enc"} if wrong == "for encryption" else dict(bad.private_jwk())
    document = {"keys": [published, good.public_jwk()]}
    authority.network.answers[authority.jwks_url] = json_response(document)
    made = verifier(authority)
    assert not is_accepted(made, authority.token(bad))
    assert is_accepted(made, authority.token(good))
    assert metric(made, authority, "keys") == 1


def test_it_takes_the_keys_it_is_given_as_they_are(authority: Authority) -> None:
    authority.keys = [jwk.generate("RS256", kid="rs"), jwk.generate("EdDSA", kid="ed"), key("es")]
    made = verifier(authority)
    for one in authority.keys:
        assert made.verify(authority.token(one)).audience == (API,)


# --- silence


@pytest.mark.spec("invariant I6")
def test_silence_is_said_once_and_counted_once(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mintmark.verifier")
    made = verifier(authority)

    def said() -> list[tuple[str, str]]:
        found = [
            (one.levelname, one.getMessage()) for one in caplog.records if "revocation feed of" in one.getMessage()
        ]
        caplog.clear()
        return found

    made.verify(authority.token())
    assert said() == []
    for times in (1, 2):
        authority.clock.advance(STALE_AFTER)
        for _ in range(5):
            made.verify(authority.token())
        ((level, text),) = said()
        assert level == "WARNING"
        assert authority.url in text
        assert metric(made, authority, "feed_stale_total") == times
        assert metric(made, authority, "feed_stale") == 1
        made.catch_up()
        for _ in range(5):
            made.verify(authority.token())
        ((level, text),) = said()
        assert level == "INFO"
        assert metric(made, authority, "feed_stale_total") == times
        assert metric(made, authority, "feed_stale") == 0


def test_silence_is_noticed_without_any_request(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(source, "_TICK", 0.01)
    authority.feed.is_live = True
    with verifier(authority, is_ready=False) as made:
        made.verify(authority.token())
        authority.clock.advance(STALE_AFTER)
        wait_until(lambda: metric(made, authority, "feed_stale_total") == 1)
    assert "is silent" in caplog.text
