"""Request parameters, read strictly from a query or a form body (RFC 6749 §3.1, §3.2, appendix B)."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes, urlencode

from mintmark.oauth.discreet import Discreet
from mintmark.oauth.errors import invalid_request

MAX_PARAMETERS: Final = 64
_REPEATABLE: Final = "resource"


class Parameters(Discreet, frozen=True):
    """Parameters by name, each at most once; ``resource`` (RFC 8707 §2) is the only one that may repeat."""

    values: dict[str, str]
    resources: tuple[str, ...] = ()

    def get(self, name: str) -> str | None:
        """Return a parameter, or ``None`` if it is absent or empty (RFC 6749 §3.1: the same)."""
        return self.values.get(name)

    def without(self, *names: str) -> "Parameters":
        """Return the same without ``names``."""
        return Parameters({k: v for k, v in self.values.items() if k not in names}, self.resources)

    def replace(self, name: str, value: str) -> "Parameters":
        """Return the same with ``name`` set to ``value``."""
        return Parameters({**self.values, name: value}, self.resources)

    def urlencode(self) -> str:
        """Return them as a query string."""
        return urlencode([*self.values.items(), *((_REPEATABLE, resource) for resource in self.resources)])


def parse(encoded: bytes, *, also: Iterable[bytes] = ()) -> Parameters:
    """Read ``application/x-www-form-urlencoded`` bytes.

    Args:
        encoded: The query string or the body.
        also: Further sources counted as one with it (a query beside a body): a parameter must not occur in both.

    Raises:
        OAuthError: ``invalid_request`` for a parameter that occurs twice, invalid UTF-8, a NUL, or too many of them.
    """
    values: dict[str, str] = {}
    resources: list[str] = []
    try:
        for source in (encoded, *also):
            for name, value in _pairs(source.decode("ascii")):
                if name == _REPEATABLE:
                    if value:
                        resources.append(value)
                elif name in values:
                    raise invalid_request("A parameter occurs more than once", detail="a duplicate parameter")
                else:
                    values[name] = value
    except ValueError as problem:
        # UnicodeDecodeError is a ValueError: bytes that are not UTF-8, or not percent-encoded.
        raise invalid_request("The parameters are not properly form-encoded") from problem
    if "" in values.values():
        values = {name: value for name, value in values.items() if value}
    return Parameters(values, tuple(dict.fromkeys(resources)))


def _pairs(text: str) -> list[tuple[str, str]]:
    """Split form-encoded text; most of it has nothing to decode, and ``parse_qsl`` would cost three times as much."""
    pairs = [(name, value) for name, _, value in (part.partition("=") for part in text.split("&") if part)]
    if len(pairs) > MAX_PARAMETERS:
        raise invalid_request("There are too many parameters")
    if "%" in text or "+" in text:
        pairs = [(_decode(name), _decode(value)) for name, value in pairs]
        if any("\0" in name or "\0" in value for name, value in pairs):
            raise invalid_request("A parameter contains a NUL character")
    elif "\0" in text:
        raise invalid_request("A parameter contains a NUL character")
    return pairs


def _decode(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ")).decode() if "%" in text or "+" in text else text
