"""The ``claims`` parameter (OIDC Core §5.5)."""

from typing import Any, Final

from mintmark.authority.model import Client
from mintmark.jose import strict_json
from mintmark.jose.errors import JoseError
from mintmark.oauth.errors import invalid_request
from mintmark.oauth.parameters import Parameters

MAX_CHARS: Final = 4096
PERSONAL: Final = frozenset({"name", "updated_at", "email", "email_verified"})
"""Claims that say something about the person (OIDC Core §5.1), as far as there are any here."""

_MEMBERS: Final = ("userinfo", "id_token")


def check(parameters: Parameters, _client: Client) -> None:
    """Refuse what is not a claims request."""
    claims(parameters)


def claims(parameters: Parameters) -> dict[str, Any]:
    """Return the claims asked for: ``userinfo`` and ``id_token``, each claim name to ``None`` or an object.

    Raises:
        OAuthError: ``invalid_request`` if it is malformed.
    """
    text = parameters.get("claims")
    if text is None:
        return {}
    problem = invalid_request("claims must be a JSON object as OpenID Connect Core 5.5 describes it")
    if len(text) > MAX_CHARS:
        raise problem
    try:
        asked = strict_json.loads_object(text.encode())
    except JoseError as malformed:
        raise problem from malformed
    members = {name: asked[name] for name in _MEMBERS if asked.get(name) is not None}
    for member in members.values():
        if not isinstance(member, dict) or not all(v is None or isinstance(v, dict) for v in member.values()):
            raise problem
    return members


def values_asked(requested: dict[str, Any], name: str) -> list[str]:
    """Return the values of the ID token's claim ``name`` that a request insists on.

    That is ``value``, or ``values`` where it is essential; what is no text can match nothing and counts as "".
    """
    asked = (requested.get("id_token") or {}).get(name) or {}
    values: list[Any] = [asked["value"]] if "value" in asked else []
    if not values and asked.get("essential") is True and isinstance(asked.get("values"), list):
        values = asked["values"]
    return [value if isinstance(value, str) else "" for value in values]


def names_asked(requested: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of the claims about the person that are asked for, wherever they are to appear."""
    return tuple(sorted({name for member in requested.values() for name in member if name in PERSONAL}))
