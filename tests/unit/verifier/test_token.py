from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from tests.support.verifying import ISSUER, FakeClock

from mintmark.verifier import RequirementNotMet, Token

NOW = int(FakeClock().now())
CLAIMS: Mapping[str, Any] = {
    "iss": ISSUER,
    "aud": ["https://api.example", "https://other.example"],
    "sub": "usr_ada",
    "client_id": "web",
    "exp": NOW + 900,
    "scope": "orders:read orders:write",
    "roles": ["clerk", "auditor"],
    "permissions": ["orders:refund"],
    "auth_time": NOW - 100,
    "acr": "pwd",
}


def token(**changed: Any) -> Token:
    """A token; a change to ``...`` leaves the claim out."""
    claims = {name: value for name, value in {**CLAIMS, **changed}.items() if value is not ...}
    return Token(claims, FakeClock())


def test_it_says_what_the_claims_say() -> None:
    made = token()
    assert made.sub == "usr_ada"
    assert made.client_id == "web"
    assert made.issuer == ISSUER
    assert made.audience == ("https://api.example", "https://other.example")
    assert made.scopes == {"orders:read", "orders:write"}
    assert made.roles == {"clerk", "auditor"}
    assert made.permissions == {"orders:refund"}
    assert made.expires_at == NOW + 900
    assert made.claims["acr"] == "pwd"


def test_one_audience_may_be_a_text() -> None:
    assert token(aud="https://api.example").audience == ("https://api.example",)


@pytest.mark.spec("S03")
@pytest.mark.parametrize("value", [..., None, True, 1, ["orders:read"], {"orders:read": True}, "", "  "])
def test_a_scope_of_another_type_permits_nothing(value: Any) -> None:
    assert token(scope=value).scopes == set()
    with pytest.raises(RequirementNotMet):
        token(scope=value).require(scope="orders:read")


@pytest.mark.spec("S03")
@pytest.mark.parametrize("name", ["roles", "permissions"])
@pytest.mark.parametrize("value", [..., None, True, 1, "clerk", {"clerk": True}, [], [None, 1, ["clerk"]]])
def test_roles_of_another_type_permit_nothing(name: str, value: Any) -> None:
    made = token(**{name: value})
    assert getattr(made, name) == set()
    wanted: dict[str, Any] = {name.removesuffix("s"): "clerk"}
    with pytest.raises(RequirementNotMet):
        made.require(**wanted)


def test_a_role_among_other_things_is_a_role() -> None:
    assert token(roles=[1, "clerk", None]).require(role="clerk").roles == {"clerk"}


@pytest.mark.parametrize("name", ["sub", "client_id"])
@pytest.mark.parametrize("value", [..., None, 7, ["usr_ada"]])
def test_a_name_of_another_type_is_none(name: str, value: Any) -> None:
    assert getattr(token(**{name: value}), name) == ""


@pytest.mark.parametrize("name", [*CLAIMS, "issuer", "scopes", "new"])
def test_nothing_can_be_changed(name: str) -> None:
    made = token()
    with pytest.raises(AttributeError):
        setattr(made, name, "x")
    with pytest.raises(TypeError):
        made.claims[name] = "x"  # type: ignore[index]


def test_nothing_inside_can_be_changed_either() -> None:
    theirs: dict[str, Any] = {"list": [1, [2], {"a": [3]}], "object": {"a": {"b": [4]}}}
    made = token(deep=theirs)
    deep = made.claims["deep"]
    assert deep["list"][0:2] == (1, (2,))
    assert deep["list"][2]["a"] == (3,)
    assert deep["object"]["a"]["b"] == (4,)
    with pytest.raises(TypeError):
        deep["object"]["a"]["b"] = 5
    with pytest.raises(TypeError):
        deep["object"]["a"] = {}


@pytest.mark.spec("S07")
def test_its_repr_shows_no_claims() -> None:
    assert "1912-06-23" not in repr(token(birthdate="1912-06-23", scope="orders:secret"))
    assert "orders:secret" not in repr(token(scope="orders:secret"))


