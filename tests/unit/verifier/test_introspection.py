"""Asking the issuer: what the question is, and what counts as a clear answer."""

import logging
from base64 import b64decode
from typing import Any
from urllib.parse import parse_qs

import pytest
from tests.unit.verifier.introspection_things import (
    ACTIVE,
    API,
    INACTIVE,
    ISSUER,
    SECRET,
    URL,
    FakeTransport,
    answering,
    introspector,
    said,
)

from mintmark.verifier.errors import TokenRejected, VerifierUnavailable
from mintmark.verifier.introspection import MAX_ANSWER_BYTES
from mintmark.verifier.ports import Response, TransportError


@pytest.mark.spec("RFC 7662 §2.1", "RFC 6749 §2.3.1")
def test_the_question_is_a_form_posted_by_a_client() -> None:
    transport = FakeTransport(lambda _: said(ACTIVE))
    introspector(transport).ask("a+b/c=d&e")
    [asked] = transport.asked
    assert (asked["method"], asked["url"]) == ("POST", URL)
    assert parse_qs(asked["body"].decode()) == {"token": ["a+b/c=d&e"], "token_type_hint": ["access_token"]}
    assert asked["headers"]["content-type"] == "application/x-www-form-urlencoded"
    assert asked["headers"]["accept"] == "application/json"
    assert b64decode(asked["headers"]["authorization"].removeprefix("Basic ")) == b"billing:s3cr%3At+of+billing"
    assert asked["max_bytes"] == MAX_ANSWER_BYTES == 65_536
    assert asked["timeout"] == 5.0


@pytest.mark.spec("RFC 7662 §2.2")
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"aud": ["https://other.test", API]},
        {"token_type": "bearer"},
        {"nbf": 1_000},
        {"exp": 1_000.5},
        {"tenant": {"id": 5}},
    ],
)
def test_an_active_token_is_what_the_answer_says(change: dict[str, Any]) -> None:
    answer = {**ACTIVE, **change}
    claims = answering(answer).ask("t")
    assert claims == {name: value for name, value in answer.items() if name != "active"}


@pytest.mark.spec("RFC 7662 §2.2")
def test_an_answer_may_leave_out_the_issuer_and_the_kind() -> None:
    answer = {name: value for name, value in ACTIVE.items() if name not in {"iss", "token_type"}}
    assert answering(answer).ask("t")["iss"] == ISSUER


@pytest.mark.spec("RFC 7662 §2.2")
@pytest.mark.parametrize("answer", [INACTIVE, {**ACTIVE, "active": False}])
def test_an_inactive_token_is_rejected(answer: dict[str, Any]) -> None:
    asking = answering(answer)
    with pytest.raises(TokenRejected) as rejected:
        asking.ask("t")
    assert rejected.value.code == "inactive"
    assert asking.failures == 0


LEFT_OUT = object()


@pytest.mark.spec("S03", "RFC 7662 §4")
@pytest.mark.parametrize(
    ("claim", "value", "code"),
    [
        ("iss", "https://other.test", "wrong_issuer"),
        ("iss", ISSUER + "/", "wrong_issuer"),
        ("iss", None, "bad_claim"),
        ("aud", LEFT_OUT, "missing_claim"),
        ("aud", "https://other.test", "wrong_audience"),
        ("aud", ["https://other.test", API + "/"], "wrong_audience"),
        ("aud", [], "bad_claim"),
        ("aud", {"0": API}, "bad_claim"),
        ("token_type", "DPoP", "wrong_type"),
        ("token_type", "N_A", "wrong_type"),
        ("token_type", None, "wrong_type"),
        ("cnf", {"x5t#S256": "A"}, "wrong_type"),
        ("cnf", None, "wrong_type"),
        ("exp", LEFT_OUT, "missing_claim"),
        ("exp", "1100", "bad_claim"),
        ("exp", True, "bad_claim"),
        ("exp", 1_000, "expired"),
        ("nbf", 1_001, "not_yet_valid"),
        ("nbf", "900", "bad_claim"),
        ("iat", "900", "bad_claim"),
        ("jti", ["j1"], "bad_claim"),
        ("gid", {}, "bad_claim"),
        ("sub", 5, "bad_claim"),
        ("client_id", None, "bad_claim"),
        ("scope", ["orders:read"], "bad_claim"),
    ],
)
def test_active_is_not_enough(claim: str, value: Any, code: str) -> None:
    answer = {**ACTIVE, claim: value}
    if value is LEFT_OUT:
        del answer[claim]
    with pytest.raises(TokenRejected) as rejected:
        answering(answer).ask("t")
    assert rejected.value.code == code
    assert rejected.value.claim == (None if claim == "token_type" else claim)


