"""For how long an HTTP answer may be used (RFC 9111 §5.2.2)."""

import re
from collections.abc import Mapping
from typing import Final

_MIN_LIFETIME: Final = 30.0
_MAX_LIFETIME: Final = 3600.0
_MAX_AGE: Final = re.compile(r'(?:^|[\s,])max-age\s*=\s*"?([0-9]{1,9})', re.IGNORECASE)
_UNCACHED: Final = re.compile(r"(?:^|[\s,])no-(?:store|cache)\b", re.IGNORECASE)


def lifetime_of(headers: Mapping[str, str], default: float) -> float:
    """Return how long an answer may be used (RFC 9111 §5.2.2, §5.1), within our own bounds.

    Args:
        headers: Of the answer.
        default: Seconds, if the answer does not say.
    """
    control = headers.get("cache-control", "")
    stated = _MAX_AGE.search(control)
    seconds = float(stated[1]) if stated else default
    age = headers.get("age", "")
    if stated and age.isascii() and age.isdigit():
        # It has been in somebody's cache for so long already.
        seconds -= float(age[:9])
    if _UNCACHED.search(control):
        seconds = 0.0
    return min(max(seconds, _MIN_LIFETIME), _MAX_LIFETIME)
