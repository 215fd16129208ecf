"""Rows and JSON documents, and the values they hold. Pure; the same for every SQL store.

JSON is decoded with validation: unknown members are ignored and defaults fill in, so that a document written by the
previous or the next version is understood.
"""

from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec

from mintmark.authority.model import (
    AuditEvent,
    Authorization,
    CodeBinding,
    Consent,
    Grant,
    ServerSecret,
    Session,
    SigningKey,
)
from mintmark.authority.ports import Advance, Lease
from mintmark.oauth.revocations import Revocation

Item = TypeVar("Item")
Column = str | bytes | int | None
Row = tuple[Any, ...]
Parameters = tuple[Column, ...]

_encode: Final = msgspec.json.Encoder().encode
_words: Final = msgspec.json.Decoder(tuple[str, ...])
_strings: Final = msgspec.json.Decoder(dict[str, str])
_detail: Final = msgspec.json.Decoder(dict[str, str | int])


class _Authorization(msgspec.Struct, frozen=True, array_like=True):
    """As it is stored: by position and with the scope as RFC 6749 §3.3 writes it, since there is one in each grant.

    Members are only ever added at the end, with a default.
    """

    scope: str
    resources: tuple[str, ...]
    auth_time: int
    acr: str
    amr: tuple[str, ...]
    claims: dict[str, Any] = {}


_authorization: Final = msgspec.json.Decoder(_Authorization)
_binding: Final = msgspec.json.Decoder(CodeBinding)


class Codec(Generic[Item]):
    """Writes and reads the documents of one type."""

    def __init__(self, kind: type[Item]) -> None:
        self._decoder: msgspec.json.Decoder[Item] = msgspec.json.Decoder(kind)

    def encode(self, item: Item) -> str:
        """Return the document of ``item``."""
        return _text(item)

    def decode(self, document: str) -> Item:
        """Return what ``document`` holds."""
        return self._decoder.decode(document)

    def revise(self, document: str, new: Item) -> str:
        """Return the document of ``new`` with the members of ``document`` that only a newer version knows kept."""
        return _text({**msgspec.json.decode(document, type=dict[str, Any]), **msgspec.to_builtins(new)})


def _text(value: object) -> str:
    return _encode(value).decode()


def _authorization_text(value: Authorization) -> str:
    scope = " ".join(value.scope)
    return _text(_Authorization(scope, value.resources, value.auth_time, value.acr, value.amr, value.claims))


def _authorization_from(text: str) -> Authorization:
    stored = _authorization.decode(text)
    return Authorization(
        scope=tuple(stored.scope.split()),
        resources=stored.resources,
        auth_time=stored.auth_time,
        acr=stored.acr,
        amr=stored.amr,
        claims=stored.claims,
    )


def grant_to_row(grant: Grant) -> Parameters:
    """Return the parameters of ``GRANT_ADD``."""
    spent_at = max(grant.access_expires_at, min(grant.idle_expires_at, grant.expires_at))
    return (
        grant.id,
        grant.client_id,
        grant.subject,
        grant.sid,
        grant.salt,
        grant.generation,
        _authorization_text(grant.authorization),
        None if grant.binding is None else _text(grant.binding),
        grant.created_at,
        grant.advanced_at,
        grant.idle_expires_at,
        grant.expires_at,
        grant.access_expires_at,
        grant.replays,
        grant.ended_at,
        grant.end_reason,
        spent_at if grant.ended_at is None else grant.access_expires_at,
    )


def grant_from_row(row: Row) -> Grant:
    """Return the grant of a row of ``GRANT_GET``."""
    return Grant(
        id=row[0],
        client_id=row[1],
        subject=row[2],
        sid=row[3],
        salt=row[4],
        generation=row[5],
        authorization=_authorization_from(row[6]),
        binding=None if row[7] is None else _binding.decode(row[7]),
        created_at=row[8],
        advanced_at=row[9],
        idle_expires_at=row[10],
        expires_at=row[11],
        access_expires_at=row[12],
        replays=row[13],
        ended_at=row[14],
        end_reason=row[15],
    )


def scope_of(authorization: str) -> tuple[str, ...]:
    """Return the scope in the ``authorization`` column of a grant."""
    return _authorization_from(authorization).scope


def advance_to_row(step: Advance) -> Parameters:
    """Return the parameters of ``GRANT_ADVANCE``."""
    return (
        step.id,
        step.expected,
        step.generation,
        step.at,
        step.idle_expires_at,
        step.access_expires_at,
        1 if step.is_replay else 0,
    )


