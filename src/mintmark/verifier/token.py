"""A verified access token: what it says, and what a route may require of it."""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Self, TypeVar, cast

import msgspec

from mintmark.verifier.errors import RequirementNotMet
from mintmark.verifier.ports import SYSTEM_CLOCK, Clock

_Kept = TypeVar("_Kept")

Names = str | Iterable[str]
"""Space-separated names, or several of them."""


# A struct: one is made for each request whose result is not remembered, and `__init__` would be what takes longest.
# Tracked by the garbage collector it is as large as the `Result` made right after it: they lie side by side, and a hit
# among many remembered results visits one place less, a tenth of its time.
class Token(msgspec.Struct, frozen=True, eq=False):
    """An access token that was verified. Immutable, so that it may be shared between threads and requests.

    What it says is read out of its claims when it is asked for, and kept: most requests ask for little.

    Args:
        claims: Verified: ``iss``, ``aud`` and ``exp`` are there and of the right type. They are taken over; the caller
            does not change them any more. A ``sub``, ``client_id``, ``scope`` or role of another type than it should
            have counts as absent, so it permits nothing.
        clock: Time.
    """

    _claims: dict[str, Any]
    _clock: Clock = SYSTEM_CLOCK
    _frozen_claims: Mapping[str, Any] | None = None
    _scopes: frozenset[str] | None = None
    _roles: frozenset[str] | None = None
    _permissions: frozenset[str] | None = None

    def __reduce__(self) -> tuple[type["Token"], tuple[dict[str, Any]]]:
        # Copies are made of what it says; the default way would change an empty token.
        return type(self), (self._claims,)

    def __repr__(self) -> str:
        said = f"sub={self.sub!r}, client_id={self.client_id!r}, issuer={self.issuer!r}, expires_at={self.expires_at!r}"
        return f"Token({said})"

    @property
    def claims(self) -> Mapping[str, Any]:
        """Everything it says, read only, down to the innermost list."""
        if self._frozen_claims is not None:
            return self._frozen_claims
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
        if self._scopes is not None:
            return self._scopes
        scope = self._claims.get("scope")
        return self._keep("_scopes", frozenset(scope.split(" ") if isinstance(scope, str) else ()) - {""})

    @property
    def roles(self) -> frozenset[str]:
        """Roles the subject holds here."""
        if self._roles is not None:
            return self._roles
        return self._keep("_roles", self._names("roles"))

    @property
    def permissions(self) -> frozenset[str]:
        """What these roles permit."""
        if self._permissions is not None:
            return self._permissions
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
        msgspec.structs.force_setattr(self, name, value)
        return value


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
