"""What the authority says of itself: both metadata documents are one (RFC 8414 §2, OIDC Discovery §3, RFC 9207 §3)."""

from typing import Any, Final

from mintmark.authority.login import ACR
from mintmark.authority.policy import Policy
from mintmark.oauth.scope import OPENID_SCOPES

PREFIX: Final = "/api/v2/auth"
PATHS: Final = {
    "authorization_endpoint": f"{PREFIX}/authorize",
    "token_endpoint": f"{PREFIX}/token",
    "introspection_endpoint": f"{PREFIX}/introspect",
    "revocation_endpoint": f"{PREFIX}/revoke",
    "revocations_endpoint": f"{PREFIX}/revocations",
    "userinfo_endpoint": f"{PREFIX}/userinfo",
    "end_session_endpoint": f"{PREFIX}/logout",
    "jwks_uri": "/.well-known/jwks.json",
}
"""Paths below the issuer. Clients learn them from the metadata."""

_SECRET_METHODS: Final = ["client_secret_basic", "client_secret_post"]


def metadata(policy: Policy) -> dict[str, Any]:
    """Return the metadata document; only what works is in it."""
    return {
        "issuer": policy.issuer,
        **{name: policy.issuer + path for name, path in PATHS.items()},
        "scopes_supported": list(OPENID_SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "form_post"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": list(policy.signing_algorithms),
        "token_endpoint_auth_methods_supported": ["none", *_SECRET_METHODS],
        "introspection_endpoint_auth_methods_supported": _SECRET_METHODS,
        "revocation_endpoint_auth_methods_supported": ["none", *_SECRET_METHODS],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "claims_parameter_supported": True,
        "request_parameter_supported": False,
        # OIDC Discovery §3: true if left out.
        "request_uri_parameter_supported": False,
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "acr_values_supported": [ACR],
        "claims_supported": [
            *("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "azp", "sid"),
            *("name", "updated_at", "email", "email_verified"),
        ],
        "ui_locales_supported": ["en"],
    }
