"""What is shown in plain language: durations, moments, scopes, browsers, places. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from mintmark.authority.model import Resource

_UNITS: Final = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})

_OPENID: Final = {
    "openid": "Know who you are: an identifier for your account",
    "profile": "See your name",
    "email": "See your email address",
    "offline_access": "Keep this access after you sign out",
}
_CLAIMS: Final = {"name": "profile", "updated_at": "profile", "email": "email", "email_verified": "email"}

# The first that is found: browsers name the ones they descend from as well.
_BROWSERS: Final = (
    (re.compile(r"\bEdg(?:e|A|iOS)?/"), "Edge"),
    (re.compile(r"\bOPR/"), "Opera"),
    (re.compile(r"\bSamsungBrowser/"), "Samsung Internet"),
    (re.compile(r"\b(?:Firefox|FxiOS)/"), "Firefox"),
    (re.compile(r"\b(?:Chrome|Chromium|CriOS|HeadlessChrome)/"), "Chrome"),
    (re.compile(r"\bSafari/"), "Safari"),
)
_SYSTEMS: Final = (
    (re.compile(r"\b(?:iPhone|iPod)\b"), "iPhone"),
    (re.compile(r"\biPad\b"), "iPad"),
    (re.compile(r"\bAndroid\b"), "Android"),
    (re.compile(r"\bWindows\b"), "Windows"),
    (re.compile(r"\bMacintosh\b"), "Mac"),
    (re.compile(r"\bCrOS\b"), "ChromeOS"),
    (re.compile(r"\bLinux\b"), "Linux"),
)
_MAX_AGENT_CHARS: Final = 40


@dataclass(frozen=True, slots=True)
class Permission:
    """What one scope means: words for people; its name and where it counts, if only its resource knows more."""

    text: str
    scope: str = ""
    place: str = ""


def duration(seconds: int) -> str:
    """Return seconds in words, to the two largest units: ``7 days``, ``1 hour and 30 minutes``."""
    parts: list[str] = []
    for size, unit in _UNITS:
        count, rest = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}{'' if count == 1 else 's'}")
        elif parts:
            break
        seconds = rest
        if len(parts) == 2:
            break
    return " and ".join(parts) or "0 seconds"


def moment(at: int) -> str:
    """Return a moment for people."""
    then = datetime.fromtimestamp(at, UTC)
    return f"{then.day} {then:%B %Y, %H:%M} UTC"


def iso(at: int) -> str:
    """Return a moment for machines (the ``datetime`` attribute)."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def permissions(
    scope: Iterable[str], resources: Iterable[Resource], claims: Iterable[Mapping[str, Any]] = ()
) -> tuple[Permission, ...]:
    """Return what ``scope`` lets a client do.

    Args:
        scope: Scopes granted or to be granted.
        resources: Where the scopes count; a scope is shown with the names of those that understand it.
        claims: Members of ``claims`` requests, which may ask for what no scope asks for (OIDC Core §5.5).
    """
    scope, resources = tuple(scope), tuple(resources)
    asked = {name for member in claims for name in member} if "openid" in scope else set()
    besides = {meant for name, meant in _CLAIMS.items() if name in asked}
    found = [Permission(text) for name, text in _OPENID.items() if name in scope or name in besides]
    for name in scope:
        if name not in _OPENID:
            places = ", ".join(resource.name or resource.resource for resource in resources if name in resource.scopes)
            found.append(Permission("", name, places))
    return tuple(found)


def return_place(uri: str) -> str:
    """Return where ``uri`` leads: its host, or that it is an application on this device."""
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"}:
        return f"an app on this device ({parts.scheme})"
    if parts.hostname in _LOOPBACK:
        return f"an app on this device ({parts.netloc})"
    return parts.netloc


def browser(user_agent: str) -> str:
    """Return which browser that is, as far as it says."""
    name = next((name for pattern, name in _BROWSERS if pattern.search(user_agent)), "")
    system = next((name for pattern, name in _SYSTEMS if pattern.search(user_agent)), "")
    if name and system:
        return f"{name} on {system}"
    return name or system or user_agent[:_MAX_AGENT_CHARS] or "Unknown browser"
