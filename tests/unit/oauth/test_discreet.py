"""What holds secrets does not show them: not in an exception, not in a log, not in a debugger."""

import pytest
from rich.pretty import pretty_repr

from mintmark.asgi import Incoming, Reply
from mintmark.authority.access import Access
from mintmark.authority.client_authentication import Credentials
from mintmark.authority.derivation import Presented
from mintmark.authority.issuing import AccessToken
from mintmark.authority.token import CodeRequest, RefreshRequest, TokenResponse
from mintmark.oauth.discreet import Discreet
from mintmark.oauth.parameters import Parameters

SECRET = "mmr_secret"
HEADERS = ((b"authorization", SECRET.encode()),)


@pytest.mark.parametrize(
    "value",
    [
        Incoming("POST", "/token", b"code=mmr_secret", HEADERS, b"token=mmr_secret", "192.0.2.7"),
        Reply(200, b'{"refresh_token":"mmr_secret"}', HEADERS),
        Parameters({"code": SECRET}),
        Credentials("client_secret_post", "app", SECRET, "192.0.2.7"),
        CodeRequest(code=SECRET, redirect_uri=None, code_verifier=SECRET),
        RefreshRequest(refresh_token=SECRET),
        TokenResponse(access_token=SECRET, expires_in=300, scope=(), refresh_token=SECRET, id_token=SECRET),
        AccessToken(SECRET, 300, ()),
        Access({"jti": SECRET}),
        Presented("refresh", 1, SECRET.encode(), 1, SECRET.encode()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_the_type_is_shown(value: Discreet) -> None:
    assert repr(value) == f"{value}" == f"{type(value).__name__}(...)"
    assert pretty_repr(value) == f"{type(value).__name__}()"
