"""What every OAuth client library is asked to do here, so that one test can drive them all."""

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from tests.e2e.clients.application import Answer

Method = Literal["client_secret_basic", "client_secret_post", "none"]

MAX_AGE = 600
"""Every authorization request asks for a sign-in no older than this, so that libraries check ``auth_time``."""


class RefusedError(Exception):
    """The authority refused: ``error`` is the OAuth code."""

    def __init__(self, error: str, text: str = "") -> None:
        super().__init__(f"{error}: {text}")
        self.error = error


@dataclass(frozen=True)
class Registration:
    """What a developer types into a library's configuration: everything else comes from discovery."""

    issuer: str
    client_id: str
    method: Method
    secret: str | None = field(default=None, repr=False)
    algorithm: str = "RS256"


@dataclass(frozen=True)
class Tokens:
    """A token response. ``claims`` are those of the ID token, as the library returned them after verifying it."""

    access_token: str
    refresh_token: str
    id_token: str
    scope: str
    claims: dict[str, Any]


class Client(Protocol):
    """One registered client, played by a library."""

    def authorization_url(self, redirect_uri: str, scope: str, **extra: str) -> str:
        """Start: PKCE, state and nonce are the library's own."""

    def redeem(self, answer: Answer) -> Tokens:
        """Judge the authorization response, redeem its code, verify the ID token."""

    def userinfo(self, tokens: Tokens) -> dict[str, Any]: ...

    def refresh(self, refresh_token: str) -> Tokens:
        """Refresh, or raise ``RefusedError``."""

    def introspect(self, token: str) -> dict[str, Any]: ...

    def revoke(self, token: str, kind: Literal["access_token", "refresh_token"]) -> None: ...

    def logout_url(self, id_token: str, return_to: str, state: str) -> str: ...

    def client_credentials(self, scope: str) -> dict[str, Any]:
        """Return a token response for the client itself."""
