"""Who sent a request that came through proxies: ``X-Forwarded-For``, and ``Forwarded`` (RFC 7239).

Rules:
1. A header is a claim of whoever sent the request. It is read only if the peer is a trusted proxy.
2. Every proxy adds at the right. So the walk goes from the right, over trusted proxies, and ends at the first address
   that is none: the client. What stands left of it was written by the client, who may write anything; it is not read.
3. What is no address (``unknown``, ``_hidden``, garbage) ends the walk at the proxy that said it.
4. If both headers are there and lead to different addresses, one of them passed the proxy unread. Nobody can tell which,
   so the peer is what counts.
5. Nothing else that proxies say is read: scheme, host and port are those of the configured issuer.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import structlog

from mintmark.asgi import ASGIApp, Headers, Receive, Scope, Send

Network = IPv4Network | IPv6Network
_Address = IPv4Address | IPv6Address

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
# No standard allows blanks beside the semicolon, but some proxies write them.
_PAIR: Final = re.compile(rf"({_TOKEN})=(?:({_TOKEN})|({_QUOTED}))[ \t]*(?:;[ \t]*|\Z)")
_ESCAPED: Final = re.compile(r"\\(.)")
# RFC 7239 §6: an address with a port, which may be obfuscated. X-Forwarded-For has no standard; IPv6 comes bare, too.
_PORT: Final = r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?"
_NODE: Final = re.compile(rf"(?:([0-9.]+)|\[([0-9A-Fa-f]*:[0-9A-Fa-f:.]*)\]){_PORT}|([0-9A-Fa-f:.]+)", re.ASCII)

log = structlog.get_logger("mintmark.http")


def networks(trusted: Sequence[str]) -> tuple[Network, ...]:
    """Return what ``trusted`` names: addresses and networks, IPv4 or IPv6.

    Raises:
        ValueError: One of them is neither.
    """
    return tuple(ip_network(text) for text in trusted)


def client_address(peer: str, headers: Headers, trusted: Sequence[Network]) -> str:
    """Return the address of the client, as far as it is known for sure.

    Args:
        peer: At the other end of the connection. The peer of a Unix socket has no address, and is not trusted.
        headers: Of the request, names in lower case.
        trusted: Proxies that write down whom a request came from.

    Returns:
        The address in its one canonical form, IPv4 also where it came as IPv6 (``::ffff:192.0.2.1``); ``peer`` itself
        if that is no address.
    """
    nearest, name = _peer(peer)
    if nearest is None or not _is_among(trusted, nearest):
        return name
    said = [
        _walk(nearest, read("".join(values)), trusted)
        for header, read in _HEADERS
        if (values := [f",{value.decode('latin-1')}" for key, value in headers if key == header])
    ]
    return str(said[0] if len(set(said)) == 1 else nearest)


def behind_proxies(application: ASGIApp, trusted: Sequence[str]) -> ASGIApp:
    """Return ``application``, told of the client where the server knows the peer only.

    Args:
        application: Takes the address from ``client`` in the ASGI scope.
        trusted: As for ``networks``.
    """
    known = networks(trusted)

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        if (peer := scope.get("client")) is not None:
            address = client_address(peer[0], scope["headers"], known)
            if address != peer[0]:
                # The port is the proxy's, and says nothing of the client.
                scope = {**scope, "client": (address, 0)}
        await application(scope, receive, send)

    return told


@lru_cache(maxsize=4096)
def _peer(peer: str) -> tuple[_Address | None, str]:
    """Return the address of a peer, and what it is called.

    Remembered: the same few peers send most requests, and what a server calls them is short, unlike what headers say.
    """
    address = _address(peer.partition("%")[0])
    return address, peer if address is None else str(address)


def _walk(nearest: _Address, said: Iterator[_Address | None], trusted: Sequence[Network]) -> _Address:
    for address in said:
        if address is None:
            break
        nearest = address
        if not _is_among(trusted, address):
            break
    return nearest


def _is_among(trusted: Sequence[Network], address: _Address) -> bool:
    return any(address in network for network in trusted)


def _x_forwarded_for(value: str) -> Iterator[_Address | None]:
    """Yield what each proxy said, the last one first; ``None`` for what is no address."""
    end = len(value)
    while end > 0:
        comma = value.rfind(",", 0, end)
        if item := value[comma + 1 : end].strip(" \t"):
            yield _node(item)
        end = comma


def _forwarded(value: str) -> Iterator[_Address | None]:
    """Yield what each proxy said, the last one first; ``None`` for one that said nothing, or not well."""
    end = len(value)
    while end > 0:
        comma = _comma_before(value, end)
        if element := value[comma + 1 : end].strip(" \t"):
            yield _for(element)
        end = comma


def _comma_before(value: str, end: int) -> int:
    """Return where the last comma outside quotes is.

    From the right: a client that opens a quote and does not close it could hide what the proxies add from whoever reads
    from the left.
    """
    is_quoted, at = False, end - 1
    while at >= 0 and (is_quoted or value[at] != ","):
        first = at
        if value[at] == '"':
            while first > 0 and value[first - 1] == "\\":
                first -= 1
            # One that is escaped is part of the text; two backslashes are one that is.
            is_quoted ^= (at - first) % 2 == 0
        at = first - 1
    return at


def _for(element: str) -> _Address | None:
    """Return the address in one element of ``Forwarded`` (RFC 7239 §4)."""
    found, at = [], 0
    while at < len(element):
        pair = _PAIR.match(element, at)
        if pair is None:
            return None
        if pair[1].lower() == "for":
            found.append(pair[2] or _ESCAPED.sub(r"\1", pair[3][1:-1]))
        at = pair.end()
    return _node(found[0]) if len(found) == 1 else None


def _node(text: str) -> _Address | None:
    match = _NODE.fullmatch(text)
    return None if match is None else _address(match[1] or match[2] or match[3])


def _address(text: str) -> _Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


_HEADERS: Final[tuple[tuple[bytes, Callable[[str], Iterator[_Address | None]]], ...]] = (
    (b"x-forwarded-for", _x_forwarded_for),
    (b"forwarded", _forwarded),
)
