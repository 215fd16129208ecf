"""Bearer tokens in HTTP, in no framework's words: what was sent, what is required, and what a refusal says.

RFC 6750 §2.1 (how a token is sent), §3 (challenges), RFC 9470 §3 (sign in again), RFC 9728 §5.1 (where to learn more).
Every adapter is a translation of this.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from mintmark.verifier.errors import (
    RequestMalformed,
    RequirementNotMet,
    TokenMissing,
    VerifierError,
    VerifierUnavailable,
)
from mintmark.verifier.judging import POSTURES, OnStale
from mintmark.verifier.token import Names, Token, names
from mintmark.verifier.verifier import Verifier

_BEARER: Final = "bearer"
# RFC 6750 §2.1, b64token.
_TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What a route requires; the members are those of `Token.require`, and what to do while the feed is silent.

    Raises:
        ValueError: ``on_stale`` is no such thing.
    """

    scope: Names = ()
    role: Names = ()
    permission: Names = ()
    max_age: int | None = None
    acr: Names = ()
    on_stale: OnStale | None = None

    def __post_init__(self) -> None:
        # It judges many requests: an iterator would be used up by the first.
        for name in ("scope", "role", "permission", "acr"):
            object.__setattr__(self, name, names(getattr(self, name)))
        if self.on_stale is not None and self.on_stale not in POSTURES:
            raise ValueError(f"on_stale is one of {', '.join(sorted(POSTURES))}")

    def judge(self, token: Token) -> Token:
        """Return ``token`` if it is enough.

        Raises:
            RequirementNotMet: It is not.
        """
        return token.require(
            scope=self.scope, role=self.role, permission=self.permission, max_age=self.max_age, acr=self.acr
        )


log = logging.getLogger("mintmark.verifier")

NOTHING_MORE: Final = Requirement()
"""Any good token will do."""


def sent_token(authorization: Sequence[str]) -> str:
    """Return the token of a request's ``Authorization`` headers, each as it was sent.

    Raises:
        TokenMissing: There is none, or one of another scheme.
        RequestMalformed: There are several, or not one token.
    """
    if not authorization:
        raise TokenMissing
    if len(authorization) > 1:
        raise RequestMalformed
    scheme, _, value = authorization[0].strip(" \t").partition(" ")
    if scheme.lower() != _BEARER:
        raise TokenMissing
    value = value.strip(" ")
    if not _TOKEN.fullmatch(value):
        raise RequestMalformed
    return value


def authorize(verifier: Verifier, authorization: Sequence[str], requirement: Requirement = NOTHING_MORE) -> Token:
    """Return the token of a request that may go on.

    Raises:
        VerifierError: It may not; see `refusal`.
    """
    try:
        return requirement.judge(verifier.verify(sent_token(authorization), on_stale=requirement.on_stale))
    except VerifierError as error:
        _say(error)
        raise


async def aauthorize(
    verifier: Verifier, authorization: Sequence[str], requirement: Requirement = NOTHING_MORE
) -> Token:
    """Return the token of a request that may go on, as `authorize` does, without blocking the event loop.

    Raises:
        VerifierError: It may not; see `refusal`.
    """
    try:
        return requirement.judge(await verifier.averify(sent_token(authorization), on_stale=requirement.on_stale))
    except VerifierError as error:
        _say(error)
        raise


def _say(error: VerifierError) -> None:
    # The texts are ours: codes and names of claims, nothing that was sent.
    log.info("refused with %d: %s", error.status, str(error) or type(error).__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The HTTP response to a request that may not go on."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)


def refusal(error: VerifierError, *, realm: str | None = None, resource_metadata: str | None = None) -> Refusal:
    """Return what to answer.

    Args:
        error: Why.
        realm: Names the protected space (RFC 9110 §11.5); printable ASCII without quotes.
        resource_metadata: URL of this resource's metadata (RFC 9728 §5.1).
    """
    headers = [("content-type", "application/json"), ("cache-control", "no-store")]
    if error.status in {400, 401, 403}:
        headers.append(("www-authenticate", _challenge(error, realm, resource_metadata)))
    if isinstance(error, VerifierUnavailable):
        headers.append(("retry-after", str(error.retry_after)))
    body = {"error": error.error or "unauthorized", "error_description": error.description}
    return Refusal(error.status, tuple(headers), msgspec.json.encode(body))


def _challenge(error: VerifierError, realm: str | None, resource_metadata: str | None) -> str:
    parameters: list[tuple[str, str | None]] = [("realm", realm), ("error", error.error)]
    if error.error is not None:
        parameters.append(("error_description", error.description))
    if isinstance(error, RequirementNotMet):
        parameters += [
            ("scope", error.scope),
            ("acr_values", error.acr_values),
            ("max_age", None if error.max_age is None else str(error.max_age)),
        ]
    parameters.append(("resource_metadata", resource_metadata))
    said = ", ".join(f'{name}="{value}"' for name, value in parameters if value is not None)
    return f"Bearer {said}" if said else "Bearer"
