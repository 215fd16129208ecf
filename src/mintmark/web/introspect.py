"""``POST /introspect`` (RFC 7662)."""

from mintmark.asgi import Incoming, Reply
from mintmark.authority import introspection
from mintmark.authority.core import Authority
from mintmark.oauth.errors import invalid_client
from mintmark.web.client import client_and_form, required
from mintmark.web.rendering import json_reply


async def introspect(authority: Authority, incoming: Incoming) -> Reply:
    """Answer a resource server; it must have authenticated (RFC 7662 §2.1)."""
    client, form = await client_and_form(authority, incoming)
    if not client.is_confidential:
        raise invalid_client("introspection by a public client")
    return json_reply(await introspection.introspect(authority, client, required(form, "token")))
