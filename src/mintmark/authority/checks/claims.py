"""The ``claims`` parameter (OIDC Core §5.5)."""

from typing import Any, Final

from mintmark.authority.model import Client
from mintmark.jose import strict_json
from mintmark.jose.errors import JoseError
from mintmark.oauth.errors import invalid_request
from mintmark.oauth.parameters import Parameters

MAX_CHARS: Final = 4096
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


def values_asked(requested: dict[str, Any], name: str, *, member: str = "id_token") -> list[Any]:
    """Return the values of claim ``name`` that a request insists on: ``value``, or ``values`` where essential."""
    asked = (requested.get(member) or {}).get(name) or {}
    if "value" in asked:
        return [asked["value"]]
    values = asked.get("values")
    return values if asked.get("essential") is True and isinstance(values, list) else []
