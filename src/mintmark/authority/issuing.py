"""Access tokens (RFC 9068) and ID tokens (OpenID Connect Core §2): claims in, signed compact JWTs out."""

import hashlib
from typing import Any, Final

from mintmark.authority.core import Authority
from mintmark.authority.model import Authorization, Client, User
from mintmark.authority.targeting import Landscape, Target, scope_for
from mintmark.jose import base64url, jws, strict_json
from mintmark.jose.algorithms import Algorithm
from mintmark.jose.jwk import Key
from mintmark.oauth.discreet import Discreet
from mintmark.oauth.errors import unavailable
from mintmark.oauth.scope import format_scope

ACCESS_TOKEN_TYPE: Final = "at+jwt"
CLOCK_SKEW: Final = 30
"""Seconds by which clocks may differ before a token looks as if it came from the future."""

_JTI_BYTES: Final = 16
_HALF_HASH: Final[dict[str, str]] = {
    "RS256": "sha256",
    "PS256": "sha256",
    "ES256": "sha256",
    "HS256": "sha256",
    "EdDSA": "sha512",
}


class AccessToken(Discreet, frozen=True):
    """A signed access token and what the token response says of it."""

    value: str
    expires_at: int
    scope: tuple[str, ...]


async def access_token(
    authority: Authority,
    *,
    client: Client,
    subject: str,
    target: Target,
    landscape: Landscape,
    now: int,
    latest_expiry: int | None = None,
    gid: str | None = None,
    authorization: Authorization | None = None,
) -> AccessToken:
    """Issue an access token for ``target.resources``.

    ``exp`` is never past ``latest_expiry``, the grant's absolute end (invariant I5). Roles and permissions are those
    the subject holds at the audience. Nothing personal is in it.

    Raises:
        OAuthError: ``temporarily_unavailable`` if no key of the client's algorithm may sign.
    """
    expires_at = now + client.lifetimes(authority.policy).access_token_lifetime
    if latest_expiry is not None:
        expires_at = min(expires_at, latest_expiry)
    scope = scope_for(target.resources, target.scope, landscape)
    claims: dict[str, Any] = {
        "iss": authority.policy.issuer,
        "sub": subject,
        "aud": target.resources[0] if len(target.resources) == 1 else list(target.resources),
        "exp": expires_at,
        "iat": now,
        # Another node's or a verifier's clock may be a little behind ours.
        "nbf": now - CLOCK_SKEW,
        "jti": base64url.encode(authority.randomness.bytes(_JTI_BYTES)),
        "client_id": client.client_id,
        "scope": format_scope(scope),
    }
    claims |= _role_claims(target, scope, landscape)
    if gid is not None:
        claims["gid"] = gid
    if authorization is not None:
        claims |= _sign_in_claims(authorization)
    alg = client.access_token_signed_response_alg or authority.policy.signing_algorithms[0]
    return AccessToken(await _sign(authority, claims, alg, ACCESS_TOKEN_TYPE, now), expires_at, scope)


async def id_token(
    authority: Authority,
    *,
    client: Client,
    user: User,
    authorization: Authorization,
    sid: str | None,
    nonce: str | None,
    access: AccessToken,
    latest_expiry: int,
    now: int,
) -> str:
    """Issue an ID token that goes with ``access``.

    Profile and email claims are at userinfo; the ID token has those that ``claims.id_token`` asked for by name
    (OIDC Core §5.4, §5.5). ``auth_time``, ``acr``, ``amr`` and ``sub`` are those of the sign-in (OIDC Core §12.2).
    """
    alg = client.id_token_signed_response_alg
    asked = authorization.claims.get("id_token") or {}
    claims: dict[str, Any] = {name: value for name, value in user_claims(user).items() if name in asked}
    claims |= {
        "iss": authority.policy.issuer,
        "sub": user.subject,
        "aud": client.client_id,
        "azp": client.client_id,
        "exp": min(now + authority.policy.id_token_lifetime, latest_expiry),
        "iat": now,
        "at_hash": _at_hash(access.value, alg),
    }
    claims |= _sign_in_claims(authorization)
    if nonce is not None:
        claims["nonce"] = nonce
    if sid is not None:
        claims["sid"] = sid
    return await _sign(authority, claims, alg, "JWT", now)


def user_claims(user: User) -> dict[str, Any]:
    """Return everything that may be said of a person (OIDC Core §5.1)."""
    claims: dict[str, Any] = {"email": user.email, "email_verified": user.email_verified, "updated_at": user.updated_at}
    if user.name:
        claims["name"] = user.name
    return claims


def _role_claims(target: Target, scope: tuple[str, ...], landscape: Landscape) -> dict[str, Any]:
    """Return what the subject's roles say at the one resource the token is for (ADR 0020).

    A token for several resources has none of it: each would take the others' roles for its own. A permission that is
    also a scope is there only if the scope was granted.
    """
    resources = [name for name in target.resources if name != landscape.issuer]
    if len(resources) != 1:
        return {}
    known = landscape.resources[resources[0]]
    roles = [role for role in landscape.roles if role.resource == known.resource]
    held = {permission for role in roles for permission in role.permissions}
    permitted = sorted(p for p in held if p in scope or p not in known.scopes)
    return {"roles": sorted(role.name for role in roles), "permissions": permitted} if roles else {}


def _sign_in_claims(authorization: Authorization) -> dict[str, Any]:
    return {"auth_time": authorization.auth_time, "acr": authorization.acr, "amr": list(authorization.amr)}


def _at_hash(access_token_value: str, alg: Algorithm) -> str:
    """Return the left half of the token's hash (OIDC Core §3.1.3.6)."""
    digest = hashlib.new(_HALF_HASH[alg], access_token_value.encode()).digest()
    return base64url.encode(digest[: len(digest) // 2])


async def _signing_key(authority: Authority, alg: Algorithm, now: int) -> Key:
    """Return the key to sign with; never one whose tokens nobody accepts any more.

    That it was retired elsewhere is heard before the rows are read again (invariant I7).
    """
    key = authority.keyring.signing_key(alg, now)
    if not authority.denylist.revokes({}, key.kid):
        return key
    await authority.keyring.refresh(authority.store)
    key = authority.keyring.signing_key(alg, now)
    if authority.denylist.revokes({}, key.kid):
        raise unavailable(f"{key.kid} was retired, and the database says that it signs", retry_after=5)
    return key


async def _sign(authority: Authority, claims: dict[str, Any], alg: Algorithm, typ: str, now: int) -> str:
    key = await _signing_key(authority, alg, now)
    signing_input = jws.signing_input(strict_json.dumps(claims), key, typ)
    return jws.assemble(signing_input, await authority.signer.sign(key, signing_input))
