"""The HTTP edge of the issuer in memory: what ``mintmark.web`` answers at the endpoints that services and clients ask.

That package needs the server's dependencies, which who tests a service has not installed; so requests and answers are
rendered here once more, and the authority's own use cases do the rest.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from mintmark.authority import introspection, revocation
from mintmark.authority import keys as schedule
from mintmark.authority import token as tokens
from mintmark.authority.client_authentication import authenticate, read_credentials
from mintmark.authority.feed import START
from mintmark.authority.metadata import metadata
from mintmark.authority.model import Client
from mintmark.authority.token import (
    ClientCredentialsRequest,
    CodeRequest,
    RefreshRequest,
    TokenRequest,
    TokenResponse,
)
from mintmark.oauth.errors import OAuthError, invalid_request
from mintmark.oauth.parameters import Parameters, parse
from mintmark.oauth.scope import format_scope, parse_scope
from mintmark.testing.issuer import Issuer
from mintmark.verifier.ports import Response

_JSON: Final = {"content-type": "application/json", "x-content-type-options": "nosniff"}
_NO_STORE: Final = _JSON | {"cache-control": "no-store", "pragma": "no-cache"}
_EVENT_STREAM: Final = {"content-type": "text/event-stream", "cache-control": "no-store"}
_EVENT_ENTRIES: Final = 1000
_FORM: Final = "application/x-www-form-urlencoded"
_ADDRESS: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Request:
    """One request, whole. Header names are in lower case."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


class Edge:
    """Answers requests to the URLs that the issuer's metadata names."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        origin, path = _split(issuer.policy.issuer)
        self._origin = origin
        self._metadata = metadata(issuer.policy)
        named: dict[str, Callable[[Request], Response]] = {
            "jwks_uri": self._jwks,
            "token_endpoint": self._token,
            "introspection_endpoint": self._introspect,
            "revocation_endpoint": self._revoke,
            "revocations_endpoint": self._revocations,
        }
        self._routes = {self._metadata[name]: answer for name, answer in named.items()}
        # RFC 8414 §3.1 inserts the well-known part before the issuer's path; OIDC Discovery §4 appends it.
        self._routes[f"{origin}/.well-known/oauth-authorization-server{path}"] = self._document
        self._routes[f"{origin}{path}/.well-known/openid-configuration"] = self._document

    def owns(self, url: str) -> bool:
        """Tell whether ``url`` is at the issuer's host."""
        return _split(url)[0] == self._origin

    def answer(self, request: Request) -> Response:
        """Answer as the authority does, errors included (RFC 6749 §5.2)."""
        try:
            return self._routes.get(request.url, _unknown)(request)
        except OAuthError as error:
            return _refusal(error)

    def _document(self, request: Request) -> Response:
        return _cacheable(request, _json(self._metadata, _JSON), self._issuer.policy.jwks_lifetime)

    def _jwks(self, request: Request) -> Response:
        authority = self._issuer.authority
        now, rows = authority.clock.now(), authority.keyring.rows
        content = {"keys": [row.public_jwk for row in schedule.published(rows, now)]}
        answer = _json(content, _JSON | {"content-type": "application/jwk-set+json"})
        return _cacheable(request, answer, schedule.jwks_max_age(rows, authority.policy, now))

    def _token(self, request: Request) -> Response:
        client, form = self._client_and_form(request)
        return _json(token_content(self._issuer.run(tokens.token(self._issuer.authority, client, _request(form)))))

    def _introspect(self, request: Request) -> Response:
        client, form = self._client_and_form(request)
        asked = introspection.introspect(self._issuer.authority, client, _required(form, "token"))
        return _json(self._issuer.run(asked))

    def _revoke(self, request: Request) -> Response:
        client, form = self._client_and_form(request)
        self._issuer.run(revocation.revoke(self._issuer.authority, client, _required(form, "token")))
        return Response(200, _NO_STORE)

    def _revocations(self, request: Request) -> Response:
        """Answer with the stream as far as it goes at this moment: what was missed, one heartbeat, the end."""
        if not self._client(request, {}).serves:
            raise OAuthError("unauthorized_client", "Only resource servers may read revocations", status=403)
        log = self._issuer.authority.denylist.log
        cursor, is_last, events = log.resume(request.headers.get("last-event-id", START)), False, [b"retry: 1000\n\n"]
        while not is_last:
            page = log.after(cursor, _EVENT_ENTRIES)
            cursor, is_last = page.cursor, page.is_last
            if page.count:
                events.append(_event(b"revocations", log.position(cursor), b"[%b]" % page.entries))
        events.append(_event(b"heartbeat", log.position(cursor), b"{}"))
        return Response(200, _EVENT_STREAM, b"".join(events))

    def _client_and_form(self, request: Request) -> tuple[Client, Parameters]:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
            raise invalid_request("Send the parameters as application/x-www-form-urlencoded")
        form = parse(request.body)
        return self._client(request, form.values), form

    def _client(self, request: Request, form: Mapping[str, str]) -> Client:
        sent = [request.headers["authorization"]] if "authorization" in request.headers else []
        credentials = read_credentials(sent, form, _ADDRESS)
        return self._issuer.run(authenticate(self._issuer.authority, credentials))


def token_content(response: TokenResponse) -> dict[str, Any]:
    """Return the members of a token response (RFC 6749 §5.1)."""
    content: dict[str, Any] = {
        "access_token": response.access_token,
        "token_type": "Bearer",
        "expires_in": response.expires_in,
        "scope": format_scope(response.scope),
        "refresh_token": response.refresh_token,
        "id_token": response.id_token,
    }
    return {name: value for name, value in content.items() if value is not None}


def _request(form: Parameters) -> TokenRequest:
    scope = parse_scope(form.get("scope") or "")
    match _required(form, "grant_type"):
        case "authorization_code":
            return CodeRequest(
                code=_required(form, "code"),
                redirect_uri=form.get("redirect_uri"),
                code_verifier=form.get("code_verifier"),
                resources=form.resources,
            )
        case "refresh_token":
            return RefreshRequest(refresh_token=_required(form, "refresh_token"), scope=scope, resources=form.resources)
        case "client_credentials":
            return ClientCredentialsRequest(scope=scope, resources=form.resources)
        case _:
            raise OAuthError("unsupported_grant_type", "The grant type is not supported")


def _unknown(_request: Request) -> Response:
    raise OAuthError("invalid_request", "There is no such endpoint", status=404)


def _required(form: Parameters, name: str) -> str:
    value = form.get(name)
    if value is None:
        raise invalid_request(f"{name} is missing")
    return value


def _split(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")


def _event(name: bytes, position: str, data: bytes) -> bytes:
    return b"event: %b\nid: %b\ndata: %b\n\n" % (name, position.encode(), data)


def _json(content: Any, headers: Mapping[str, str] = _NO_STORE, status: int = 200) -> Response:
    return Response(status, dict(headers), msgspec.json.encode(content))


def _refusal(error: OAuthError) -> Response:
    headers = dict(_NO_STORE)
    if error.status == 401:
        headers["www-authenticate"] = 'Basic realm="mintmark", charset="UTF-8"'
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    return _json({"error": error.error, "error_description": error.description}, headers, error.status)


def _cacheable(request: Request, answer: Response, max_age: int) -> Response:
    etag = f'"{hashlib.sha256(answer.body).hexdigest()[:32]}"'
    headers = {"cache-control": f"public, max-age={max_age}", "etag": etag}
    if request.headers.get("if-none-match") == etag:
        return Response(304, headers)
    return Response(answer.status, {**answer.headers, **headers}, answer.body)
