"""``max_age`` (OIDC Core §3.1.2.1)."""

from mintmark.authority.model import Client
from mintmark.oauth.errors import invalid_request
from mintmark.oauth.parameters import Parameters


def check(parameters: Parameters, _client: Client) -> None:
    """Refuse what is not a non-negative number of seconds."""
    text = parameters.get("max_age")
    if text is not None and not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise invalid_request("max_age must be a non-negative number of seconds")


def max_age(parameters: Parameters) -> int | None:
    """Return the seconds allowed since sign-in, or ``None`` if it does not matter."""
    text = parameters.get("max_age")
    return None if text is None else int(text)
