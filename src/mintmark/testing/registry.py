"""Who is registered at the issuer in memory: whoever a test names, at the moment it does."""

import threading
from dataclasses import replace
from typing import Any

from mintmark.authority import token as tokens
from mintmark.authority.client_authentication import digest_of, new_secret
from mintmark.authority.derivation import GRANT_ID_BYTES, SALT_BYTES
from mintmark.authority.login import ACR, AMR
from mintmark.authority.model import AuditEvent, Authorization, Client, CodeBinding, Grant, Resource, User
from mintmark.authority.registration import SECRET_BYTES
from mintmark.authority.token import CodeRequest
from mintmark.oauth.scope import OPENID_SCOPES
from mintmark.testing.edge import token_content
from mintmark.testing.issuer import Issuer


class Registry:
    """Registers clients, services, people and grants on demand. Safe to share between threads."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._secrets: dict[str, str] = {}
        self._changing = threading.RLock()

    def client(self, client_id: str, scope: tuple[str, ...], audience: str) -> str:
        """Return the secret of a client that may have ``scope`` at ``audience``."""
        with self._changing:
            self._know_resource(audience, scope)
            registered = self._registered(client_id)
            self._replace(
                registered,
                replace(
                    registered,
                    scope=_with(registered.scope, scope),
                    resources=_with(registered.resources, (audience,)),
                    default_resource=registered.default_resource or audience,
                ),
            )
            return self._secrets[client_id]

    def resource_server(self, names: list[str]) -> tuple[str, str]:
        """Return the credentials of a client that serves ``names``."""
        with self._changing:
            client_id = f"service of {' '.join(names)}"
            registered = self._registered(client_id)
            self._replace(registered, replace(registered, serves=tuple(names)))
            return client_id, self._secrets[client_id]

    def grant(self, subject: str, client_id: str, scope: tuple[str, ...], audience: str) -> dict[str, Any]:
        """Return the token response for a code that ``subject`` allowed the client."""
        authority = self._issuer.authority
        self.client(client_id, scope, audience)
        self._know_person(subject)
        now, randomness = authority.clock.now(), authority.randomness
        registered = self._registered(client_id)
        grant = Grant(
            id=randomness.bytes(GRANT_ID_BYTES),
            client_id=client_id,
            subject=subject,
            sid=None,
            salt=randomness.bytes(SALT_BYTES),
            generation=0,
            authorization=Authorization(scope=scope, resources=(audience,), auth_time=now, acr=ACR, amr=AMR),
            binding=CodeBinding(redirect_uri=None, code_challenge=None, nonce=None),
            created_at=now,
            advanced_at=now,
            idle_expires_at=now + authority.policy.code_lifetime,
            expires_at=now + registered.lifetimes(authority.policy).refresh_token_lifetime,
        )
        audit = AuditEvent(at=now, event="grant.created", client_id=client_id, subject=subject, gid=grant.gid)
        self._issuer.run(authority.store.grants.add(grant, audit))
        code = authority.keyring.secrets.derive("code", grant, 0)
        request = CodeRequest(code=code, redirect_uri=None, code_verifier=None)
        return token_content(self._issuer.run(tokens.token(authority, registered, request)))

    def _registered(self, client_id: str) -> Client:
        authority = self._issuer.authority
        known = self._issuer.run(authority.store.clients.get(client_id))
        if known is not None:
            return known
        secret = new_secret(authority.randomness.bytes(SECRET_BYTES))
        client = Client(
            client_id=client_id,
            name=client_id,
            secret_digests=(digest_of(secret),),
            grant_types=("authorization_code", "refresh_token", "client_credentials"),
        )
        self._issuer.run(authority.store.clients.add(client))
        self._secrets[client_id] = secret
        return client

    def _replace(self, old: Client, new: Client) -> None:
        self._issuer.run(self._issuer.authority.store.clients.replace(old, new))

    def _know_resource(self, name: str, scope: tuple[str, ...]) -> None:
        resources = self._issuer.authority.store.resources
        own = tuple(one for one in scope if one not in OPENID_SCOPES)
        known = self._issuer.run(resources.get(name))
        if known is None:
            self._issuer.run(resources.add(Resource(resource=name, name=name, scopes=own)))
        else:
            self._issuer.run(resources.replace(known, replace(known, scopes=_with(known.scopes, own))))

    def _know_person(self, subject: str) -> None:
        users = self._issuer.authority.store.users
        if self._issuer.run(users.get(subject)) is None:
            self._issuer.run(users.add(User(subject=subject, email=f"{subject}@example.test")))


def _with(known: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return (*known, *(one for one in more if one not in known))
