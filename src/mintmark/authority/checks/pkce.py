"""PKCE with S256 (RFC 7636 §4.3-4.4, RFC 9700 §2.1.1); may be switched off for a confidential client only (ADR 0007)."""

from mintmark.authority.model import Client
from mintmark.oauth import pkce
from mintmark.oauth.errors import invalid_request
from mintmark.oauth.parameters import Parameters


def check(parameters: Parameters, client: Client) -> None:
    """Refuse a missing challenge, the method ``plain`` (also by default, RFC 7636 §4.3) and a malformed challenge."""
    challenge, method = parameters.get("code_challenge"), parameters.get("code_challenge_method")
    if challenge is None:
        if method is not None:
            raise invalid_request("code_challenge_method without code_challenge")
        if client.require_pkce or not client.is_confidential:
            raise invalid_request("PKCE is required: send code_challenge with code_challenge_method=S256")
        return
    if method != "S256":
        raise invalid_request("code_challenge_method must be S256")
    if not pkce.is_challenge(challenge):
        raise invalid_request("code_challenge must be the base64url of a SHA-256 digest")
