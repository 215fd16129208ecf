"""PyPI ``requests-oauth2client``."""

from typing import Any, Literal
from urllib.parse import urlencode

import requests
from requests_oauth2client import (
    AuthorizationRequest,
    BearerToken,
    ClientSecretBasic,
    ClientSecretPost,
    EndpointError,
    IdToken,
    OAuth2Client,
    PublicApp,
)
from tests.e2e.clients.application import Answer
from tests.e2e.clients.library import MAX_AGE, RefusedError, Registration, Tokens


class RequestsOAuth2Client:
    def __init__(self, registration: Registration) -> None:
        self._session = requests.Session()
        self._started: dict[str, AuthorizationRequest] = {}
        self._client = OAuth2Client.from_discovery_endpoint(
            issuer=registration.issuer,
            auth=_authentication(registration),
            id_token_signed_response_alg=registration.algorithm,
            session=self._session,
            testing=True,  # allows http, on loopback; nothing else depends on it
        )

    def authorization_url(self, redirect_uri: str, scope: str, **extra: str) -> str:
        parameters: dict[str, Any] = {
            "max_age": MAX_AGE,
            # The library reads it in the metadata and forgets to pass it on: without it a missing iss would go unseen.
            "authorization_response_iss_parameter_supported": self._client.authorization_response_iss_parameter_supported,
            **extra,
        }
        request = self._client.authorization_request(redirect_uri=redirect_uri, scope=scope, **parameters)
        assert request.authorization_response_iss_parameter_supported
        assert request.state is not None
        self._started[request.state] = request
        return str(request)

    def redeem(self, answer: Answer) -> Tokens:
        request = self._started.pop(answer.parameters["state"])
        # state and iss (RFC 9207 §2.4)
        response = request.validate_callback(answer.url if answer.form is None else f"?{answer.form}")
        # Signature by the JWKS, alg, iss, aud, azp, nonce, exp, at_hash, auth_time against max_age.
        return _tokens(self._client.authorization_code(response))

    def userinfo(self, tokens: Tokens) -> dict[str, Any]:
        return dict(self._client.userinfo(tokens.access_token))

    def refresh(self, refresh_token: str) -> Tokens:
        try:
            return _tokens(self._client.refresh_token(refresh_token))
        except EndpointError as refusal:
            raise RefusedError(refusal.error, str(refusal.description)) from refusal

    def introspect(self, token: str) -> dict[str, Any]:
        return dict(self._client.introspect_token(token))

    def revoke(self, token: str, kind: Literal["access_token", "refresh_token"]) -> None:
        if kind == "access_token":
            assert self._client.revoke_access_token(token)
        else:
            assert self._client.revoke_refresh_token(token)

    def logout_url(self, id_token: str, return_to: str, state: str) -> str:
        # The library has nothing for it: what an application would write by hand.
        assert self._client.issuer is not None
        metadata = self._session.get(f"{self._client.issuer}/.well-known/openid-configuration").json()
        parameters = {"id_token_hint": id_token, "post_logout_redirect_uri": return_to, "state": state}
        return f"{metadata['end_session_endpoint']}?{urlencode(parameters)}"

    def client_credentials(self, scope: str) -> dict[str, Any]:
        return dict(self._client.client_credentials(scope=scope).as_dict())


def _authentication(registration: Registration) -> requests.auth.AuthBase:
    client_id, secret = registration.client_id, registration.secret
    if secret is None:
        return PublicApp(client_id)
    method = ClientSecretPost if registration.method == "client_secret_post" else ClientSecretBasic
    return method(client_id, secret)


def _tokens(response: BearerToken) -> Tokens:
    assert response.refresh_token is not None
    assert isinstance(response.id_token, IdToken)
    assert response.scope is not None
    claims = dict(response.id_token.claims)
    return Tokens(response.access_token, response.refresh_token, str(response.id_token), response.scope, claims)
