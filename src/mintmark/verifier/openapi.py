"""How an OpenAPI document says that a route wants a token: an OAuth 2.0 scheme with the issuer's addresses.

``openIdConnect`` would say the same by one URL, but tools then show every scope and grant the issuer has, if the browser
may fetch its metadata at all; with ``oauth2`` they show the scopes that the routes ask for.
"""

from typing import Final

from mintmark.verifier.verifier import Verifier

SCHEME: Final = "mintmark"
"""What the scheme is called."""

# Clients learn these from the metadata; a document that is made without asking anybody has to know them.
_AUTHORIZE: Final = "/api/v2/auth/authorize"
_TOKEN: Final = "/api/v2/auth/token"


def endpoints(verifier: Verifier) -> tuple[str, str]:
    """Return the authorization endpoint and the token endpoint of the (first) issuer, to be shown to people."""
    issuer = verifier.issuers[0]
    return issuer + _AUTHORIZE, issuer + _TOKEN
