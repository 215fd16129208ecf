"""The client must be registered for authorization codes (RFC 6749 §4.1.2.1)."""

from mintmark.authority.model import Client
from mintmark.oauth.errors import OAuthError
from mintmark.oauth.parameters import Parameters


def check(_parameters: Parameters, client: Client) -> None:
    """Refuse a client that may not use authorization codes."""
    if "authorization_code" not in client.grant_types:
        raise OAuthError("unauthorized_client", "This client may not use authorization codes")
