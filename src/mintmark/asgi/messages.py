"""What comes in and what goes out, as values."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

from mintmark.oauth.discreet import Discreet
from mintmark.oauth.errors import invalid_request
from mintmark.oauth.parameters import Parameters, parse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

MAX_BODY_BYTES: Final = 65_536
MAX_QUERY_BYTES: Final = 16_384
FORM: Final = b"application/x-www-form-urlencoded"

CUT_OFF: Final = "mintmark.cut_off"
"""ASGI extension: a server that can drop a connection at once, unsent bytes and all, offers the function ``now`` here.

Without it, a server asked to close keeps what was not sent, and the connection, for as long as the receiver likes.
"""


async def _for_ever() -> bool:
    return True


class Incoming(Discreet, frozen=True):
    """One request, whole.

    Attributes:
        is_awaited: Asks whether somebody still waits for the answer. Takes some hundredths of a second.
    """

    method: str
    path: str
    query: bytes
    headers: Headers
    body: bytes
    address: str
    is_awaited: Callable[[], Awaitable[bool]] = _for_ever

    def header(self, name: bytes) -> list[str]:
        """Return the values of a header (name in lower case), each as sent."""
        return [value.decode("latin-1") for key, value in self.headers if key == name]

    def parameters(self) -> Parameters:
        """Return the query's parameters.

        Raises:
            OAuthError: ``invalid_request``.
        """
        return parse(self.query)

    def form(self) -> Parameters:
        """Return the body's parameters (RFC 6749 appendix B).

        Raises:
            OAuthError: ``invalid_request``, also for any other content type.
        """
        content_type = next((value for key, value in self.headers if key == b"content-type"), b"")
        if content_type.partition(b";")[0].strip().lower() != FORM:
            raise invalid_request("Send the parameters as application/x-www-form-urlencoded")
        return parse(self.body)


class Reply(Discreet, frozen=True):
    """One response, whole."""

    status: int
    body: bytes = b""
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Stream:
    """One response whose status is 200 and whose body comes in parts; it ends with them.

    Attributes:
        parts: The body. Closed when the response is over, whoever ended it.
        headers: As of a reply.
        patience: Seconds the receiver may take for one part. Who takes longer is cut off, since what waits for it is
            kept in memory.
        stopped: Done when the server stops: the response then ends, whatever is under way.
    """

    parts: AsyncGenerator[bytes, None] = field(repr=False)
    headers: Headers
    patience: float
    stopped: "asyncio.Future[None]"
