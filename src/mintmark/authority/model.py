"""What the authority knows, as frozen values. ``*_at`` is Unix time in seconds; expiry is exclusive."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from mintmark.authority.policy import BOUNDS, PUBLIC_CLIENT_MAX_GRACE, Classification, Lifetimes, Policy
from mintmark.jose import base64url
from mintmark.jose.algorithms import Algorithm
from mintmark.oauth.redirect_uri import ApplicationType

GrantType = Literal["authorization_code", "refresh_token", "client_credentials"]
AuthMethod = Literal["none", "client_secret_basic", "client_secret_post"]

SUBJECT_PREFIX = "usr_"
"""Every user's subject begins so and no client_id may, so a token's ``sub`` never names the wrong kind (RFC 9068 §5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A registered client (RFC 7591 names where there is one).

    Attributes:
        secret_digests: Base64url SHA-256 of each valid secret; two while a secret is being changed.
        scope: Scopes it may be granted.
        resources: Resource identifiers it may ask tokens for (RFC 8707), the authority itself aside.
        default_resource: The audience when it names none and its scopes decide none.
        serves: Resource identifiers it answers for; it may introspect tokens meant for them.
        roles: Roles it holds itself, for ``client_credentials``.
        skip_consent: First-party: people are not asked.
    """

    client_id: str
    name: str
    token_endpoint_auth_method: AuthMethod = "client_secret_basic"
    secret_digests: tuple[str, ...] = ()
    application_type: ApplicationType = "web"
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    grant_types: tuple[GrantType, ...] = ("authorization_code", "refresh_token")
    scope: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    default_resource: str | None = None
    serves: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    classification: Classification = "confidential"
    refresh_rotation: Literal["rotate", "stable"] = "rotate"
    require_pkce: bool = True
    skip_consent: bool = False
    access_token_lifetime: int | None = None
    refresh_token_lifetime: int | None = None
    refresh_idle_lifetime: int | None = None
    refresh_grace: int | None = None
    access_token_signed_response_alg: Algorithm | None = None
    id_token_signed_response_alg: Algorithm = "RS256"
    created_at: int = 0
    disabled_at: int | None = None

    @property
    def is_confidential(self) -> bool:
        """Whether it can keep a secret and therefore authenticates (RFC 6749 §2.1)."""
        return self.token_endpoint_auth_method != "none"

    def lifetimes(self, policy: Policy) -> Lifetimes:
        """Return the lifetimes in force for it: its own numbers over those of its classification."""
        defaults = policy.lifetimes[self.classification]
        own = {name: value for name in BOUNDS if (value := getattr(self, name)) is not None}
        merged = replace(defaults, **own) if own else defaults
        if self.is_confidential or merged.refresh_grace <= PUBLIC_CLIENT_MAX_GRACE:
            return merged
        return replace(merged, refresh_grace=PUBLIC_CLIENT_MAX_GRACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A protected resource: an audience, the scopes it understands and the permissions it checks.

    A scope that is also one of its permissions is granted only to a subject whose roles carry that permission.
    """

    resource: str
    name: str
    scopes: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    created_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A named bundle of permissions at one resource."""

    name: str
    resource: str
    permissions: tuple[str, ...] = ()
    created_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person who signs in. ``subject`` is random and never reassigned (OIDC Core §8)."""

    subject: str
    email: str
    email_verified: bool = False
    name: str = ""
    password_hash: str = field(default="", repr=False)
    roles: tuple[str, ...] = ()
    created_at: int = 0
    updated_at: int = 0
    disabled_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A browser signed in. The cookie's value is stored as its digest only; ``sid`` is the public name."""

    digest: bytes = field(repr=False)
    sid: str
    subject: str
    auth_time: int
    acr: str
    amr: tuple[str, ...]
    user_agent: str
    idle_expires_at: int
    expires_at: int

    def is_alive(self, now: int) -> bool:
        """Tell whether it still signs its person in."""
        return now < self.idle_expires_at and now < self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeBinding:
    """What only the code's redemption needs; dropped from the row with the code.

    ``redirect_uri`` is ``None`` if the authorization request named none (RFC 6749 §4.1.3).
    """

    redirect_uri: str | None
    code_challenge: str | None
    nonce: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """What a person allowed, and how they had signed in; unchanged for the life of the grant (invariant I5)."""

    scope: tuple[str, ...]
    resources: tuple[str, ...]
    auth_time: int
    acr: str
    amr: tuple[str, ...]
    claims: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One authorization grant, from its code until its last refresh token dies (RFC 6749 §1.3).

    Generation 0 is the code; each refresh token is one generation more. ``advanced_at`` is when the current
    generation came to be; ``idle_expires_at`` until when it may be presented (the code's own life at generation 0);
    ``access_expires_at`` when the last access token issued from it dies.
    """

    id: bytes
    client_id: str
    subject: str
    sid: str | None
    salt: bytes = field(repr=False)
    generation: int
    authorization: Authorization
    binding: CodeBinding | None
    created_at: int
    advanced_at: int
    idle_expires_at: int
    expires_at: int
    access_expires_at: int = 0
    replays: int = 0
    ended_at: int | None = None
    end_reason: str | None = None

    @property
    def gid(self) -> str:
        """Its public id: in access tokens and in grant-level revocations."""
        return base64url.encode(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What a person allowed a client once and for all, until withdrawn; ``claims`` are those asked for by name."""

    subject: str
    client_id: str
    scope: tuple[str, ...]
    resources: tuple[str, ...]
    claims: tuple[str, ...] = ()
    granted_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A signing key and its schedule. ``wrapped`` is the private JWK encrypted under the master key.

    ``retired_at`` and ``removed_at`` are ``None`` until a successor is scheduled.
    """

    kid: str
    alg: Algorithm
    public_jwk: dict[str, str]
    wrapped: bytes = field(repr=False)
    published_at: int
    active_at: int
    retired_at: int | None = None
    removed_at: int | None = None
    compromised: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSecret:
    """One version of the secret from which codes and refresh tokens are derived, encrypted under the master key."""

    version: int
    wrapped: bytes = field(repr=False)
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """Who did what, when. ``detail`` holds no secret and no personal data beyond identifiers."""

    at: int
    event: str
    client_id: str | None = None
    subject: str | None = None
    gid: str | None = None
    detail: dict[str, str | int] = field(default_factory=dict)
