"""Redeeming an authorization code (RFC 6749 §4.1.3, RFC 7636 §4.6): generation 0 of a grant becomes generation 1."""

from mintmark.authority.decisions import Decision, EndGrant, Proceed, Refuse
from mintmark.authority.model import Client, Grant
from mintmark.oauth import pkce


def decide(
    grant: Grant,
    generation: int,
    client: Client,
    *,
    redirect_uri: str | None,
    code_verifier: str | None,
    now: int,
) -> Decision:
    """Decide what presenting the genuine code of ``grant`` does.

    A second redemption ends the grant (RFC 6749 §4.1.2, invariant I1), whoever of the two was the thief. A wrong
    verifier or redirect URI leaves the code alone: it proves nothing about who has it.
    """
    if grant.client_id != client.client_id:
        return Refuse("code of another client")
    if grant.ended_at is not None:
        return Refuse(f"grant ended: {grant.end_reason}")
    if generation != 0:
        return Refuse("not a code")
    if grant.generation > 0 or grant.binding is None:
        return EndGrant("code_reuse")
    if now >= min(grant.idle_expires_at, grant.expires_at):
        return Refuse("code expired")
    # RFC 6749 §4.1.3: identical if it was in the authorization request; a lone registered one may be left out in both.
    if grant.binding.redirect_uri != redirect_uri:
        return Refuse("redirect_uri differs from the authorization request")
    challenge = grant.binding.code_challenge
    if challenge is None:
        # RFC 9700 §4.8.2: a verifier without an earlier challenge means that somebody stripped the challenge.
        return Proceed(1, "redeemed") if code_verifier is None else Refuse("verifier without a challenge")
    if code_verifier is None or not pkce.verifies(code_verifier, challenge):
        return Refuse("code_verifier does not match")
    return Proceed(1, "redeemed")
