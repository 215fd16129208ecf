import json
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from tests.support.issuers import Authority, verifier

from mintmark.verifier import (
    REJECTION_CODES,
    RequestMalformed,
    RequirementNotMet,
    Token,
    TokenMissing,
    TokenRejected,
    VerifierError,
    VerifierUnavailable,
)
from mintmark.verifier.bearer import Requirement, aauthorize, authorize, refusal, sent_token


@pytest.mark.spec("S01", "RFC 6750 §2.1", "RFC 9110 §11.1")
@pytest.mark.parametrize(
    "header",
    ["Bearer abc.def.ghi", "bearer abc.def.ghi", "BEARER abc.def.ghi", "Bearer  abc.def.ghi ", " Bearer abc.def.ghi\t"],
)
def test_a_token_that_was_sent(header: str) -> None:
    assert sent_token([header]) == "abc.def.ghi"


@pytest.mark.spec("S01", "RFC 6750 §2.1")
def test_every_character_of_a_token_passes() -> None:
    letters = "ABCxyz019-._~+/=="
    assert sent_token([f"Bearer {letters}"]) == letters


@pytest.mark.spec("S01", "RFC 6750 §3.1")
@pytest.mark.parametrize(
    "headers", [[], [""], ["Basic dXNlcjpwYXNz"], ["Bearerabc"], ["Token abc"], ["DPoP abc"], ["abc.def.ghi"]]
)
def test_no_token_was_sent(headers: list[str]) -> None:
    with pytest.raises(TokenMissing) as caught:
        sent_token(headers)
    assert (caught.value.status, caught.value.error) == (401, None)


@pytest.mark.spec("S01", "S02", "RFC 6750 §3.1", "OAuth 2.1 §5.2")
@pytest.mark.parametrize(
    "headers",
    [
        ["Bearer"],
        ["Bearer "],
        ["Bearer a b"],
        ["Bearer a,b"],
        ["Bearer a, Bearer b"],
        ['Bearer "a"'],
        ["Bearer a\tb"],
        ["Bearer a\r\nX: y"],
        ["Bearer a\0"],
        ["Bearer \u00e9"],
        ["Bearer a\u2028b"],
        ["Bearer a", "Bearer a"],
        ["Bearer a", "Basic dXNlcjpwYXNz"],
        ["Basic dXNlcjpwYXNz", "Bearer a"],
        ["Bearer a", ""],
    ],
)
def test_what_cannot_be_read_as_one_token(headers: list[str]) -> None:
    with pytest.raises(RequestMalformed) as caught:
        sent_token(headers)
    assert (caught.value.status, caught.value.error) == (400, "invalid_request")


@pytest.mark.spec("S03")
async def test_a_request_that_may_go_on(authority: Authority) -> None:
    made = verifier(authority)
    sent = [f"Bearer {authority.token(scope='orders:read', roles=['clerk'], auth_time=authority.clock.now())}"]
    enough = Requirement(scope="orders:read", role="clerk", max_age=60)
    assert authorize(made, sent).sub == "usr_ada"
    assert authorize(made, sent, enough).sub == "usr_ada"
    assert (await aauthorize(made, sent)).sub == "usr_ada"
    assert (await aauthorize(made, sent, enough)).sub == "usr_ada"


@pytest.mark.spec("S01", "S03")
@pytest.mark.parametrize(
    ("requirement", "status"),
    [
        (Requirement(scope="orders:write"), 403),
        (Requirement(role="clerk"), 403),
        (Requirement(permission="orders:refund"), 403),
        (Requirement(acr="mfa"), 401),
        (Requirement(max_age=60), 401),
    ],
)
async def test_every_member_of_a_requirement_counts(
    authority: Authority, requirement: Requirement, status: int
) -> None:
    made = verifier(authority)
    sent = [f"Bearer {authority.token()}"]
    with pytest.raises(RequirementNotMet) as caught:
        authorize(made, sent, requirement)
    assert caught.value.status == status
    with pytest.raises(RequirementNotMet):
        await aauthorize(made, sent, requirement)


async def test_what_to_do_while_the_feed_is_silent_is_the_route_s(authority: Authority) -> None:
    made = verifier(authority)
    sent = [f"Bearer {authority.token()}"]
    authority.clock.advance(16)
    assert authorize(made, sent).sub == "usr_ada"
    with pytest.raises(VerifierUnavailable):
        authorize(made, sent, Requirement(on_stale="deny"))
    with pytest.raises(VerifierUnavailable):
        await aauthorize(made, sent, Requirement(on_stale="deny"))


