"""ID tokens handed back to us as hints (OIDC Core §3.1.2.1, RP-Initiated Logout §2): ours, but perhaps expired."""

from dataclasses import dataclass

from mintmark.authority.core import Authority
from mintmark.authority.model import Client
from mintmark.jose import jws, strict_json
from mintmark.jose.errors import JoseError
from mintmark.oauth.errors import invalid_request


@dataclass(frozen=True, slots=True)
class Hint:
    """What a genuine ID token of ours says."""

    subject: str
    client_id: str
    sid: str | None


def read_hint(authority: Authority, token: str) -> Hint | None:
    """Return what ``token`` says if we signed it as an ID token and its key is still published; else ``None``.

    Its expiry does not matter (RP-Initiated Logout §2 asks to accept an expired one).
    """
    try:
        verified = jws.verify(token, authority.keyring.verification_keys(authority.clock.now()))
        claims = strict_json.loads_object(verified.payload)
    except JoseError:
        return None
    subject, client_id, sid = claims.get("sub"), claims.get("aud"), claims.get("sid")
    # Kinds are not interchangeable (RFC 8725 §3.11): an access token is not a hint.
    if verified.header.get("typ") != "JWT" or claims.get("iss") != authority.policy.issuer:
        return None
    if not isinstance(subject, str) or not isinstance(client_id, str):
        return None
    return Hint(subject, client_id, sid if isinstance(sid, str) else None)


def subject_of_hint(authority: Authority, token: str, client: Client) -> str:
    """Return the person that ``client`` expects to be signed in.

    Raises:
        OAuthError: ``invalid_request`` if the hint is not an ID token that we issued to ``client``.
    """
    hint = read_hint(authority, token)
    if hint is None or hint.client_id != client.client_id:
        raise invalid_request("id_token_hint is not an ID token issued to this client")
    return hint.subject
