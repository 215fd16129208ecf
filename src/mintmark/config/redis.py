"""What the setting ``redis`` may be."""

import re
from typing import Final
from urllib.parse import urlsplit

_DATABASE: Final = re.compile(r"/?|/(?:0|[1-9][0-9]{0,4})", re.ASCII)
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)


def redis_problem(url: str) -> str | None:
    """Say why ``url`` cannot name a Redis, or ``None`` if it can.

    The text never repeats the URL: it may hold a password.
    """
    try:
        parts = urlsplit(url)
        port, host, password = parts.port, parts.hostname, parts.password
    except ValueError:
        return _SHAPE
    if not _PRINTABLE.fullmatch(url) or parts.scheme not in {"redis", "rediss"} or not host or port == 0:
        return _SHAPE
    found = [
        (password is not None, "have no password: it goes into `redis_password`"),
        ("?" in url or "#" in url, "have no query and no fragment"),
        (not _DATABASE.fullmatch(parts.path), "end with the number of a database, as in /0, or with the port"),
    ]
    wrong = [text for is_wrong, text in found if is_wrong]
    return f"must {', '.join(wrong)}" if wrong else None


def redis_database(url: str) -> int:
    """Return the number of the database that a sound ``url`` names."""
    return int(urlsplit(url).path.strip("/") or 0)


_SHAPE: Final = "must be a URL such as redis://redis.example.com:6379/0, or rediss://… for TLS"
