"""JSON replies and OAuth errors on the wire (RFC 6749 §5.1-5.2, RFC 6750 §3)."""

from typing import Any, Final

import msgspec

from mintmark.asgi import Headers, Reply
from mintmark.oauth.errors import OAuthError

_encode = msgspec.json.Encoder().encode

JSON: Final[Headers] = ((b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff"))
NO_STORE: Final[Headers] = (*JSON, (b"cache-control", b"no-store"), (b"pragma", b"no-cache"))


def json_reply(content: Any, *, status: int = 200, headers: Headers = NO_STORE) -> Reply:
    """Return ``content`` as JSON, by default never to be stored (RFC 6749 §5.1)."""
    return Reply(status, _encode(content), headers)


def error_reply(error: OAuthError) -> Reply:
    """Return an error of an endpoint that clients authenticate to (RFC 6749 §5.2)."""
    headers = (*NO_STORE, *_retry_after(error))
    if error.status == 401:
        headers = (*headers, (b"www-authenticate", b'Basic realm="mintmark", charset="UTF-8"'))
    return json_reply(_content(error), status=error.status, headers=headers)


def bearer_error_reply(error: OAuthError) -> Reply:
    """Return an error of an endpoint that access tokens are presented to (RFC 6750 §3)."""
    headers = (*NO_STORE, *_retry_after(error))
    if error.status in {401, 403}:
        challenge = f'Bearer realm="mintmark", error="{error.error}", error_description="{error.description}"'
        if error.error == "insufficient_scope":
            challenge += ', scope="openid"'
        headers = (*headers, (b"www-authenticate", challenge.encode()))
    return json_reply(_content(error), status=error.status, headers=headers)


def _content(error: OAuthError) -> dict[str, str]:
    return {"error": error.error, "error_description": error.description}


def _retry_after(error: OAuthError) -> Headers:
    return () if error.retry_after is None else ((b"retry-after", b"%d" % error.retry_after),)
