"""Who sent a request, in headers."""

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.verifier.guard.headers import NOBODY, identity, is_counterfeit
from mintmark.verifier.token import Token

pytestmark = pytest.mark.spec("S04")

NAMES = ["subject", "client", "scope", "roles", "permissions", "issuer"]


def said(**claims: Any) -> dict[str, str]:
    content = {"iss": "https://auth.example", "aud": "https://api.example", "exp": 1} | claims
    headers = identity(Token(content))
    assert [name.decode() for name, _ in headers] == [f"x-mintmark-{name}" for name in NAMES]
    return {name.decode().removeprefix("x-mintmark-"): value.decode("ascii") for name, value in headers}


def test_all_that_a_token_says() -> None:
    claims = {"sub": "ada", "client_id": "app", "scope": "b a", "roles": ["r2", "r1"], "permissions": ["p"]}
    assert said(**claims) == {
        "subject": "ada",
        "client": "app",
        "scope": "a b",
        "roles": "r1 r2",
        "permissions": "p",
        "issuer": "https://auth.example",
    }


def test_all_are_there_where_there_is_nothing_to_say() -> None:
    assert said() == dict.fromkeys(NAMES, "") | {"issuer": "https://auth.example"}
    assert [(name.decode(), value) for name, value in NOBODY] == [(f"x-mintmark-{name}", b"") for name in NAMES]
    assert identity(None) == NOBODY


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("ada", "ada"),
        ("https://id.example/~ada?x=1&y#z", "https://id.example/~ada?x=1&y#z"),
        ("a\r\nX-Mintmark-Roles: admin", "a%0D%0AX-Mintmark-Roles:%20admin"),
        ("Zoë", "Zo%C3%AB"),
        ("100%", "100%25"),
        ("%0D", "%250D"),
        ("user admin", "user%20admin"),
        ("a\tb\0c\x7f", "a%09b%00c%7F"),
        ("漢", "%E6%BC%A2"),
        ("\ud800", "%ED%A0%80"),
    ],
)
def test_what_could_end_a_value_is_escaped(name: str, shown: str) -> None:
    assert said(sub=name)["subject"] == shown
    assert said(roles=[name])["roles"] == shown
    assert said(client_id=name)["client"] == shown


def test_a_role_with_a_space_is_one_role() -> None:
    assert said(roles=["user admin", "user", ""])["roles"] == "user user%20admin"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1)))
def test_the_service_gets_back_the_very_names(names: list[str]) -> None:
    shown = said(permissions=names)["permissions"]
    assert all(" " <= letter <= "~" for letter in shown)
    assert {unquote(name) for name in shown.split(" ") if name} == set(names)


@pytest.mark.parametrize(
    "name",
    ["x_mintmark_subject", "x-mintmark_roles", "x_mintmark-roles", "x.mintmark.roles", "x~mintmark!scope"],
)
def test_other_spellings_are_counterfeits(name: str) -> None:
    assert is_counterfeit(name.encode())


@pytest.mark.parametrize(
    "name",
    ["x-mintmark-subject", "x-mintmark-roles", "authorization", "mintmark", "xmintmarksubject", "my-x_mintmark_a"],
)
def test_our_own_and_others_are_none(name: str) -> None:
    assert not is_counterfeit(name.encode())
