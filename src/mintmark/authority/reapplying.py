"""Writing back what a store that went back in time has forgotten (invariant I11, ADR 0027).

A restored backup, or an asynchronous standby that took over, lacks the revocations of its last moments, and the rows
of the grants they ended are live again. What a node still knows, from memory or by the stream, is done again. Every
step may be repeated, and several nodes may take it at once.
"""

from typing import Final

from mintmark.authority import keyring as keyrings
from mintmark.authority.core import Authority
from mintmark.authority.model import AuditEvent
from mintmark.authority.ports import GrantSelector, StoreUnavailableError
from mintmark.jose import base64url
from mintmark.jose.errors import JoseError
from mintmark.oauth.errors import OAuthError
from mintmark.oauth.revocations import KEPT_BEYOND_EXPIRY, Revocation

SWEPT_EARLY: Final = 30
"""Seconds by which the clock of the node that sweeps may be ahead: what it swept was not lost."""
EVENT: Final = "revocation.reapplied"


async def reapply(authority: Authority) -> int:
    """Write back what the store forgot and is still needed, and end the grants again; return how many entries.

    Raises:
        StoreUnavailableError: The rest is still to be done.
        OAuthError: ``temporarily_unavailable``: so is it.
        Exception: Any other: an entry that no store takes. It holds up none of the others, and is not tried again.
    """
    denylist, written, fault = authority.denylist, 0, None
    for entry in list(denylist.forgotten.values()):
        if entry.expires_at + KEPT_BEYOND_EXPIRY <= authority.clock.now() + SWEPT_EARLY:
            denylist.give_up(entry)
            continue
        try:
            is_written = await _write_back(authority, entry)
        except (StoreUnavailableError, OAuthError):
            raise
        except Exception as problem:  # noqa: BLE001 - told in the end
            denylist.give_up(entry)
            fault = problem
            continue
        if is_written:
            denylist.note_reapplied(entry)
            written += 1
    # Shows that all of it is there, and puts it on the feed.
    await denylist.pull(authority.store)
    if fault is not None:
        raise fault
    return written


async def _write_back(authority: Authority, entry: Revocation) -> bool:
    """Do ``entry`` again; tell whether it was needed: another node may have been quicker."""
    await authority.denylist.pull(authority.store)
    if not authority.denylist.is_forgotten(entry):
        return False
    match entry.kind:
        case "gid":
            if (selector := await _live_grant(authority, entry)) is not None:
                return await _end(authority, selector, entry) > 0  # the entry goes with it
        case "kid":
            if await _retire_key(authority, entry):
                return True
        case "sub":
            await _end_grants(authority, GrantSelector(subject=entry.value), entry)
        case "client_id":
            await _end_grants(authority, GrantSelector(client_id=entry.value), entry)
        case "jti":
            pass
    await authority.store.revocations.add(entry, _event(authority, entry))
    return True


async def _live_grant(authority: Authority, entry: Revocation) -> GrantSelector | None:
    """Return what selects the grant that ``entry`` names; ``None`` if there is none, or it has ended."""
    try:
        grant_id = base64url.decode(entry.value)
    except JoseError:
        return None
    grant = await authority.store.grants.get(grant_id)
    return None if grant is None or grant.ended_at is not None else GrantSelector(id=grant_id)


async def _retire_key(authority: Authority, entry: Revocation) -> bool:
    """Take the key that ``entry`` names out of use, and write the entry with it; tell whether it was in use."""
    # What the keyring read last may be from before the store went back.
    await authority.keyring.refresh(authority.store)
    keyring, store, clock = authority.keyring, authority.store, authority.clock
    return await keyrings.retire_emergency(keyring, store, clock, entry.value) is not None


async def _end_grants(authority: Authority, selector: GrantSelector, entry: Revocation) -> None:
    """End the live grants that are as old as what ``entry`` revokes."""
    for grant in await authority.store.grants.live(selector, authority.clock.now()):
        if entry.before is None or grant.created_at <= entry.before:
            await _end(authority, GrantSelector(id=grant.id), entry)


async def _end(authority: Authority, selector: GrantSelector, entry: Revocation) -> int:
    return await authority.store.grants.end(
        selector,
        reason="revocation_reapplied",
        at=authority.clock.now(),
        revoke_until=entry.expires_at,
        audit=_event(authority, entry),
    )


def _event(authority: Authority, entry: Revocation) -> AuditEvent:
    return AuditEvent(
        at=authority.clock.now(),
        event=EVENT,
        client_id=entry.value if entry.kind == "client_id" else None,
        subject=entry.value if entry.kind == "sub" else None,
        gid=entry.value if entry.kind == "gid" else None,
        detail={"kind": entry.kind, "value": entry.value},
    )
