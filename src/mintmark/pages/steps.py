"""Where the browser goes next in an authorization request. The request itself is all that is carried (ADR 0017)."""

from typing import Final

from mintmark.asgi import Reply
from mintmark.authority.metadata import PATHS
from mintmark.authority.policy import Policy
from mintmark.oauth.parameters import Parameters
from mintmark.pages import rendering

LOGIN: Final = "/login"
CONSENT: Final = "/consent"
ACCOUNT: Final = "/account"
SIGNED_OUT: Final = "/signed-out"
AUTHORIZE: Final = PATHS["authorization_endpoint"]
LOGOUT: Final = PATHS["end_session_endpoint"]

_SATISFIED_BY_SIGN_IN: Final = frozenset({"login", "select_account"})


def with_query(path: str, parameters: Parameters) -> str:
    """Return ``path`` with ``parameters``."""
    query = parameters.urlencode()
    return f"{path}?{query}" if query else path


def after_sign_in(parameters: Parameters) -> Parameters:
    """Return the request without what a fresh sign-in satisfies: else it would ask for another one, for ever."""
    rest = parameters.without("max_age", "prompt")
    left = [value for value in (parameters.get("prompt") or "").split() if value not in _SATISFIED_BY_SIGN_IN]
    return rest.replace("prompt", " ".join(left)) if left else rest


def to_sign_in(policy: Policy, parameters: Parameters) -> Reply:
    """Send the person to sign in."""
    return rendering.see_other(policy, with_query(LOGIN, after_sign_in(parameters)))


def to_consent(policy: Policy, parameters: Parameters) -> Reply:
    """Send the person to allow or deny."""
    return rendering.see_other(policy, with_query(CONSENT, parameters))


def to_authorize(policy: Policy, parameters: Parameters) -> Reply:
    """Go on with the request by GET."""
    return rendering.see_other(policy, with_query(AUTHORIZE, parameters))
