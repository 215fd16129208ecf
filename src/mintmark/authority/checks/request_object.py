"""Request objects and registration by request are not offered (OIDC Core §6, §7.2.1; RFC 9101)."""

from mintmark.authority.model import Client
from mintmark.oauth.errors import OAuthError
from mintmark.oauth.parameters import Parameters


def check(parameters: Parameters, _client: Client) -> None:
    """Refuse ``request``, ``request_uri`` and ``registration`` with the codes that OIDC Core §3.1.2.6 has for them."""
    if parameters.get("request"):
        raise OAuthError("request_not_supported", "Request objects are not supported")
    if parameters.get("request_uri"):
        raise OAuthError("request_uri_not_supported", "Request objects by reference are not supported")
    if parameters.get("registration"):
        raise OAuthError("registration_not_supported", "Registration by request is not supported")
