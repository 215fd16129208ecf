"""The scope must be well formed (RFC 6749 §3.3); what of it is granted is decided in ``targeting``."""

from mintmark.authority.model import Client
from mintmark.oauth.parameters import Parameters
from mintmark.oauth.scope import parse_scope


def check(parameters: Parameters, _client: Client) -> None:
    """Refuse a malformed scope."""
    parse_scope(parameters.get("scope") or "")
