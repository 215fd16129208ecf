"""Only ``code``: nothing that returns an access token from this endpoint (RFC 9700 §2.1.2); two response modes."""

from typing import Final, Literal

from mintmark.authority.model import Client
from mintmark.oauth.errors import OAuthError, invalid_request
from mintmark.oauth.parameters import Parameters

ResponseMode = Literal["query", "form_post"]
RESPONSE_MODES: Final[tuple[ResponseMode, ...]] = ("query", "form_post")


def check(parameters: Parameters, _client: Client) -> None:
    """Refuse any response type but ``code``, and any response mode but ``query`` and ``form_post``."""
    response_type = parameters.get("response_type")
    if response_type is None:
        raise invalid_request("response_type is missing")
    if response_type != "code":
        raise OAuthError("unsupported_response_type", "The response type must be code")
    if parameters.get("response_mode") not in {None, *RESPONSE_MODES}:
        raise invalid_request("The response mode must be query or form_post")


def response_mode(parameters: Parameters) -> ResponseMode:
    """Return how to answer: as asked, or by query, also where what was asked for does not exist."""
    return "form_post" if parameters.get("response_mode") == "form_post" else "query"
