"""JSON Web Token: claims on top of a JWS, judged at a time that is passed in (RFC 7519, RFC 8725 §3.8 to §3.12).

Expiry is exclusive: a token is dead from `now == exp` on (RFC 7519 §4.1.4).
"""

from collections.abc import Collection, Mapping
from math import isfinite
from typing import Any, Final

from mintmark.jose import jws, strict_json
from mintmark.jose.errors import JoseError
from mintmark.jose.jwk import Key, KeySet

MAX_LEEWAY: Final = 300
"""The largest clock difference a caller may forgive, seconds."""

_ABSENT: Final = object()


def encode(claims: Mapping[str, Any], key: Key, *, typ: str | None) -> str:
    """Sign `claims` and return the compact token.

    Args:
        claims: JSON values by claim name.
        key: a key with private material.
        typ: kind of token, such as `at+jwt` (RFC 8725 §3.11), None for no `typ`.

    Raises:
        JoseError: `bad_key` when the key holds no private material.
        ValueError: for values JSON cannot say (NaN, Infinity).
        TypeError: for types JSON has no form for.
    """
    return jws.sign(strict_json.dumps(claims if type(claims) is dict else dict(claims)), key, typ=typ)


def decode(
    token: str,
    keys: KeySet | Key,
    *,
    typ: str | Collection[str | None],
    issuer: str,
    audience: str | Collection[str] | None,
    now: int,
    leeway: int = 0,
    max_bytes: int = jws.MAX_BYTES,
) -> dict[str, Any]:
    """Verify a token and judge its registered claims; return the claims.

    Args:
        token: the compact form.
        keys: a set to look the `kid` up in, or the one key that must have signed.
        typ: the accepted kinds; case and the prefix `application/` do not matter (RFC 7515 §4.1.9). None among them
            accepts a token without `typ`.
        issuer: the exact `iss`.
        audience: names of ours, one of which `aud` must hold exactly; None where the caller checks `aud` itself.
        now: Unix seconds.
        leeway: clock difference to forgive at `exp` and `nbf`, seconds, 0 to `MAX_LEEWAY`.
        max_bytes: longest token that is looked at, octets.

    Raises:
        JoseError: all of `jws.verify`, `wrong_type`, `missing_claim`, `bad_claim`, `wrong_issuer`, `wrong_audience`,
            `expired`, `not_yet_valid`; where it is about a claim, `.claim` names it.
        ValueError: for a leeway out of bounds.
    """
    verified = jws.verify(token, keys, max_bytes=max_bytes)
    return judge(verified, typ=typ, issuer=issuer, audience=audience, now=now, leeway=leeway)


def judge(
    verified: jws.Verified,
    *,
    typ: str | Collection[str | None],
    issuer: str,
    audience: str | Collection[str] | None,
    now: int,
    leeway: int = 0,
) -> dict[str, Any]:
    """Judge the registered claims of a token whose signature held; return the claims.

    For callers that need to know the key as well; arguments and errors are those of `decode`.
    """
    if not 0 <= leeway <= MAX_LEEWAY:
        raise ValueError("leeway is 0 to 300 seconds")
    # Calls cost as much as what they do here: what is usual is told without one.
    stated = verified.header.get("typ")
    if stated is None or stated != typ:
        _check_type(stated, typ)
    claims = strict_json.loads_object(verified.payload)
    if claims.get("iss") != issuer:
        raise _wrong_issuer(claims)
    stated = claims.get("aud")
    if type(stated) is not str or audience is None or isinstance(audience, str) or stated not in audience:
        _check_audience(claims, audience)
    check_times(claims, now, leeway)
    return claims


def _canonical_type(typ: str) -> str:
    # Some letters outside ASCII fold into it, such as the Kelvin sign into "k".
    if not typ.isascii():
        return typ
    bare = typ.lower().removeprefix("application/")
    # RFC 7515 §4.1.9: the prefix is implied only where no other slash occurs.
    return typ.lower() if "/" in bare else bare


def _check_type(typ: str | None, accepted: str | Collection[str | None]) -> None:
    if isinstance(accepted, str):
        if typ is not None and (typ == accepted or _canonical_type(typ) == _canonical_type(accepted)):
            return
    elif typ is None:
        if None in accepted:
            return
    else:
        canonical = _canonical_type(typ)
        if any(one is not None and _canonical_type(one) == canonical for one in accepted):
            return
    raise JoseError("wrong_type", "not a token of the kind expected here")


def _wrong_issuer(claims: dict[str, Any]) -> JoseError:
    if type(claims.get("iss")) is not str:
        return _missing_or_bad(claims, "iss")
    return JoseError("wrong_issuer", "another issuer", claim="iss")


def _check_audience(claims: dict[str, Any], audience: str | Collection[str] | None) -> None:
    stated = claims.get("aud")
    if type(stated) is str:
        names = [stated]
    elif type(stated) is list and stated and all(type(name) is str for name in stated):
        names = stated
    elif audience is None and "aud" not in claims:
        return
    else:
        raise _missing_or_bad(claims, "aud")
    if audience is None:
        return
    if audience in names if isinstance(audience, str) else not set(names).isdisjoint(audience):
        return
    raise JoseError("wrong_audience", "not meant for us", claim="aud")


def check_times(claims: Mapping[str, Any], now: int, leeway: int = 0) -> None:
    """Judge what changes with time of the claims that `judge` returned.

    Raises:
        JoseError: `expired`, `not_yet_valid`; for claims that were not judged, `missing_claim` and `bad_claim`.
    """
    get = claims.get
    if (exp := get("exp", _ABSENT)) is _ABSENT:
        raise JoseError("missing_claim", "a token must expire", claim="exp")
    if type(exp) is not int or exp < 0:
        _check_date(exp, "exp")
    if now >= exp + leeway:
        raise JoseError("expired", "the token has expired", claim="exp")
    if type(nbf := get("nbf", 0)) is not int or nbf < 0:
        _check_date(nbf, "nbf")
    if now < nbf - leeway:
        raise JoseError("not_yet_valid", "the token is not valid yet", claim="nbf")
    # Only the type: clocks differ, and what limits a token is its expiry.
    if type(iat := get("iat", 0)) is not int or iat < 0:
        _check_date(iat, "iat")


def _check_date(value: Any, name: str) -> None:
    """Refuse what is no NumericDate (RFC 7519 §2), of all that is no `int` from 0 on; true and false are none here."""
    if not (type(value) is float and isfinite(value) and value >= 0):
        raise JoseError("bad_claim", "not a NumericDate", claim=name)


def _missing_or_bad(claims: dict[str, Any], name: str) -> JoseError:
    if name in claims:
        return JoseError("bad_claim", "not of the type the claim has", claim=name)
    return JoseError("missing_claim", "a required claim is missing", claim=name)
