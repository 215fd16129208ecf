"""A form from a client that says who it is: what token, introspection and revocation requests have in common."""

from mintmark.asgi import Incoming
from mintmark.authority.client_authentication import authenticate, read_credentials
from mintmark.authority.core import Authority
from mintmark.authority.model import Client
from mintmark.oauth.errors import invalid_request
from mintmark.oauth.parameters import Parameters


async def client_and_form(authority: Authority, incoming: Incoming) -> tuple[Client, Parameters]:
    """Read the form and authenticate its client.

    Raises:
        OAuthError: ``invalid_request`` or ``invalid_client``. Parameters in the URL are refused, since URLs end up in
            logs (RFC 6749 §2.3.1, §3.2).
    """
    if incoming.query:
        raise invalid_request("Send parameters in the body, not in the URL")
    form = incoming.form()
    credentials = read_credentials(incoming.header(b"authorization"), form.values, incoming.address)
    return await authenticate(authority, credentials), form


def required(form: Parameters, name: str) -> str:
    """Return a parameter that must be there.

    Raises:
        OAuthError: ``invalid_request`` naming it.
    """
    value = form.get(name)
    if value is None:
        raise invalid_request(f"{name} is missing")
    return value
