"""``GET /revocations``: the live revocations page by page, or as a stream (ADR 0021)."""

from typing import Final

from mintmark.asgi import Headers, Incoming, Reply, Stream
from mintmark.authority.client_authentication import authenticate, read_credentials
from mintmark.authority.core import Authority
from mintmark.authority.feed import START
from mintmark.authority.model import Client
from mintmark.oauth.errors import OAuthError
from mintmark.web.rendering import NO_STORE
from mintmark.web.streaming import Feed

MAX_PAGE_ENTRIES: Final = 10_000
EVENT_STREAM: Final = "text/event-stream"
_STREAM_HEADERS: Final[Headers] = (
    (b"content-type", EVENT_STREAM.encode()),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    # nginx and others would collect what we send until it fills a buffer.
    (b"x-accel-buffering", b"no"),
)


async def revocations(feed: Feed, authority: Authority, incoming: Incoming) -> Reply | Stream:
    """Answer a resource server with what it has not had yet; as a stream if it accepts ``text/event-stream``."""
    position = incoming.parameters().get("cursor") or START
    client = await _resource_server(authority, incoming)
    if not _wants_stream(incoming):
        return _page(authority, position)
    # Where a reader was when its connection broke counts, not the URL that it began with.
    position = next(filter(None, incoming.header(b"last-event-id")), position)
    return Stream(feed.events(client, position), _STREAM_HEADERS, feed.pace.patience, feed.stopped)


async def _resource_server(authority: Authority, incoming: Incoming) -> Client:
    # Basic only: parameters in the URL end up in logs, and there is no body.
    credentials = read_credentials(incoming.header(b"authorization"), {}, incoming.address)
    client = await authenticate(authority, credentials)
    if not client.serves:
        raise OAuthError(
            "unauthorized_client",
            "Only resource servers may read revocations; register the resources that this client serves",
            detail=f"{client.client_id} serves nothing",
            status=403,
        )
    return client


def _wants_stream(incoming: Incoming) -> bool:
    ranges = (part for value in incoming.header(b"accept") for part in value.split(","))
    return any(part.partition(";")[0].strip().lower() == EVENT_STREAM for part in ranges)


def _page(authority: Authority, position: str) -> Reply:
    log = authority.denylist.log
    page = log.after(log.resume(position), MAX_PAGE_ENTRIES)
    more = b"false" if page.is_last else b"true"
    cursor = log.position(page.cursor).encode()
    return Reply(200, b'{"cursor":"%b","more":%b,"entries":[%b]}' % (cursor, more, page.entries), NO_STORE)
