"""PyPI ``authlib``: its framework client, put together as in its Flask and Django integrations, and ``OAuth2Session``."""

from typing import Any, Literal

from authlib.integrations.base_client import BaseApp, FrameworkIntegration, OAuthError
from authlib.integrations.base_client.sync_app import OAuth2Mixin
from authlib.integrations.base_client.sync_openid import OpenIDMixin
from authlib.integrations.requests_client import OAuth2Session
from tests.e2e.clients.application import Answer
from tests.e2e.clients.library import MAX_AGE, RefusedError, Registration, Tokens


class _App(OAuth2Mixin, OpenIDMixin, BaseApp):  # type: ignore[misc]  # authlib has no types
    client_cls = OAuth2Session


class AuthlibClient:
    def __init__(self, registration: Registration) -> None:
        self._settings = {
            "token_endpoint_auth_method": registration.method,
            "revocation_endpoint_auth_method": registration.method,
            "code_challenge_method": "S256",
        }
        self.issuer = registration.issuer
        self._registration = registration
        self._started: dict[str, dict[str, Any]] = {}
        self._app = _App(
            FrameworkIntegration("mintmark"),
            client_id=registration.client_id,
            client_secret=registration.secret,
            server_metadata_url=f"{registration.issuer}/.well-known/openid-configuration",
            client_kwargs=self._settings,
        )
        self._metadata = self._app.load_server_metadata()

    def authorization_url(self, redirect_uri: str, scope: str, **extra: str) -> str:
        started = self._app.create_authorization_url(redirect_uri, scope=scope, **{"max_age": MAX_AGE, **extra})
        self._started[started["state"]] = {"redirect_uri": redirect_uri, **started}
        return str(started["url"])

    def redeem(self, answer: Answer) -> Tokens:
        parameters = answer.parameters
        started = self._started.pop(parameters["state"])
        response = self._app.fetch_access_token(
            redirect_uri=started["redirect_uri"], code=parameters["code"], code_verifier=started["code_verifier"]
        )
        # Signature by the JWKS, iss, aud, azp, nonce, exp, iat, at_hash.
        claims = self._app.parse_id_token(response, nonce=started["nonce"], leeway=0)
        return _tokens(response, dict(claims))

    def userinfo(self, tokens: Tokens) -> dict[str, Any]:
        return dict(self._app.userinfo(token={"access_token": tokens.access_token, "token_type": "Bearer"}))

    def refresh(self, refresh_token: str) -> Tokens:
        with self._session() as session:
            try:
                response = session.refresh_token(self._metadata["token_endpoint"], refresh_token=refresh_token)
            except OAuthError as refusal:
                raise RefusedError(refusal.error, refusal.description) from refusal
        return _tokens(response, dict(self._app.parse_id_token(response, nonce=None, leeway=0)))

    def introspect(self, token: str) -> dict[str, Any]:
        with self._session() as session:
            response = session.introspect_token(self._metadata["introspection_endpoint"], token=token)
        response.raise_for_status()
        return dict(response.json())

    def revoke(self, token: str, kind: Literal["access_token", "refresh_token"]) -> None:
        with self._session() as session:
            url = self._metadata["revocation_endpoint"]
            session.revoke_token(url, token=token, token_type_hint=kind).raise_for_status()

    def logout_url(self, id_token: str, return_to: str, state: str) -> str:
        made = self._app.create_logout_url(post_logout_redirect_uri=return_to, id_token_hint=id_token, state=state)
        return str(made["url"])

    def client_credentials(self, scope: str) -> dict[str, Any]:
        with self._session() as session:
            return dict(session.fetch_token(grant_type="client_credentials", scope=scope))

    def _session(self) -> OAuth2Session:
        registration = self._registration
        return OAuth2Session(registration.client_id, registration.secret, **self._settings, **self._metadata)


def _tokens(response: dict[str, Any], claims: dict[str, Any]) -> Tokens:
    names = ("access_token", "refresh_token", "id_token", "scope")
    return Tokens(**{name: response[name] for name in names}, claims=claims)
