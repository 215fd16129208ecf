"""A verified access token: what it says, and what a route may require of it."""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NoReturn, Self, TypeVar, cast

from mintmark.verifier.errors import RequirementNotMet
from mintmark.verifier.ports import SYSTEM_CLOCK, Clock

_Kept = TypeVar("_Kept")

Names = str | Iterable[str]
"""Space-separated names, or several of them."""


class Token:
    """An access token that was verified. Immutable, so that it may be shared between threads and requests.

    What it says is read out of its claims when it is asked for, and kept: most requests ask for little.

    Args:
        claims: Verified: ``iss``, ``aud`` and ``exp`` are there and of the right type. They are taken over; the caller
            does not change them any more. A ``sub``, ``client_id``, ``scope`` or role of another type than it should
            have counts as absent, so it permits nothing.
        clock: Time.
    """

    __slots__ = ("_claims", "_clock", "_frozen_claims", "_permissions", "_roles", "_scopes")

    _claims: dict[str, Any]
    _clock: Clock
    _frozen_claims: Mapping[str, Any]
    _scopes: frozenset[str]
    _roles: frozenset[str]
    _permissions: frozenset[str]

    def __init__(self, claims: dict[str, Any], clock: Clock = SYSTEM_CLOCK) -> None:
        _set_claims(self, claims)
        _set_clock(self, clock)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a token cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a token cannot be changed")

    def __reduce__(self) -> tuple[type["Token"], tuple[dict[str, Any]]]:
        # Copies are made of what it says; the default way would change an empty token.
        return type(self), (self._claims,)

    def __repr__(self) -> str:
        said = f"sub={self.sub!r}, client_id={self.client_id!r}, issuer={self.issuer!r}, expires_at={self.expires_at!r}"
        return f"Token({said})"

    @property
    def claims(self) -> Mapping[str, Any]:
        """Everything it says, read only, down to the innermost list."""
        try:
            return self._frozen_claims
        except AttributeError:
            return self._keep("_frozen_claims", cast("Mapping[str, Any]", _frozen(self._claims)))

    @property
    def sub(self) -> str:
        """Whom it speaks for: a person, or the client itself."""
        return self._text("sub")

    @property
    def client_id(self) -> str:
        """The application it was issued to."""
        return self._text("client_id")

    @property
    def issuer(self) -> str:
        """Who issued it; a person is this and ``sub`` together."""
        return self._text("iss")

    @property
    def audience(self) -> tuple[str, ...]:
        """The resources it is for."""
        aud = self._claims["aud"]
        return (aud,) if isinstance(aud, str) else tuple(aud)

    @property
    def expires_at(self) -> float:
        """Unix time in seconds; it may still be accepted for the verifier's leeway."""
        return cast("float", self._claims["exp"])

    @property
    def scopes(self) -> frozenset[str]:
        """What the application may do."""
        try:
            return self._scopes
        except AttributeError:
            scope = self._claims.get("scope")
            return self._keep("_scopes", frozenset(scope.split(" ") if isinstance(scope, str) else ()) - {""})

    @property
    def roles(self) -> frozenset[str]:
        """Roles the subject holds here."""
        try:
            return self._roles
        except AttributeError:
            return self._keep("_roles", self._names("roles"))

    @property
    def permissions(self) -> frozenset[str]:
        """What these roles permit."""
        try:
            return self._permissions
        except AttributeError:
            return self._keep("_permissions", self._names("permissions"))

    def require(
        self,
        *,
        scope: Names = (),
        role: Names = (),
        permission: Names = (),
        max_age: int | None = None,
        acr: Names = (),
    ) -> Self:
        """Return this token if it has all that is named, and one of the ``acr``.

        Args:
            scope: Scopes that are all needed.
            role: Roles that are all needed.
            permission: Permissions that are all needed.
            max_age: The person must have signed in at most that many seconds ago (RFC 9470 §4).
            acr: One of these authentication classes is needed (RFC 9470 §4).

        Raises:
            RequirementNotMet: With what would do.
        """
        scopes = names(scope)
        if not self.scopes.issuperset(scopes):
            raise RequirementNotMet("scope", scope=" ".join(scopes))
        if not self.roles.issuperset(names(role)):
            raise RequirementNotMet("role")
        if not self.permissions.issuperset(names(permission)):
            raise RequirementNotMet("permission")
        classes = names(acr)
        if (classes and self._claims.get("acr") not in classes) or not self._is_recent(max_age):
            raise RequirementNotMet("sign-in", acr_values=" ".join(classes) or None, max_age=max_age)
        return self

    def _is_recent(self, max_age: int | None) -> bool:
        if max_age is None:
            return True
        auth_time = self._claims.get("auth_time")
        if isinstance(auth_time, bool) or not isinstance(auth_time, int | float) or not math.isfinite(auth_time):
            return False
        return self._clock.now() - auth_time <= max_age

    def _text(self, name: str) -> str:
        value = self._claims.get(name)
        return value if isinstance(value, str) else ""

    def _names(self, name: str) -> frozenset[str]:
        value = self._claims.get(name)
        return frozenset(one for one in value if isinstance(one, str)) if isinstance(value, list) else frozenset()

    def _keep(self, name: str, value: _Kept) -> _Kept:
        _set(self, name, value)
        return value


_set: Final = object.__setattr__
# By the slots themselves: one token is made for each request whose result is not remembered.
_set_claims: Final = vars(Token)["_claims"].__set__
_set_clock: Final = vars(Token)["_clock"].__set__


def names(given: Names) -> tuple[str, ...]:
    """Return the names one by one."""
    return tuple(given.split()) if isinstance(given, str) else tuple(given)


def _frozen(value: Any) -> Any:
    """Return ``value``, as JSON has it, so that nobody can change it."""
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    if isinstance(value, dict):
        return MappingProxyType({name: _frozen(member) for name, member in value.items()})
    return value
