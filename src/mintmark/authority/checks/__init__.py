"""The checks of an authorization request, one file each, in the order of this table.

They run once client and redirect URI are known to be good, so each failure goes back to the client by redirect
(RFC 6749 §4.1.2.1). A check is ``(parameters, client) -> None`` and raises ``OAuthError``. An endpoint that takes
authorization requests in another way (pushed, for a device) adds a column.
"""

from collections.abc import Callable
from typing import Final

from mintmark.authority.checks import claims, grant_type, max_age, pkce, prompt, request_object, response_type, scope
from mintmark.authority.model import Client
from mintmark.oauth.parameters import Parameters

Check = Callable[[Parameters, Client], None]

CHECKS: Final[tuple[Check, ...]] = (
    request_object.check,
    response_type.check,
    grant_type.check,
    pkce.check,
    scope.check,
    prompt.check,
    max_age.check,
    claims.check,
)
