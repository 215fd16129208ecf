"""Scope strings and the scopes that OpenID Connect defines (RFC 6749 §3.3, OIDC Core §5.4)."""

from typing import Final

from mintmark.oauth.errors import OAuthError

OPENID_SCOPES: Final = ("openid", "profile", "email", "offline_access")
"""Scopes meaningful to the authority itself; all others belong to a resource."""

MAX_SCOPES: Final = 100

_ALLOWED: Final = frozenset(chr(c) for c in range(0x21, 0x7F)) - {'"', "\\"}


def is_scope_token(name: str) -> bool:
    """Tell whether ``name`` is one scope-token (RFC 6749 §3.3: NQCHAR without space)."""
    return 0 < len(name) <= 256 and _ALLOWED.issuperset(name)


def parse_scope(text: str) -> tuple[str, ...]:
    """Split a scope string into its distinct scopes, first mention first.

    Raises:
        OAuthError: ``invalid_scope`` if a character is not allowed or there are more than 100 scopes.
    """
    scopes = tuple(dict.fromkeys(part for part in text.split(" ") if part))
    if len(scopes) > MAX_SCOPES or not all(map(is_scope_token, scopes)):
        raise OAuthError("invalid_scope", "The scope is malformed")
    return scopes


def format_scope(scopes: tuple[str, ...]) -> str:
    """Join scopes the way the wire writes them."""
    return " ".join(scopes)
