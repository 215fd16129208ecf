"""What the setting ``trusted_proxies`` may be."""

from ipaddress import IPv6Network, ip_network
from typing import Final

_SHORTEST: Final = 8
"""Of a network's length: 10.0.0.0/8 and fd00::/8 belong to somebody, what is larger to nobody."""


def proxy_problem(text: str) -> str | None:
    """Say why ``text`` cannot name trusted proxies, or ``None`` if it can."""
    try:
        network = ip_network(text)
    except ValueError:
        return (
            "must be addresses or networks such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64: no names, no ports, "
            "and no bits of a network's address beyond its length"
        )
    if "%" in text:
        return "must name addresses without a zone"
    if network.prefixlen < _SHORTEST:
        return (
            f"must not name everybody, nor any network larger than /{_SHORTEST}: whoever may be a proxy may say where a "
            "request came from"
        )
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        return "must name IPv4 addresses as such, without ::ffff: before them"
    return None
