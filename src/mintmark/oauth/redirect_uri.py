"""Redirect URIs: what may be registered, and which presented one equals a registered one.

RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700 §2.1 and §4.1.3.
"""

import re
from typing import Final, Literal
from urllib.parse import urlsplit

ApplicationType = Literal["web", "native"]

MAX_LENGTH: Final = 2048
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
_LOOPBACK: Final = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]))(?::([0-9]{1,5}))?((?:[/?].*)?)", re.ASCII | re.DOTALL)
_PRIVATE_SCHEME: Final = re.compile(r"[a-z][a-z0-9+\-]*(?:\.[a-z0-9+\-]+)+", re.ASCII)
_LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def registration_problem(uri: str, application_type: ApplicationType) -> str | None:
    """Say why ``uri`` may not be registered as a redirect URI, or ``None`` if it may.

    ``https`` always; for native applications also ``http`` on loopback (RFC 8252 §7.3, RFC 9700 §2.6) and a
    private-use scheme in reverse-domain form (RFC 8252 §7.1). No fragment (RFC 6749 §3.1.2), no user info, no wildcard.
    """
    if len(uri) > MAX_LENGTH or not _PRINTABLE.fullmatch(uri) or "\\" in uri:
        return "it must be printable ASCII without backslashes, at most 2048 characters"
    try:
        parts = urlsplit(uri)
        port_is_sound = parts.port is None or parts.port > 0
    except ValueError:
        return "it is not a URI"
    if "#" in uri:
        return "it must not have a fragment"
    if not port_is_sound or "@" in parts.netloc or "*" in uri:
        return "it must have neither user info, nor a wildcard, nor port 0"
    if parts.scheme == "https":
        return None if parts.hostname else "it has no host"
    if application_type == "web":
        return "it must use https; an application on your own machine is registered as native and may use http there"
    if parts.scheme == "http":
        return None if parts.hostname in _LOOPBACK_HOSTS else "http is allowed on loopback only; use https"
    if _PRIVATE_SCHEME.fullmatch(parts.scheme):
        return None
    return "its scheme must be https, http on loopback, or a reverse-domain one such as com.example.app"


def matches(presented: str, registered: tuple[str, ...], application_type: ApplicationType) -> bool:
    """Tell whether ``presented`` is one of ``registered``, character by character.

    The one exception is a native application's loopback IP literal, whose port is chosen when the application
    starts (RFC 8252 §7.3, RFC 9700 §4.1.3); all else of it is compared exactly.
    """
    if presented in registered:
        return True
    if application_type != "native":
        return False
    wanted = _without_port(presented)
    return wanted is not None and any(_without_port(uri) == wanted for uri in registered)


def _without_port(uri: str) -> tuple[str, str] | None:
    match = _LOOPBACK.fullmatch(uri)
    if match is None or "#" in uri or not _PRINTABLE.fullmatch(uri):
        return None
    if match[2] is not None and not 0 < int(match[2]) < 65536:
        return None
    return match[1], match[3]
