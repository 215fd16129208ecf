"""``GET/POST /userinfo`` (OIDC Core §5.3): the token in the Authorization header or in the form, never in the URL."""

from mintmark.asgi import FORM, Incoming, Reply
from mintmark.authority import userinfo as userinfos
from mintmark.authority.core import Authority
from mintmark.oauth.errors import invalid_request, invalid_token
from mintmark.web.rendering import NO_STORE, json_reply


async def userinfo(authority: Authority, incoming: Incoming) -> Reply:
    """Return the claims about the person that the access token speaks for."""
    token = _bearer_token(incoming)
    if token is None:
        # RFC 6750 §3.1: who sent no token gets no error code.
        return Reply(401, b"", (*NO_STORE, (b"www-authenticate", b'Bearer realm="mintmark", scope="openid"')))
    return json_reply(await userinfos.userinfo(authority, token))


def _bearer_token(incoming: Incoming) -> str | None:
    """Find the access token (RFC 6750 §2.1, §2.2); one transport per request (RFC 6750 §2)."""
    found = []
    authorization = incoming.header(b"authorization")
    if len(authorization) > 1:
        raise invalid_request("More than one Authorization header")
    for value in authorization:
        scheme, _, token = value.partition(" ")
        if scheme.lower() != "bearer" or not token.strip(" "):
            raise invalid_token("not a bearer token")
        found.append(token.strip(" "))
    content_type = next(iter(incoming.header(b"content-type")), "")
    if incoming.method == "POST" and content_type.partition(";")[0].strip().lower().encode("latin-1") == FORM:
        form_token = incoming.form().get("access_token")
        found += [] if form_token is None else [form_token]
    if len(found) > 1:
        raise invalid_request("Send the access token once")
    return found[0] if found else None
