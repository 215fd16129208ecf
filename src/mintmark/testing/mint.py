"""The issuer that the tests of a service hold in their hand."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self
from weakref import WeakSet

from mintmark.authority import revocation
from mintmark.authority.derivation import GRANT_ID_BYTES, parse
from mintmark.authority.issuing import ACCESS_TOKEN_TYPE, CLOCK_SKEW
from mintmark.authority.login import ACR, AMR
from mintmark.authority.model import Client
from mintmark.jose import base64url, jws, strict_json
from mintmark.jose.errors import JoseError
from mintmark.testing.edge import Edge
from mintmark.testing.issuer import Issuer, StandingClock
from mintmark.testing.keys import ALGORITHM
from mintmark.testing.registry import Registry
from mintmark.testing.transport import MemoryTransport, Trouble
from mintmark.verifier.token import Names
from mintmark.verifier.verifier import Verifier

_BETWEEN_ATTEMPTS: Final = 5.0
"""Seconds a verifier lets pass between two fetches for keys it does not know."""

_SWEPT_AT_ONCE: Final = 10_000


class Mint:
    """An authority in memory: real keys, tokens and revocations; no network, no thread, no waiting.

    Time stands still, from the moment it is made, until `clock` moves it. Keys are made at the first use, and lent by
    one mint of the process to the next: use it as a context manager, or let go of it.

    Args:
        issuer: Its identifier: the ``iss`` of its tokens.
        audience: For whom its tokens are unless told otherwise.

    Attributes:
        issuer: As given.
        audience: As given; while a verifier is adopted, that one's name.
        transport: The way to it, for anything that takes a `mintmark.verifier.ports.Transport`.
    """

    def __init__(self, issuer: str = "https://mint.test", audience: str = "https://api.test") -> None:
        self.issuer: Final = issuer
        self.audience = audience
        self._clock = StandingClock()
        self._issuer = Issuer(issuer, self._clock)
        self._registry = Registry(self._issuer)
        self.transport: Final = MemoryTransport(Edge(self._issuer))
        self._verifiers: WeakSet[Verifier] = WeakSet()

    def token(
        self,
        *,
        sub: str | None = "ada",
        scope: Names | None = "",
        roles: Names | None = (),
        permissions: Names | None = (),
        client_id: str | None = "app",
        audience: str | Iterable[str] | None = None,
        expires_in: int | None = 900,
        **claims: Any,
    ) -> str:
        """Return an access token as the authority signs them (RFC 9068 §2).

        ``None`` leaves a claim out, for whichever argument but ``audience``: that is ``aud=None``.

        Args:
            sub: Whom it speaks for; the same as ``client_id`` for a client that acts for itself.
            scope: What the application may do.
            roles: Roles the subject holds.
            permissions: What these roles permit.
            client_id: The application.
            audience: For whom it is; the mint's own audience unless named.
            expires_in: Seconds until it expires; negative for one that has expired already.
            claims: Instead of what would be there, or besides it.
        """
        now = self._clock.now()
        names = [audience] if isinstance(audience, str) else list(audience or [self.audience])
        content: dict[str, Any] = {
            "iss": self.issuer,
            "sub": sub,
            "aud": names[0] if len(names) == 1 else names,
            "exp": None if expires_in is None else now + expires_in,
            "iat": now,
            "nbf": now - CLOCK_SKEW,
            "jti": self._unpredictable(),
            "client_id": client_id,
            "scope": None if scope is None else " ".join(_split(scope)),
        }
        if roles or permissions:
            content |= {
                "roles": None if roles is None else _split(roles),
                "permissions": None if permissions is None else _split(permissions),
            }
        if sub != client_id:
            content |= {"gid": self._unpredictable(), "auth_time": now, "acr": ACR, "amr": list(AMR)}
        return self._signed({name: value for name, value in (content | claims).items() if value is not None})

    def headers(self, **token: Any) -> dict[str, str]:
        """Return the header of a request with such a `token` (RFC 6750 §2.1)."""
        return {"Authorization": f"Bearer {self.token(**token)}"}

    def tokens(self, *, sub: str = "ada", scope: Names = "", client_id: str = "app") -> dict[str, Any]:
        """Return the token response of a new grant: what a client gets once a person has signed in and agreed.

        The refresh token is good at the token endpoint, for the confidential client ``client_id``: it is registered if
        it is not, and `client` returns its secret.
        """
        return self._registry.grant(sub, client_id, tuple(_split(scope)), self.audience)

    def client(self, client_id: str = "app", *, scope: Names = "") -> str:
        """Return the secret of a client that may get tokens with ``scope`` for the mint's audience.

        It is registered if it is not, and keeps what it may do already. It may use the grants ``refresh_token`` and
        ``client_credentials``.
        """
        return self._registry.client(client_id, tuple(_split(scope)), self.audience)

    def verifier(self, audience: str | Iterable[str] | None = None, **options: Any) -> Verifier:
        """Return a new verifier that trusts this mint and hears of its revocations.

        Args:
            audience: Instead of the mint's audience.
            options: Of `Verifier`: ``on_stale``, ``introspect``, ``leeway``. With ``client_id=None`` it is one that
                is not registered, and hears of no revocation.
        """
        names = [audience] if isinstance(audience, str) else list(audience or [self.audience])
        client_id, client_secret = self._registry.resource_server(names)
        given = {"client_id": client_id, "client_secret": client_secret}
        if "client_id" in options and "client_secret" not in options:
            del given["client_secret"]
        verifier = Verifier(self.issuer, names, transport=self.transport, clock=self._clock, **{**given, **options})
        self._verifiers.add(verifier)
        verifier.catch_up()
        return verifier

    @contextmanager
    def adopt(self, verifier: Verifier) -> Iterator[Verifier]:
        """Let ``verifier`` trust this mint, and nobody else, while the context lasts.

        It is the application's own, made for a real issuer, from the environment perhaps: the mint registers it as
        the resource server it is, keeps its audience and its options, and makes tokens for it as long as that.
        """
        names = sorted(verifier.audience)
        client_id, client_secret = self._registry.resource_server(names)
        audience, self.audience = self.audience, names[0]
        try:
            with verifier.trusting(
                self.issuer,
                client_id=client_id,
                client_secret=client_secret,
                transport=self.transport,
                clock=self._clock,
            ):
                self._verifiers.add(verifier)
                verifier.catch_up()
                yield verifier
        finally:
            self._verifiers.discard(verifier)
            self.audience = audience

    def revoke(self, token: str) -> None:
        """Revoke an access token, or a refresh token and its grant (RFC 7009 §2.1); verifiers have heard it then.

        Raises:
            ValueError: It is no token of this mint, or has no ``jti`` or no ``client_id`` by which to revoke it.
        """
        client = Client(client_id=self._client_of(token), name="the token's own")
        self._issuer.run(revocation.revoke(self._issuer.authority, client, token))
        self._hear()

    def rotate(self) -> None:
        """Sign with a new key from now on. Tokens of the former one stay good; verifiers learn of it as they do."""
        self._issuer.rotate()
        self._reconnect()

    def retire(self) -> None:
        """Take the key that signs out of use, as if it had been stolen: its tokens are rejected, another one signs."""
        self._issuer.retire()
        self._reconnect()

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Let nobody reach the issuer while the context lasts. Afterwards verifiers hear what they missed."""
        with self._trouble("outage"):
            yield

    @contextmanager
    def lost_response(self) -> Iterator[None]:
        """Let the issuer act on each request, and its response get lost, while the context lasts."""
        with self._trouble("lost response"):
            yield

    def now(self) -> int:
        """Return the mint's time: Unix time in seconds."""
        return self._clock.now()

    def clock(self, seconds: int) -> None:
        """Move the time of the issuer and of its verifiers; a negative number sets their clocks back.

        Verifiers hear of the issuer meanwhile, so nothing is stale afterwards; unless there is an outage.
        """
        authority = self._issuer.authority
        self._clock.move(seconds)
        self._issuer.run(authority.upkeep(_SWEPT_AT_ONCE))
        self._hear()

    def close(self) -> None:
        """Give the keys back: whatever needs the issuer raises `RuntimeError` from now on."""
        self._issuer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _unpredictable(self) -> str:
        return base64url.encode(self._issuer.authority.randomness.bytes(GRANT_ID_BYTES))

    def _signed(self, claims: Mapping[str, Any]) -> str:
        key = self._issuer.authority.keyring.signing_key(ALGORITHM, self._clock.now())
        return jws.sign(strict_json.dumps(dict(claims)), key, typ=ACCESS_TOKEN_TYPE)

    def _client_of(self, token: str) -> str:
        presented = parse(token, "refresh")
        if presented is not None:
            grant = self._issuer.run(self._issuer.authority.store.grants.get(presented.grant_id))
            if grant is None:
                raise ValueError("no token of this mint")
            return str(grant.client_id)
        try:
            verified = jws.verify(token, self._issuer.authority.keyring.verification_keys(self._clock.now()))
            claims = strict_json.loads_object(verified.payload)
        except JoseError as error:
            raise ValueError("no token of this mint") from error
        if not {"jti", "client_id"} <= claims.keys():
            raise ValueError("a token without jti or client_id cannot be revoked")
        return str(claims["client_id"])

    @contextmanager
    def _trouble(self, trouble: Trouble) -> Iterator[None]:
        before, self.transport.trouble = self.transport.trouble, trouble
        try:
            yield
        finally:
            self.transport.trouble = before
            self._reconnect()

    def _reconnect(self) -> None:
        """Let as much time pass as verifiers leave between two attempts, and let them make one."""
        if self.transport.trouble is None:
            self._clock.wait(_BETWEEN_ATTEMPTS)
            self._hear()

    def _hear(self) -> None:
        if self._issuer.is_closed:
            return
        for verifier in list(self._verifiers):
            verifier.catch_up()


def _split(names: Names) -> list[str]:
    return names.split() if isinstance(names, str) else list(names)
