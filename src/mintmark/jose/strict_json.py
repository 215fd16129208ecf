"""JSON objects as JOSE wants them: UTF-8, one object, unique member names (RFC 7515 §4, RFC 7519 §4, RFC 8259, RFC 7493)."""

import json
from math import isfinite
from typing import Any, Final

import msgspec

from mintmark.jose.errors import JoseError

MAX_DEPTH: Final = 32
"""Levels of objects and arrays, the outermost object being the first."""

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


def loads_object(raw: bytes) -> dict[str, Any]:
    """Parse one JSON object.

    Raises:
        JoseError: `malformed` for anything that is not UTF-8, not JSON, not an object, deeper than `MAX_DEPTH`,
            holds NaN, Infinity or a number out of range, or names a member twice at any level.
    """
    try:
        value = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = None
    if type(value) is not dict:
        raise JoseError("malformed", "not a JSON object")
    # So few brackets cannot nest deeper: counting spares the walk, and looking whether there is a second brace is faster
    # than counting them.
    if raw.count(b"[") + (raw.count(b"{") if raw.find(b"{", 1) > 0 else 1) > MAX_DEPTH and _is_too_deep(value):
        raise JoseError("malformed", "JSON is nested too deeply")
    # The decoder keeps the last of two equal names. A text that encodes back to itself lost nothing, so it held no
    # duplicate; every compact encoder writes such text. Only other texts pay for the slow and exact check.
    if _encode(value) != raw and _repeats_a_name(raw):
        raise JoseError("malformed", "a JSON member name occurs twice")
    return value


def dumps(value: Any) -> bytes:
    """Encode `value` as compact JSON.

    Raises:
        ValueError: for NaN and Infinity, which JSON cannot say, and for text that UTF-8 cannot say.
        TypeError: for a type JSON has no form for.
    """
    raw = _encode(value)
    # msgspec writes NaN and Infinity as null: without a null in the text there was none.
    if b"null" in raw and _holds_non_finite(value):
        raise ValueError("JSON has no NaN and no Infinity")
    return raw


def _children(node: Any) -> Any:
    return node.values() if isinstance(node, dict) else node


def _is_too_deep(value: dict[str, Any]) -> bool:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _children(node) if isinstance(child, (dict, list))]
        if not level:
            return False
    return True


def _holds_non_finite(value: Any) -> bool:
    pending = [value]
    while pending:
        node = pending.pop()
        if isinstance(node, (dict, list, tuple)):
            pending.extend(_children(node))
        elif isinstance(node, float) and not isfinite(node):
            return True
    return False


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("duplicate")


# Numbers stay text: this pass only looks at names.
_scan: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_int=str, parse_float=str).decode


def _repeats_a_name(raw: bytes) -> bool:
    try:
        _scan(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return True
    return False
