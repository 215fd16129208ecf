"""What a hostile review got through once: kept, so that it stays shut."""

import copy
import pickle
import threading
import time
from typing import Any

import pytest
from tests.support.issuers import Authority, Network, key, verifier
from tests.support.verifying import FakeClock

from mintmark.verifier import Token, TokenRejected, VerifierUnavailable
from mintmark.verifier.judging import Wait
from mintmark.verifier.ports import Response, TransportError


@pytest.fixture
def authority() -> Authority:
    return Authority(Network(), FakeClock())


def outcome(made: Any, raw: str, **how: Any) -> str:
    try:
        made.verify(raw, **how)
    except TokenRejected as rejection:
        return rejection.code
    except VerifierUnavailable:
        return "unavailable"
    return "accepted"


@pytest.mark.spec("invariant I6", "invariant I7")
def test_an_answer_that_was_asked_for_before_a_key_was_dropped_counts_for_nothing(authority: Authority) -> None:
    """The node that is asked may hear of the retirement later than we do."""
    made = verifier(authority, introspect="always")
    raw = authority.token()
    authority.opaque(raw)
    with pytest.raises(Wait) as wait:
        made._judge.settle(raw, None, 1)
    authority.revoke(kid=authority.keys[0].kid)
    made.catch_up()
    with pytest.raises(TokenRejected):
        wait.value.act()
    assert outcome(made, raw) == "revoked"


@pytest.mark.spec("invariant I6")
def test_an_answer_that_is_remembered_goes_with_the_key_of_the_token(authority: Authority) -> None:
    made = verifier(authority, introspect="always")
    raw = authority.token()
    authority.opaque(raw)
    assert outcome(made, raw) == "accepted"
    authority.revoke(kid=authority.keys[0].kid)
    made.catch_up()
    assert outcome(made, raw) == "revoked"


@pytest.mark.spec("S07", "invariant I4")
def test_keys_that_hang_hold_up_one_request_and_the_others_for_a_moment(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the real patience
    made = verifier(authority, is_client=False)
    raw = authority.token()
    assert outcome(made, raw) == "accepted"
    authority.clock.advance(6)
    asked, answer = threading.Event(), threading.Event()

    def hang(_: Any) -> Response:
        asked.set()
        answer.wait(30)
        raise TransportError("no answer in time")

    authority.network.answers[authority.jwks_url] = hang
    first = threading.Thread(target=outcome, args=(made, authority.token(key("new"))))
    first.start()
    assert asked.wait(10)
    authority.clock.advance(2)  # fetches do not take so long
    assert [outcome(made, authority.token(key(f"new {number}"))) for number in range(20)] == ["unavailable"] * 20
    assert outcome(made, raw) == "accepted"
    answer.set()
    first.join(10)
    assert not first.is_alive()


@pytest.mark.spec("S07")
async def test_waiting_takes_no_thread_from_the_application(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def theirs(*_: object) -> None:
        raise AssertionError("a thread of the application's pool was taken")

    monkeypatch.setattr("asyncio.to_thread", theirs)
    made = verifier(authority)
    raw = authority.opaque("opaque")
    assert (await made.averify(raw)).issuer == authority.url
    assert {thread.name.rpartition("_")[0] for thread in threading.enumerate()} >= {"mintmark-waiting"}
    made.close()


@pytest.mark.spec("invariant I6")
def test_a_clock_that_was_ahead_for_a_while_has_made_nothing_forgotten(authority: Authority) -> None:
    made = verifier(authority)
    raw, good = authority.token(jti="bad"), authority.token()
    authority.revoke(jti="bad")
    made.catch_up()
    for step in (7200, -7200):
        authority.clock.unix += step
        for _ in range(3):
            authority.clock.up += 31
            authority.clock.unix += 31
            made.catch_up()
    assert outcome(made, raw) == "revoked"
    assert outcome(made, good) == "accepted"


@pytest.mark.spec("invariant I7")
def test_a_key_that_was_dropped_comes_back_only_with_another_answer(authority: Authority) -> None:
    made = verifier(authority)
    authority.keys.append(key("other"))
    authority.clock.advance(6)
    assert outcome(made, authority.token(authority.keys[1])) == "accepted"
    authority.revoke(kid=authority.keys[0].kid, exp=int(authority.clock.now()) + 3900)
    made.catch_up()
    del authority.network.answers[authority.jwks_url]
    authority.clock.advance(4300)
    authority.revoke(kid="another")
    made.catch_up()
    assert outcome(made, authority.token(authority.keys[0])) != "accepted"
    assert outcome(made, authority.token(authority.keys[1])) == "accepted"


@pytest.mark.spec("invariant I6")
def test_a_thread_that_cannot_be_started_is_started_by_the_next_request(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = verifier(authority, is_ready=False)
    raw = authority.token()

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        assert outcome(made, raw) == "unavailable"
    assert outcome(made, raw) == "accepted"
    authority.revoke(jti=made.verify(raw).claims["jti"])
    deadline = time.monotonic() + 10
    while outcome(made, raw) == "accepted":
        assert time.monotonic() < deadline
    made.close()


def test_a_copy_of_a_token_says_the_same() -> None:
    token = Token({"iss": "i", "aud": "a", "exp": 1, "sub": "ada", "scope": "x y", "roles": ["clerk"]})
    for other in (copy.copy(token), copy.deepcopy(token), pickle.loads(pickle.dumps(token))):
        assert (other.sub, other.scopes, other.roles, other.claims) == ("ada", {"x", "y"}, {"clerk"}, token.claims)


def test_a_verifier_that_looks_after_itself_cannot_be_led(authority: Authority) -> None:
    made = verifier(authority, is_ready=False)
    assert outcome(made, authority.token()) == "accepted"
    with pytest.raises(RuntimeError, match="background threads"):
        made.catch_up()
    made.close()
