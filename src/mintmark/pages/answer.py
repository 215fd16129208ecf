"""The answer to the client, through the browser: in the query of its redirect URI, or as a form that submits itself.

RFC 6749 §4.1.2, OAuth 2.0 Form Post Response Mode 1.0.
"""

from typing import Final
from urllib.parse import urlencode

from mintmark.asgi import Reply, log
from mintmark.authority.authorize import Answer, AuthorizationError
from mintmark.authority.core import Authority
from mintmark.jose import base64url
from mintmark.pages import rendering

_NONCE_BYTES: Final = 16


def deliver(authority: Authority, answer: Answer) -> Reply:
    """Return the reply that brings ``answer`` to the client."""
    uri = answer.to.redirect_uri
    if answer.to.response_mode == "query":
        separator = "&" if "?" in uri else "?"
        return rendering.see_other(authority.policy, f"{uri}{separator}{urlencode(answer.parameters)}")
    return rendering.page(
        authority.policy,
        "form_post.html",
        leads_to_client=True,
        script_nonce=base64url.encode(authority.randomness.bytes(_NONCE_BYTES)),
        action=uri,
        parameters=answer.parameters,
    )


def refuse(authority: Authority, refusal: AuthorizationError, path: str) -> Reply:
    """Return the reply that brings an error to the client; the detail stays in our log."""
    error = refusal.error
    log.info("refused", path=path, error=error.error, why=error.detail or error.description, status=303)
    return deliver(authority, refusal.answer)
