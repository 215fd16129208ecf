"""One issuer: what it is made of, how it begins, how it keeps up, and how it ends."""

import gc
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.support.issuers import API, Authority, key, verifier
from tests.support.verifying import json_response, metadata_of

from mintmark.jose import base64url, jwk
from mintmark.jose.jwk import Key
from mintmark.verifier import Issuer, TokenRejected, Verifier, VerifierUnavailable, source
from mintmark.verifier.source import STALE_AFTER, Source


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("mintmark-")}


@pytest.fixture
def started() -> Iterator[Callable[[], set[threading.Thread]]]:
    """The threads that were started since the test began."""
    before = threads()
    yield lambda: threads() - before
    gc.collect()
    for thread in threads() - before:
        thread.join(5)


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)


def metric(made: Verifier, authority: Authority, name: str) -> float:
    return made.metrics()[f'mintmark_verifier_{name}{{issuer="{authority.url}"}}']


def is_accepted(made: Verifier, raw: str) -> bool:
    try:
        made.verify(raw)
    except TokenRejected:
        return False
    return True


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


# --- the beginning


def test_nothing_happens_before_the_first_request(authority: Authority, started: Any) -> None:
    made = verifier(authority, is_ready=False)
    assert started() == set()
    assert authority.network.asked == []
    made.close()


@pytest.mark.spec("invariant I6")
def test_the_first_request_waits_for_the_revocations(authority: Authority, started: Any) -> None:
    authority.feed.is_live = True
    authority.revoke(jti="gone")
    with verifier(authority, is_ready=False) as made:
        assert not is_accepted(made, authority.token(jti="gone"))
        assert is_accepted(made, authority.token())
        assert {thread.name for thread in started()} == {"mintmark-keys", "mintmark-revocations"}
        assert all(thread.daemon for thread in started())


def test_without_a_client_there_is_nothing_to_wait_for(authority: Authority, started: Any) -> None:
    with verifier(authority, is_client=False, is_ready=False) as made:
        authority.clock.advance(10_000)
        assert is_accepted(made, authority.token())
        assert {thread.name for thread in started()} == {"mintmark-keys"}
        assert authority.feed.connections == []
        assert metric(made, authority, "feed_stale") == 0


@pytest.mark.spec("invariant I6")
def test_it_does_not_wait_for_ever(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_START_PATIENCE", 0.01)
    authority.network.feeds.clear()
    with verifier(authority, is_ready=False) as made:
        assert is_accepted(made, authority.token())
        with pytest.raises(VerifierUnavailable):
            made.verify(authority.token(), on_stale="deny")
        assert metric(made, authority, "feed_stale") == 1


def test_a_closed_one_waits_for_nothing(authority: Authority, monkeypatch: pytest.MonkeyPatch, started: Any) -> None:
    monkeypatch.setattr(source, "_START_PATIENCE", 600)
    made = verifier(authority, is_ready=False)
    made.close()
    assert is_accepted(made, authority.token())
    assert started() == set()


@pytest.mark.spec("invariant I6")
def test_what_was_down_at_the_start_is_waited_for_when_it_comes(authority: Authority) -> None:
    authority.feed.is_live = True
    authority.revoke(jti="gone")
    authority.network.is_down = True
    with verifier(authority, is_ready=False) as made:
        with pytest.raises(VerifierUnavailable):
            made.verify(authority.token())
        authority.network.is_down = False
        authority.clock.advance(2)
        # Without the wait it would be accepted: the keys are there at once, the revocations a moment later.
        assert not is_accepted(made, authority.token(jti="gone"))
        assert is_accepted(made, authority.token())


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


# --- the end


def test_closing_ends_the_threads(authority: Authority, started: Any) -> None:
    authority.feed.is_live = True
    made = verifier(authority, is_ready=False)
    raw = authority.token()
    made.verify(raw)
    running = started()
    assert len(running) == 2
    made.close()
    for thread in running:
        thread.join(5)
    assert not any(thread.is_alive() for thread in running)
    # What is in memory goes on ageing.
    assert is_accepted(made, raw)
    authority.clock.advance(STALE_AFTER)
    with pytest.raises(VerifierUnavailable):
        made.verify(raw, on_stale="deny")
    made.close()


def test_letting_go_of_a_verifier_ends_its_threads(authority: Authority, started: Any) -> None:
    authority.feed.is_live = True
    made = verifier(authority, is_ready=False)
    made.verify(authority.token())
    running = started()
    gone = weakref.ref(made)
    del made
    gc.collect()
    assert gone() is None
    for thread in running:
        thread.join(5)
    assert len(running) == 2
    assert not any(thread.is_alive() for thread in running)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_follows_on_its_own(authority: Authority, started: Any) -> None:
    authority.feed.is_live = True
    made = verifier(authority, is_ready=False)
    raw, gone = authority.token(), authority.token(jti="gone")
    assert is_accepted(made, raw)
    assert is_accepted(made, gone)
    child = os.fork()
    if child == 0:
        verdict = 1
        with suppress(BaseException):
            assert threads() == set()
            # Nobody follows yet: what the parent heard lately says nothing about this moment.
            assert metric(made, authority, "feed_stale") == 1
            # The parent never hears of this: it is in the child's memory only.
            authority.revoke(jti="gone")
            assert not is_accepted(made, gone)
            assert is_accepted(made, raw)
            assert len(threads()) == 2
            verdict = 0
        os._exit(verdict)
    ended: list[int] = []

    def has_ended() -> bool:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            ended.append(os.waitstatus_to_exitcode(status))
        return bool(pid)

    wait_until(has_ended)
    assert ended == [0]
    assert is_accepted(made, gone)
    assert len(started()) == 2
    made.close()


def test_a_child_is_not_held_up_by_a_thread_of_its_parent(authority: Authority) -> None:
    made = Source(authority.issuer(), transport=authority.network, clock=authority.clock, leeway=30)
    assert made._starting.acquire(timeout=1)
    assert made._saying.acquire(timeout=1)
    made.close()
    made.reset_after_fork()
    authority.feed.is_live = True
    done = threading.Thread(target=made.prepare, daemon=True)
    done.start()
    done.join(5)
    assert not done.is_alive()
    assert made.is_prepared
    made.close()


def test_it_takes_the_keys_it_is_given_as_they_are(authority: Authority) -> None:
    authority.keys = [jwk.generate("RS256", kid="rs"), jwk.generate("EdDSA", kid="ed"), key("es")]
    made = verifier(authority)
    for one in authority.keys:
        assert made.verify(authority.token(one)).audience == (API,)
