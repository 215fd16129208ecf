"""``POST /revoke`` (RFC 7009)."""

from mintmark.asgi import Incoming, Reply
from mintmark.authority import revocation
from mintmark.authority.core import Authority
from mintmark.web.client import client_and_form, required
from mintmark.web.rendering import NO_STORE


async def revoke(authority: Authority, incoming: Incoming) -> Reply:
    """Revoke a token; 200 and nothing else, also if there was nothing to revoke (RFC 7009 §2.2)."""
    client, form = await client_and_form(authority, incoming)
    await revocation.revoke(authority, client, required(form, "token"))
    return Reply(200, b"", NO_STORE)
