"""``prompt`` (OIDC Core §3.1.2.1)."""

from typing import Final

from mintmark.authority.model import Client
from mintmark.oauth.errors import invalid_request
from mintmark.oauth.parameters import Parameters

PROMPTS: Final = ("none", "login", "consent", "select_account")


def check(parameters: Parameters, _client: Client) -> None:
    """Refuse an unknown value, and ``none`` beside another."""
    asked = prompts(parameters)
    if not asked.issubset(PROMPTS):
        raise invalid_request("prompt has an unknown value")
    if "none" in asked and len(asked) > 1:
        raise invalid_request("prompt=none cannot be combined with another value")


def prompts(parameters: Parameters) -> frozenset[str]:
    """Return the values asked for."""
    return frozenset((parameters.get("prompt") or "").split())
