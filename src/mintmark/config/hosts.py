"""What the settings ``host`` and ``metrics_host`` may be."""

import re
from ipaddress import ip_address
from typing import Final

_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*", re.ASCII)


def host_problem(text: str) -> str | None:
    """Say why ``text`` cannot be listened on, or ``None`` if it can, as far as its form tells."""
    try:
        ip_address(text)
    except ValueError:
        if not _NAME.fullmatch(text):
            return "must be an IP address (IPv6 without brackets) or a host name, without a port"
    return None
