"""Scope and audience: every rule, for a new grant, for a token from one, and without a person."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.authority.grants import client

from mintmark.authority.grants import client_credentials
from mintmark.authority.model import Client, Resource, Role
from mintmark.authority.targeting import Landscape, Target, authority_as_resource, narrow, scope_for, target
from mintmark.oauth.errors import OAuthError

ISSUER, API, REPORTS = "https://id.example", "https://api.example", "https://reports.example"
SCOPES = ("openid", "profile", "email", "offline_access", "read", "write", "admin", "see", "both")
ADMIN = Role(name="admin", resource=API, permissions=("admin",))
ELSEWHERE = Role(name="elsewhere", resource=REPORTS, permissions=("admin",))
WEB = client(scope=SCOPES, resources=(API, REPORTS))


def landscape(*roles: Role) -> Landscape:
    resources = {
        ISSUER: authority_as_resource(ISSUER),
        API: Resource(
            resource=API, name="API", scopes=("read", "write", "admin", "both"), permissions=("admin", "approve")
        ),
        REPORTS: Resource(resource=REPORTS, name="Reports", scopes=("see", "both")),
    }
    return Landscape(ISSUER, resources, roles)


@pytest.mark.spec("X03", "T08")
@pytest.mark.parametrize(
    ("asked", "named", "changes", "scope", "resources"),
    [
        # The one resource that the scopes belong to; the authority joins for userinfo.
        (("read",), (), {}, ("read",), (API,)),
        (("read", "openid"), (), {}, ("read", "openid"), (API, ISSUER)),
        (("see",), (), {}, ("see",), (REPORTS,)),
        (("openid", "profile"), (), {}, ("openid", "profile"), (ISSUER,)),
        # Named: those and nothing else, but what the authority understands goes with any.
        (("read", "see"), (API, REPORTS), {}, ("read", "see"), (API, REPORTS)),
        (("read", "see"), (API,), {}, ("read",), (API,)),
        (("openid", "read"), (API,), {}, ("openid", "read"), (API,)),
        (("both",), (REPORTS,), {}, ("both",), (REPORTS,)),
        # Unknown, or not the client's: left out.
        (("read", "nonsense"), (), {}, ("read",), (API,)),
        (("read", "write"), (), {"scope": ("read",)}, ("read",), (API,)),
        # A permission needs a role at that resource.
        (("read", "admin"), (), {}, ("read",), (API,)),
        # The client's default comes first, if it covers what is asked.
        (("both",), (), {"default_resource": REPORTS}, ("both",), (REPORTS,)),
        (("read",), (), {"default_resource": REPORTS}, ("read",), (API,)),
        ((), (), {"default_resource": REPORTS, "scope": ("see", "read")}, ("see",), (REPORTS,)),
        ((), (), {"scope": ("see", "openid")}, ("openid",), (ISSUER,)),
        (("openid",), (), {"default_resource": "https://gone.example"}, ("openid",), (ISSUER,)),
    ],
)
def test_a_new_grant(
    asked: tuple[str, ...],
    named: tuple[str, ...],
    changes: dict[str, Any],
    scope: tuple[str, ...],
    resources: tuple[str, ...],
) -> None:
    asking = client(**{"scope": SCOPES, "resources": (API, REPORTS), **changes})
    assert target(asked, named, asking, landscape()) == Target(scope, resources)


@pytest.mark.spec("X03")
@pytest.mark.parametrize(
    ("asked", "named", "error"),
    [
        (("read", "see"), (), "invalid_scope"),  # RFC 9068 §3
        (("both",), (), "invalid_scope"),  # two resources understand it
        (("nonsense",), (), "invalid_scope"),
        (("admin",), (), "invalid_scope"),
        (("see",), (API,), "invalid_scope"),
        (("read",), ("https://unknown.example",), "invalid_target"),
        (("read",), (API, "https://unknown.example"), "invalid_target"),
    ],
)
def test_what_cannot_be_granted(asked: tuple[str, ...], named: tuple[str, ...], error: str) -> None:
    with pytest.raises(OAuthError) as refused:
        target(asked, named, WEB, landscape())
    assert refused.value.error == error


@pytest.mark.parametrize(("roles", "expected"), [((ADMIN,), True), ((), False), ((ELSEWHERE,), False)])
def test_a_permission_needs_a_role_at_that_resource(roles: tuple[Role, ...], expected: bool) -> None:
    granted = target(("read", "admin"), (), WEB, landscape(*roles))
    assert ("admin" in granted.scope) == expected
    assert not landscape(*roles).may([API], "approve")  # a permission that is no scope


GRANTED = Target(("openid", "read", "write"), (API, ISSUER))


@pytest.mark.spec("R05", "T08", "I5")
@pytest.mark.parametrize(
    ("asked", "named", "changes", "scope", "resources"),
    [
        ((), (), {}, ("openid", "read", "write"), (API, ISSUER)),
        (("read",), (), {}, ("read",), (API, ISSUER)),
        ((), (API,), {}, ("openid", "read", "write"), (API,)),
        ((), (ISSUER,), {}, ("openid",), (ISSUER,)),
        # What the client lost meanwhile is left out.
        ((), (), {"scope": ("openid", "read")}, ("openid", "read"), (API, ISSUER)),
        ((), (), {"scope": ()}, (), (API, ISSUER)),
    ],
)
def test_a_token_from_a_grant(
    asked: tuple[str, ...],
    named: tuple[str, ...],
    changes: dict[str, Any],
    scope: tuple[str, ...],
    resources: tuple[str, ...],
) -> None:
    asking = client(**{"scope": SCOPES, "resources": (API, REPORTS), **changes})
    assert narrow(GRANTED, asked, named, asking, landscape()) == Target(scope, resources)


@pytest.mark.spec("R05", "T08", "I5")
@pytest.mark.parametrize(
    ("asked", "named", "error"),
    [
        (("read", "admin"), (), "invalid_scope"),
        (("see",), (), "invalid_scope"),
        (("nonsense",), (), "invalid_scope"),
        ((), (REPORTS,), "invalid_target"),
        ((), (API, REPORTS), "invalid_target"),
        (("see",), (REPORTS,), "invalid_target"),
    ],
)
def test_more_than_the_grant_holds(asked: tuple[str, ...], named: tuple[str, ...], error: str) -> None:
    with pytest.raises(OAuthError) as refused:
        narrow(GRANTED, asked, named, WEB, landscape(ADMIN))
    assert refused.value.error == error


def test_a_resource_that_the_client_lost() -> None:
    without = Landscape(ISSUER, {ISSUER: authority_as_resource(ISSUER)}, ())
    assert narrow(GRANTED, (), (), WEB, without) == Target(("openid",), (ISSUER,))
    with pytest.raises(OAuthError, match="invalid_target"):
        narrow(Target(("read",), (API,)), (), (), WEB, without)


SUBSETS = st.lists(st.sampled_from([*SCOPES, "nonsense"]), unique=True).map(tuple)
NAMED = st.lists(st.sampled_from([ISSUER, API, REPORTS]), unique=True).map(tuple)


@pytest.mark.spec("I5")
@given(granted=SUBSETS, asked=SUBSETS, named=NAMED, held=NAMED, registered=SUBSETS)
def test_narrowing_never_widens(
    granted: tuple[str, ...],
    asked: tuple[str, ...],
    named: tuple[str, ...],
    held: tuple[str, ...],
    registered: tuple[str, ...],
) -> None:
    try:
        found = narrow(Target(granted, held), asked, named, client(scope=registered), landscape(ADMIN))
    except OAuthError:
        return
    assert set(found.scope) <= set(granted) & set(registered)
    assert set(found.scope) <= set(asked or granted)
    assert set(found.resources) <= {*held, ISSUER}
    assert set(found.resources) <= set(named or held)


@pytest.mark.spec("X04")
def test_a_token_says_what_its_audience_understands() -> None:
    assert scope_for((API,), ("openid", "read", "see"), landscape()) == ("read",)
    assert scope_for((ISSUER,), ("openid", "read"), landscape()) == ("openid",)
    assert scope_for((API, REPORTS), ("openid", "read", "see"), landscape()) == ("read", "see")


@pytest.mark.spec("T09")
@pytest.mark.parametrize(
    ("changes", "asked", "named", "expected"),
    [
        ({}, ("read",), (), Target(("read",), (API,))),
        ({}, ("read", "openid"), (), Target(("read",), (API,))),  # no person, no OpenID
        ({"default_resource": API}, (), (), Target(("read", "write", "both"), (API,))),
        ({}, (), (REPORTS,), Target(("see", "both"), (REPORTS,))),
        ({}, ("openid",), (), "invalid_scope"),
        ({}, ("read",), ("https://unknown.example",), "invalid_target"),
        ({"token_endpoint_auth_method": "none"}, ("read",), (), "unauthorized_client"),
    ],
)
def test_client_credentials(
    changes: dict[str, Any], asked: tuple[str, ...], named: tuple[str, ...], expected: Target | str
) -> None:
    asking: Client = client(**{"scope": SCOPES, "resources": (API, REPORTS), **changes})
    if isinstance(expected, Target):
        assert client_credentials.decide(asking, landscape(), scope=asked, resources=named) == expected
        return
    with pytest.raises(OAuthError) as refused:
        client_credentials.decide(asking, landscape(), scope=asked, resources=named)
    assert refused.value.error == expected
