"""What the setting ``database`` may be where it names PostgreSQL."""

import re
from typing import Final
from urllib.parse import parse_qs, urlsplit

SCHEME: Final = "postgresql://"

_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
_HOST: Final = re.compile(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?", re.ASCII)
_SHAPE: Final = "must be a URL such as postgresql://mintmark@db.example.com:5432/mintmark"


def postgresql_problem(url: str) -> str | None:
    """Say why ``url`` cannot name a PostgreSQL database, or ``None`` if it can.

    The text never repeats the URL: it may hold a password.
    """
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
    except ValueError:
        return _SHAPE
    user, _, hosts = parts.netloc.rpartition("@")
    if not _PRINTABLE.fullmatch(url) or not (hosts or "host" in query):
        return _SHAPE
    found = [
        (":" in user or "password" in query, "have no password: it goes into `database_password`"),
        (hosts and not all(map(_is_host, hosts.split(","))), "name hosts as in db1.example.com:5432,db2.example.com"),
        (
            not parts.path.strip("/") or "/" in parts.path.strip("/"),
            "end with the name of the database, as in /mintmark",
        ),
        (parts.fragment, "have no fragment"),
    ]
    wrong = [text for is_wrong, text in found if is_wrong]
    return f"must {', '.join(wrong)}" if wrong else None


def _is_host(text: str) -> bool:
    found = _HOST.fullmatch(text)
    return found is not None and (found[1] is None or 0 < int(found[1]) < 65536)
