"""RP-Initiated Logout 1.0: who is signed out, is the person asked, and where may the browser go afterwards."""

from dataclasses import dataclass
from urllib.parse import urlencode

from mintmark.authority.core import Authority
from mintmark.authority.id_token_hint import Hint, read_hint
from mintmark.authority.model import Session
from mintmark.oauth.errors import invalid_request
from mintmark.oauth.parameters import Parameters


@dataclass(frozen=True, slots=True)
class LogoutRequest:
    """A checked logout request.

    Attributes:
        is_certain: The hint proves that the application speaks of the very session of this browser: do not ask.
        return_to: Where to go afterwards, with ``state``; ``None`` to stay on our own page.
    """

    is_certain: bool
    return_to: str | None


async def read(authority: Authority, parameters: Parameters, session: Session | None) -> LogoutRequest:
    """Check a logout request (RP-Initiated Logout §2, §3).

    A return address counts only if it is registered for the client that a genuine hint or ``client_id`` names, and is
    compared character by character (ASVS 10.6.2).

    Raises:
        OAuthError: ``invalid_request``: tell the person; never redirect.
    """
    token = parameters.get("id_token_hint")
    hint = None if token is None else read_hint(authority, token)
    if token is not None and hint is None:
        raise invalid_request("The application's hint about who is signed in is not valid")
    client_id = parameters.get("client_id")
    if hint is not None and client_id is not None and client_id != hint.client_id:
        raise invalid_request("The application's hint was issued to another application")
    uri = parameters.get("post_logout_redirect_uri")
    return_to = None
    if uri is not None:
        return_to = await _return_to(authority, hint, client_id, uri, parameters.get("state"))
    return LogoutRequest(_is_certain(hint, session), return_to)


def _is_certain(hint: Hint | None, session: Session | None) -> bool:
    return hint is not None and (
        session is None or (hint.subject == session.subject and hint.sid in {None, session.sid})
    )


async def _return_to(
    authority: Authority, hint: Hint | None, client_id: str | None, uri: str, state: str | None
) -> str | None:
    name = hint.client_id if hint is not None else client_id
    client = None if name is None else await authority.store.clients.get(name)
    if client is None or client.disabled_at is not None or uri not in client.post_logout_redirect_uris:
        raise invalid_request("The application's return address after logout is not registered")
    if state is None:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode({'state': state})}"