def session_to_row(session: Session) -> Parameters:
    """Return the parameters of ``SESSION_ADD``."""
    return (
        session.digest,
        session.sid,
        session.subject,
        session.auth_time,
        session.acr,
        _text(session.amr),
        session.user_agent,
        session.idle_expires_at,
        session.expires_at,
    )


def session_from_row(row: Row) -> Session:
    """Return the session of a row of ``SESSION_GET``."""
    return Session(
        digest=row[0],
        sid=row[1],
        subject=row[2],
        auth_time=row[3],
        acr=row[4],
        amr=_words.decode(row[5]),
        user_agent=row[6],
        idle_expires_at=row[7],
        expires_at=row[8],
    )


def consent_to_row(consent: Consent) -> Parameters:
    """Return the parameters of ``CONSENT_PUT``."""
    lists = (_text(consent.scope), _text(consent.resources), _text(consent.claims))
    return consent.subject, consent.client_id, *lists, consent.granted_at


def consent_from_row(row: Row) -> Consent:
    """Return the consent of a row of ``CONSENT_GET``."""
    return Consent(
        subject=row[0],
        client_id=row[1],
        scope=_words.decode(row[2]),
        resources=_words.decode(row[3]),
        claims=_words.decode(row[4]),
        granted_at=row[5],
    )


def signing_key_to_row(key: SigningKey) -> Parameters:
    """Return the parameters of ``SIGNING_KEY_PUT``."""
    return (
        key.kid,
        key.alg,
        _text(key.public_jwk),
        key.wrapped,
        key.published_at,
        key.active_at,
        key.retired_at,
        key.removed_at,
        1 if key.compromised else 0,
    )


def signing_key_from_row(row: Row) -> SigningKey:
    """Return the key of a row of ``SIGNING_KEYS``."""
    return SigningKey(
        kid=row[0],
        alg=row[1],
        public_jwk=_strings.decode(row[2]),
        wrapped=row[3],
        published_at=row[4],
        active_at=row[5],
        retired_at=row[6],
        removed_at=row[7],
        compromised=bool(row[8]),
    )


def server_secret_to_row(secret: ServerSecret) -> Parameters:
    """Return the parameters of ``SERVER_SECRET_ADD``."""
    return secret.version, secret.wrapped, secret.created_at


def server_secret_from_row(row: Row) -> ServerSecret:
    """Return the secret of a row of ``SERVER_SECRETS``."""
    return ServerSecret(version=row[0], wrapped=row[1], created_at=row[2])


def revocation_to_row(revocation: Revocation) -> Parameters:
    """Return kind, value, ``before`` and expiry."""
    return revocation.kind, revocation.value, revocation.before, revocation.expires_at


def revocation_from_row(row: Row) -> Revocation:
    """Return the entry of a row of ``REVOCATIONS_AFTER``."""
    return Revocation(kind=row[0], value=row[1], before=row[2], expires_at=row[3], cursor=row[4])


def audit_to_row(event: AuditEvent) -> Parameters:
    """Return the parameters of ``AUDIT_ADD``."""
    return event.at, event.event, event.client_id, event.subject, event.gid, _detail_text(event.detail)


def audit_from_row(row: Row) -> AuditEvent:
    """Return the event of a row of ``audit_latest``."""
    return AuditEvent(
        at=row[0], event=row[1], client_id=row[2], subject=row[3], gid=row[4], detail=_detail.decode(row[5])
    )


def _detail_text(detail: Mapping[str, str | int]) -> str:
    return _text(detail) if detail else "{}"


def lease_to_row(lease: Lease) -> Parameters:
    """Return the parameters of ``LEASE_ADD``."""
    return lease.name, lease.holder, lease.fence, lease.beat


def lease_from_row(row: Row) -> Lease:
    """Return the lease of a row of ``LEASE_GET``."""
    return Lease(name=row[0], holder=row[1], fence=row[2], beat=row[3])


def lease_change_to_row(expected: Lease, lease: Lease) -> Parameters:
    """Return the parameters of ``LEASE_PUT``."""
    return *lease_to_row(expected), lease.holder, lease.fence, lease.beat


def lease_hold_to_row(lease: Lease) -> Parameters:
    """Return the parameters of ``LEASE_HOLD``."""
    return lease.name, lease.holder, lease.fence
