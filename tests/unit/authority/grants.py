"""Values that the pure parts of the authority decide about."""

from typing import Any

from mintmark.authority.model import Authorization, Client, CodeBinding, Grant
from mintmark.oauth.pkce import challenge_of

NOW = 1_700_000_000
CALLBACK = "https://app.example/callback"
VERIFIER = "v" * 43


def client(**members: Any) -> Client:
    return Client(**{"client_id": "web", "name": "Web app", "redirect_uris": (CALLBACK,), **members})


PUBLIC = client(token_endpoint_auth_method="none")
STABLE = client(refresh_rotation="stable")


def code(**members: Any) -> Grant:
    """A grant whose code was just issued."""
    values: dict[str, Any] = {
        "id": b"i" * 16,
        "client_id": "web",
        "subject": "usr_ada",
        "sid": "sid",
        "salt": b"s" * 16,
        "generation": 0,
        "authorization": Authorization(scope=("openid",), resources=(), auth_time=NOW, acr="pwd", amr=("pwd",)),
        "binding": binding(),
        "created_at": NOW,
        "advanced_at": NOW,
        "idle_expires_at": NOW + 60,
        "expires_at": NOW + 10_000,
    }
    return Grant(**{**values, **members})


def refreshed(generation: int, **members: Any) -> Grant:
    """A grant whose refresh token ``generation`` was just issued."""
    return code(**{"generation": generation, "binding": None, "idle_expires_at": NOW + 1000, **members})


def binding(**members: Any) -> CodeBinding:
    return CodeBinding(
        **{"redirect_uri": CALLBACK, "code_challenge": challenge_of(VERIFIER), "nonce": "n0nce", **members}
    )