@pytest.mark.spec("RFC 8725 §3.12")
def test_a_refresh_token_of_this_service_is_no_access_token() -> None:
    # What our authority answers about one: no audience, since it is for the authority itself.
    answer = {"active": True, "iss": ISSUER, "sub": "alice", "client_id": "billing", "scope": "x", "exp": 9e9, "iat": 1}
    with pytest.raises(TokenRejected) as rejected:
        answering(answer).ask("t")
    assert (rejected.value.code, rejected.value.claim) == ("missing_claim", "aud")


@pytest.mark.parametrize(("claim", "value"), [("exp", 971), ("nbf", 1_030)])
def test_leeway_forgives_what_clocks_differ_by(claim: str, value: int) -> None:
    answer = {**ACTIVE, claim: value}
    assert answering(answer, leeway=30).ask("t")[claim] == value
    beyond = {**ACTIVE, claim: value + (1 if claim == "nbf" else -1)}
    with pytest.raises(TokenRejected):
        answering(beyond, leeway=30).ask("t")


@pytest.mark.spec("invariant I4", "RFC 7662 §2.2")
@pytest.mark.parametrize(
    ("answer", "status"),
    [
        *[(ACTIVE, status) for status in (201, 204, 302, 400, 404, 429, 500, 503)],
        *[(INACTIVE, status) for status in (400, 401, 403, 500)],
        ({**ACTIVE, "active": "true"}, 200),
        ({**ACTIVE, "active": 1}, 200),
        ({**ACTIVE, "active": None}, 200),
        ({"sub": "alice"}, 200),
        ([ACTIVE], 200),
        (True, 200),
        (b"", 200),
        (b"<html>", 200),
        (b'{"active":false,"active":true}', 200),
        (b'{"active":NaN}', 200),
        (b'{"active":true,"sub":"\xff"}', 200),
        (b'{"active":false,"x":' + b"[" * 40 + b"]" * 40 + b"}", 200),
    ],
)
def test_an_unclear_answer_never_rejects_a_token(answer: Any, status: int) -> None:
    asking = answering(answer, status)
    with pytest.raises(VerifierUnavailable):
        asking.ask("t")
    assert (asking.asked, asking.failures) == (1, 1)


@pytest.mark.spec("invariant I4")
def test_nor_does_an_authority_that_cannot_be_reached() -> None:
    def refuse(_: str) -> Response:
        raise TransportError("refused")

    asking = introspector(FakeTransport(refuse))
    with pytest.raises(VerifierUnavailable):
        asking.ask("t")
    nowhere = introspector(FakeTransport(refuse), url=None)
    with pytest.raises(VerifierUnavailable):
        nowhere.ask("t")
    assert (asking.asked, asking.failures) == (1, 1)
    assert (nowhere.asked, nowhere.failures) == (0, 1)


@pytest.mark.parametrize("raw", ["café", "\ud800", "\u212a"])
def test_what_cannot_be_a_token_is_not_asked_about(raw: str) -> None:
    asking = answering(ACTIVE)
    with pytest.raises(TokenRejected) as rejected:
        asking.ask(raw)
    assert rejected.value.code == "malformed"
    assert asking.asked == 0


@pytest.mark.parametrize("status", [401, 403])
def test_without_access_it_says_once_what_to_do(status: int, caplog: pytest.LogCaptureFixture) -> None:
    answers = [said({}, status), said({}, status), said(ACTIVE), said({}, status)]
    asking = introspector(FakeTransport(lambda _: answers.pop(0)))
    for is_clear in (False, False, True, False):
        if is_clear:
            asking.ask("t")
        else:
            with pytest.raises(VerifierUnavailable):
                asking.ask("t")
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert "mintmark client create billing --serves" in caplog.records[0].getMessage()


@pytest.mark.spec("invariant I8", "S07")
def test_neither_the_token_nor_the_secret_is_told_to_anybody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    texts: list[str] = []
    for answer, status in ((INACTIVE, 200), ({}, 401), ({**ACTIVE, "exp": 1}, 200), (b"the-token", 200)):
        asking = answering(answer, status)
        with pytest.raises((TokenRejected, VerifierUnavailable)) as error:
            asking.ask("the-token")
        texts += [repr(error.value), str(error.value), repr(error.value.__cause__), repr(asking)]
        assert asking._authorization not in caplog.text + "".join(texts)
    everything = caplog.text + "".join(texts)
    assert "the-token" not in everything
    assert SECRET not in everything
