"""Metadata and keys (RFC 8414, OIDC Discovery 1.0, RFC 7517)."""

import hashlib

from mintmark.asgi import Headers, Incoming, Reply
from mintmark.authority import keys as schedule
from mintmark.authority.core import Authority
from mintmark.authority.metadata import metadata as metadata_of
from mintmark.web.rendering import JSON, json_reply


async def metadata(authority: Authority, incoming: Incoming) -> Reply:
    """Return the metadata document; both well-known names serve the same (RFC 9068 §4)."""
    reply = json_reply(metadata_of(authority.policy), headers=JSON)
    return _cacheable(incoming, reply, authority.policy.jwks_lifetime)


async def jwks(authority: Authority, incoming: Incoming) -> Reply:
    """Return the public keys; how long they may be cached follows from the key schedule (ADR 0004)."""
    now = authority.clock.now()
    rows = authority.keyring.rows
    content = {"keys": [row.public_jwk for row in schedule.published(rows, now)]}
    reply = json_reply(content, headers=((b"content-type", b"application/jwk-set+json"), *JSON[1:]))
    return _cacheable(incoming, reply, schedule.jwks_max_age(rows, authority.policy, now))


def _cacheable(incoming: Incoming, reply: Reply, max_age: int) -> Reply:
    """Add ``Cache-Control`` and an ETag; 304 if the caller has it already (RFC 9110 §13.1.2)."""
    etag = f'"{hashlib.sha256(reply.body).hexdigest()[:32]}"'
    headers: Headers = (
        (b"cache-control", b"public, max-age=%d" % max_age),
        (b"etag", etag.encode()),
    )
    known = {tag.strip().removeprefix("W/") for value in incoming.header(b"if-none-match") for tag in value.split(",")}
    if etag in known or "*" in known:
        return Reply(304, b"", headers)
    return Reply(reply.status, reply.body, (*reply.headers, *headers))
