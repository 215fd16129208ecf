"""``POST /token`` (RFC 6749 §3.2)."""

from typing import Any

from mintmark.asgi import Incoming, Reply
from mintmark.authority import token as tokens
from mintmark.authority.core import Authority
from mintmark.authority.token import (
    ClientCredentialsRequest,
    CodeRequest,
    RefreshRequest,
    TokenRequest,
    TokenResponse,
)
from mintmark.oauth.errors import OAuthError
from mintmark.oauth.parameters import Parameters
from mintmark.oauth.scope import format_scope, parse_scope
from mintmark.web.client import client_and_form, required
from mintmark.web.rendering import json_reply


async def token(authority: Authority, incoming: Incoming) -> Reply:
    """Answer a token request."""
    client, form = await client_and_form(authority, incoming)
    return json_reply(_content(await tokens.token(authority, client, _request(form), is_awaited=incoming.is_awaited)))


def _request(form: Parameters) -> TokenRequest:
    match required(form, "grant_type"):
        case "authorization_code":
            return CodeRequest(
                code=required(form, "code"),
                redirect_uri=form.get("redirect_uri"),
                code_verifier=form.get("code_verifier"),
                resources=form.resources,
            )
        case "refresh_token":
            return RefreshRequest(
                refresh_token=required(form, "refresh_token"),
                scope=parse_scope(form.get("scope") or ""),
                resources=form.resources,
            )
        case "client_credentials":
            return ClientCredentialsRequest(scope=parse_scope(form.get("scope") or ""), resources=form.resources)
        case _:
            raise OAuthError("unsupported_grant_type", "The grant type is not supported")


def _content(response: TokenResponse) -> dict[str, Any]:
    content: dict[str, Any] = {
        "access_token": response.access_token,
        "token_type": "Bearer",
        "expires_in": response.expires_in,
        "scope": format_scope(response.scope),
    }
    if response.refresh_token is not None:
        content["refresh_token"] = response.refresh_token
    if response.id_token is not None:
        content["id_token"] = response.id_token
    return content
