"""Client credentials (RFC 6749 §4.4): a client on its own behalf. No row, no refresh token."""

from mintmark.authority.model import Client
from mintmark.authority.targeting import Landscape, Target, target
from mintmark.oauth.errors import OAuthError


def decide(client: Client, landscape: Landscape, *, scope: tuple[str, ...], resources: tuple[str, ...]) -> Target:
    """Decide scope and audience of the client's own token.

    Raises:
        OAuthError: ``unauthorized_client`` for a public client (RFC 6749 §4.4), ``invalid_scope``, ``invalid_target``.
    """
    if not client.is_confidential:
        raise OAuthError("unauthorized_client", "This client may not use this grant type")
    return target(scope, resources, client, landscape, with_openid=False)
