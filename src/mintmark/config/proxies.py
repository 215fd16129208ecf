"""What the setting ``trusted_proxies`` may be."""

from ipaddress import IPv6Network, ip_network


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
    if network.prefixlen == 0:
        return "must not name everybody: whoever may be a proxy may say where a request came from"
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        return "must name IPv4 addresses as such, without ::ffff: before them"
    return None