def test_a_token_is_judged_before_the_requirement(authority: Authority) -> None:
    made = verifier(authority)
    with pytest.raises(TokenRejected):
        authorize(made, [f"Bearer {authority.token(aud='https://other.example')}"], Requirement(scope="nothing"))


def test_a_requirement_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Requirement().scope = "less"  # type: ignore[misc]


@pytest.mark.spec("S01", "RFC 6750 §3", "RFC 6750 §3.1")
@pytest.mark.parametrize(
    ("error", "status", "challenge"),
    [
        (TokenMissing(), 401, "Bearer"),
        (
            RequestMalformed(),
            400,
            'Bearer error="invalid_request", error_description="Send one Authorization header, and one token in it"',
        ),
        (
            TokenRejected("expired", claim="exp"),
            401,
            'Bearer error="invalid_token", error_description="The access token is invalid, expired or revoked"',
        ),
        (
            RequirementNotMet("scope", scope="a b"),
            403,
            'Bearer error="insufficient_scope", error_description="The access token does not permit this", scope="a b"',
        ),
        (
            RequirementNotMet("role"),
            403,
            'Bearer error="insufficient_scope", error_description="The access token does not permit this"',
        ),
        (
            RequirementNotMet("sign-in", acr_values="mfa hwk", max_age=60),
            401,
            (
                'Bearer error="insufficient_user_authentication", error_description="Sign in again, as asked for here", '
                'acr_values="mfa hwk", max_age="60"'
            ),
        ),
        (
            RequirementNotMet("sign-in", max_age=0),
            401,
            (
                'Bearer error="insufficient_user_authentication", error_description="Sign in again, as asked for here", '
                'max_age="0"'
            ),
        ),
        (VerifierUnavailable("no keys"), 503, None),
    ],
)
def test_what_a_refusal_says(error: VerifierError, status: int, challenge: str | None) -> None:
    answer = refusal(error)
    headers = dict(answer.headers)
    assert len(headers) == len(answer.headers)
    assert answer.status == status
    assert headers.get("www-authenticate") == challenge
    assert headers["cache-control"] == "no-store"
    assert headers["content-type"] == "application/json"
    assert json.loads(answer.body) == {"error": error.error or "unauthorized", "error_description": error.description}


@pytest.mark.spec("S01", "RFC 6750 §3.1")
def test_without_a_token_there_is_no_error_code_in_the_challenge() -> None:
    assert dict(refusal(TokenMissing(), realm="orders").headers)["www-authenticate"] == 'Bearer realm="orders"'
    assert 'error="invalid_token"' in dict(refusal(TokenRejected("expired")).headers)["www-authenticate"]


@pytest.mark.spec("invariant I4")
def test_not_knowing_is_no_rejection_and_says_when_to_come_back() -> None:
    answer = refusal(VerifierUnavailable("no keys", retry_after=7))
    assert answer.status == 503
    assert dict(answer.headers)["retry-after"] == "7"
    assert "retry-after" not in dict(refusal(TokenRejected("expired")).headers)


@pytest.mark.spec("RFC 9728 §5.1")
def test_where_to_learn_more_comes_with_every_challenge() -> None:
    url = "https://api.example/.well-known/oauth-protected-resource"
    for error in (TokenMissing(), RequestMalformed(), TokenRejected("expired"), RequirementNotMet("role")):
        challenge = dict(refusal(error, realm="r", resource_metadata=url).headers)["www-authenticate"]
        assert challenge.startswith('Bearer realm="r"')
        assert challenge.endswith(f'resource_metadata="{url}"')


@pytest.mark.spec("S07")
def test_all_rejections_look_the_same_from_outside() -> None:
    codes: Any = REJECTION_CODES
    answers = {refusal(TokenRejected(code, claim=claim)) for code in codes for claim in (None, "aud")}
    assert len(answers) == 1
    assert len(REJECTION_CODES) > 10


@pytest.mark.spec("S03")
@pytest.mark.parametrize("name", ["scope", "role", "permission", "acr"])
def test_what_a_route_requires_is_not_used_up_by_the_first_request(name: str) -> None:
    requirement = Requirement(**{name: (one for one in ["needed"])})  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(RequirementNotMet):
            requirement.judge(Token({"iss": "i", "aud": "a", "exp": 1}))


def test_a_requirement_knows_the_postures() -> None:
    assert Requirement(on_stale="deny").on_stale == "deny"
    with pytest.raises(ValueError, match="on_stale is one of"):
        Requirement(on_stale="dney")  # type: ignore[arg-type]
