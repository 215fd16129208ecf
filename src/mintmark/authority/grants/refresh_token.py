"""Refreshing (RFC 6749 §6, RFC 9700 §4.14.2): rotation, replay of a lost response, reuse, and a row gone back in time.

presented ≡ generation of the refresh token, current ≡ generation of the row

presented > current       the row went back in time (restore, failover): provably ours, catch up      (I11)
presented = current       rotate; or keep, for a client with stable refresh tokens
presented = current - 1   within the grace: the same successor again, since nobody has used it yet     (I2)
anything older or later   reuse: end the grant                                                         (I3)
"""

from mintmark.authority.decisions import Decision, EndGrant, Proceed, Refuse
from mintmark.authority.model import Client, Grant


def decide(grant: Grant, generation: int, client: Client, *, grace: int, now: int) -> Decision:
    """Decide what presenting the genuine refresh token ``generation`` of ``grant`` does.

    Args:
        grant: The row as it stands.
        generation: Of the token presented.
        client: Who presented it, authenticated.
        grace: Seconds in which the predecessor of the current token is still answered; 0 is strict.
        now: The request's time.
    """
    if grant.client_id != client.client_id:
        return Refuse("refresh token of another client")
    if grant.ended_at is not None:
        return Refuse(f"grant ended: {grant.end_reason}")
    if now >= grant.expires_at:
        return Refuse("grant expired")
    if generation < 1:
        return Refuse("not a refresh token")
    # A public client's refresh token is always rotated (RFC 9700 §2.2.2, ASVS 10.4.5).
    rotates = client.refresh_rotation == "rotate" or not client.is_confidential
    step = 1 if rotates else 0
    if generation > grant.generation:
        # The row's idle limit is as old as the row: only the absolute one can be trusted.
        return Proceed(generation + step, "fast_forwarded")
    # 0 is strict whatever the clocks say: this node's may be behind the one that rotated.
    is_lost_response = generation == grant.generation - 1 and grace > 0 and now < grant.advanced_at + grace
    # Before the idle limit: access tokens may outlive it, and reuse has to end them (I3).
    if generation < grant.generation and not is_lost_response:
        return EndGrant("refresh_reuse")
    if now >= grant.idle_expires_at:
        return Refuse("refresh token idle for too long")
    if is_lost_response:
        return Proceed(grant.generation, "replayed")
    return Proceed(generation + step, "rotated" if rotates else "kept")
