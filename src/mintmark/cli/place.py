"""Where an authority listens, and where its issuer says that it does."""

from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from mintmark.config import Settings


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` is this machine, seen from itself."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def direct_port(issuer: str) -> int | None:
    """Return the port of an issuer without a proxy in front: http on loopback."""
    parts = urlsplit(issuer)
    if parts.scheme != "http" or not is_loopback(parts.hostname or ""):
        return None
    return parts.port or 80


def moved(issuer: str, port: int) -> str:
    """Return ``issuer`` at another port."""
    parts = urlsplit(issuer)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return urlunsplit(parts._replace(netloc=f"{host}:{port}"))


def how_to_move(settings: "Settings", port: int) -> str:
    """Say what to set so that the authority listens on ``port``; the issuer moves with it if it names the old one."""
    toml, environment = f"`port = {port}`", f"MINTMARK_PORT={port}"
    # On a database of many nodes this may be the second on one machine: the issuer is theirs.
    if direct_port(settings.issuer) == settings.port and not _is_shared(settings):
        issuer = moved(settings.issuer, port)
        toml, environment = f'both {toml} and `issuer = "{issuer}"`', f"{environment} MINTMARK_ISSUER={issuer}"
    return f"set {toml} in mintmark.toml, or {environment}"


def mismatch(settings: "Settings") -> tuple[str, str] | None:
    """Say what is wrong and what to do where clients are sent to a port on which nobody listens."""
    named = direct_port(settings.issuer)
    if named is None or named == settings.port or _is_shared(settings):
        return None
    other = moved(settings.issuer, settings.port)
    what = f"the issuer {settings.issuer} names port {named}, but port is {settings.port}: clients do not find it"
    return what, f'set `port = {named}` or `issuer = "{other}"` in mintmark.toml, so that both name the same port'


def _is_shared(settings: "Settings") -> bool:
    """Tell whether other nodes may have the same database, and one of them the port that the issuer names."""
    return settings.database.startswith("postgresql://")