@pytest.mark.spec("S03", "ASVS 10.3.2")
@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"scope": "orders:read"},
        {"scope": "orders:read orders:write"},
        {"scope": ["orders:write", "orders:read"]},
        {"scope": ()},
        {"role": "clerk"},
        {"role": {"clerk", "auditor"}},
        {"permission": "orders:refund"},
        {"scope": "orders:read", "role": "clerk", "permission": "orders:refund", "acr": "pwd", "max_age": 100},
        {"acr": "mfa pwd"},
        {"acr": ["pwd"]},
        {"max_age": 100},
    ],
)
def test_what_is_enough(wanted: Any) -> None:
    made = token()
    assert made.require(**wanted) is made


@pytest.mark.spec("S01", "S03", "RFC 6750 §3.1", "ASVS 10.3.2")
@pytest.mark.parametrize(
    "wanted",
    [
        {"scope": "orders"},
        {"scope": "orders:read orders:delete"},
        {"scope": ["orders:read orders:write"]},
        {"scope": "ORDERS:READ"},
        {"role": "admin"},
        {"role": ["clerk", "admin"]},
        {"role": "orders:refund"},
        {"permission": "clerk"},
        {"permission": "orders:read"},
        {"scope": "orders:read", "role": "admin"},
        {"role": "admin", "acr": "mfa"},
    ],
)
def test_what_is_not_enough_is_403(wanted: Any) -> None:
    with pytest.raises(RequirementNotMet) as caught:
        token().require(**wanted)
    assert (caught.value.status, caught.value.error) == (403, "insufficient_scope")


def test_all_scopes_that_would_do_are_named() -> None:
    with pytest.raises(RequirementNotMet) as caught:
        token().require(scope=["orders:read", "orders:delete"])
    assert caught.value.scope == "orders:read orders:delete"
    with pytest.raises(RequirementNotMet) as caught:
        token().require(role="admin")
    assert caught.value.scope is None


@pytest.mark.spec("RFC 9470 §3", "RFC 9470 §4")
@pytest.mark.parametrize(
    ("wanted", "acr_values", "max_age"),
    [
        ({"acr": "mfa"}, "mfa", None),
        ({"acr": ["mfa", "hwk"]}, "mfa hwk", None),
        ({"acr": "pw"}, "pw", None),
        ({"max_age": 99}, None, 99),
        ({"max_age": 0}, None, 0),
        ({"acr": "pwd", "max_age": 99}, "pwd", 99),
    ],
)
def test_where_signing_in_again_helps_it_is_401(wanted: Any, acr_values: str | None, max_age: int | None) -> None:
    with pytest.raises(RequirementNotMet) as caught:
        token().require(**wanted)
    assert (caught.value.status, caught.value.error) == (401, "insufficient_user_authentication")
    assert (caught.value.acr_values, caught.value.max_age) == (acr_values, max_age)


@pytest.mark.spec("RFC 9470 §4")
@pytest.mark.parametrize("value", [..., None, True, str(NOW), [NOW], float("nan"), float("inf"), -float("inf")])
def test_an_auth_time_that_is_no_date_is_not_recent(value: Any) -> None:
    with pytest.raises(RequirementNotMet):
        token(auth_time=value).require(max_age=10**12)
    made = token(auth_time=NOW - 0.5)
    assert made.require(max_age=1) is made


def test_recent_is_judged_by_the_verifier_s_clock() -> None:
    clock = FakeClock()
    made = Token(dict(CLAIMS), clock)
    assert made.require(max_age=160) is made
    clock.advance(61)
    with pytest.raises(RequirementNotMet):
        made.require(max_age=160)


@pytest.mark.parametrize("value", [..., None, ["pwd"], 1, {"pwd": 1}])
def test_an_acr_of_another_type_is_none(value: Any) -> None:
    with pytest.raises(RequirementNotMet):
        token(acr=value).require(acr="pwd")


def test_nobody_makes_one_out_of_json_and_none_is_sent_by_accident() -> None:
    """A request whose body could become a verified token would forge one."""
    for body in ({"_claims": dict(CLAIMS)}, {"claims": dict(CLAIMS)}, {"_scopes": ["orders:write"]}, {}):
        with pytest.raises((msgspec.ValidationError, TypeError)):
            msgspec.convert(body, Token)
    with pytest.raises(TypeError):
        msgspec.json.encode(token())
