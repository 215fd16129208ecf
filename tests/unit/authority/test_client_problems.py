"""What may be registered as a client (RFC 7591 §2, RFC 9068 §5, RFC 9700)."""

from dataclasses import replace
from typing import Any

import pytest
from tests.support.nodes import POLICY, MemoryDisk, Node
from tests.support.world import FixedClock
from tests.unit.authority.grants import client

from mintmark.authority.policy import DAY, LIFETIMES
from mintmark.authority.registration import client_problems

AUTHORITY = Node(
    MemoryDisk(),
    FixedClock(),
    "registration",
    policy=replace(POLICY, lifetimes=LIFETIMES, signing_algorithms=("RS256", "ES256")),
).authority
PUBLIC = {"token_endpoint_auth_method": "none"}
SERVICE: dict[str, Any] = {"grant_types": ("client_credentials",), "redirect_uris": ()}


def problems(**members: Any) -> list[str]:
    return client_problems(client(**members), AUTHORITY)


@pytest.mark.parametrize(
    "members",
    [
        {},
        PUBLIC,
        SERVICE,
        {"serves": ("https://api.example",), "require_pkce": False, "refresh_rotation": "stable"},
        {"client_id": "!", "name": "x" * 200},
        {"client_id": "x" * 200},
        {"grant_types": ("authorization_code",)},
        {"refresh_grace": DAY},
        {**PUBLIC, "refresh_grace": 60},
        {"id_token_signed_response_alg": "ES256", "access_token_signed_response_alg": "ES256"},
        {"application_type": "native", "redirect_uris": ("http://127.0.0.1/cb", "com.example.app:/cb")},
    ],
)
def test_sound(members: dict[str, Any]) -> None:
    assert problems(**members) == []


@pytest.mark.spec("A04", "X05", "T09", "R02")
@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"client_id": ""}, "client_id must be printable"),
        ({"client_id": "a b"}, "client_id must be printable"),
        ({"client_id": "a:b"}, "client_id must be printable"),
        ({"client_id": 'a"b'}, "client_id must be printable"),
        ({"client_id": "é"}, "client_id must be printable"),
        ({"client_id": "x" * 201}, "client_id must be printable"),
        ({"client_id": "usr_ada"}, "must not begin with usr_"),
        ({"name": ""}, "name must have 1 to 200"),
        ({"name": "x" * 201}, "name must have 1 to 200"),
        ({"redirect_uris": ()}, "at least one redirect_uri"),
        ({"redirect_uris": ("http://app.example/cb",)}, "redirect_uri 'http://app.example/cb': it must use https"),
        ({"post_logout_redirect_uris": ("https://app.example/#x",)}, "post_logout_redirect_uri"),
        ({"grant_types": ()}, "at least one grant type"),
        ({"grant_types": ("refresh_token",)}, "refresh_token needs authorization_code"),
        ({"scope": ("good", "not good")}, "scope 'not good' is malformed"),
        ({**PUBLIC, **SERVICE}, "client_credentials needs a confidential client"),
        ({**PUBLIC, "require_pkce": False}, "PKCE cannot be switched off"),
        ({**PUBLIC, "refresh_rotation": "stable"}, "must rotate"),
        ({**PUBLIC, "refresh_grace": 61}, "60 seconds at most"),
        ({**PUBLIC, "serves": ("https://api.example",)}, "introspection needs a confidential client"),
        ({"access_token_lifetime": 9}, "access_token_lifetime must be between"),
        ({"refresh_token_lifetime": 3600}, "refresh_idle_lifetime must not exceed"),
        ({"refresh_grace": DAY + 1}, "refresh_grace must be between"),
        ({"id_token_signed_response_alg": "EdDSA"}, "no EdDSA key is kept here"),
        ({"access_token_signed_response_alg": "PS256"}, "no PS256 key is kept here"),
    ],
)
def test_unsound(members: dict[str, Any], words: str) -> None:
    found = problems(**members)
    assert len(found) == 1, found
    assert words in found[0]


def test_everything_wrong_is_said_at_once() -> None:
    assert len(problems(client_id="a b", name="", redirect_uris=("javascript:alert(1)",), scope=("a b", '"'))) == 5


def test_the_default_algorithm_is_the_installation_s_first() -> None:
    """A client that names none for its access tokens gets that one, whatever it is."""
    node = Node(MemoryDisk(), FixedClock(), "es256", policy=replace(POLICY, lifetimes=LIFETIMES))
    assert client_problems(client(id_token_signed_response_alg="ES256"), node.authority) == []
