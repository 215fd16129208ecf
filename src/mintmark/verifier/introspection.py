"""Asks an authority about a token (RFC 7662), and judges what it says by the rules for a token read here.

An authority's "active" is not enough: it may be about a token for another service, or about a refresh token.
"""

import copy
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from mintmark.jose import jws, jwt, strict_json
from mintmark.jose.errors import JoseError
from mintmark.jose.jwk import Key
from mintmark.verifier.credentials import basic_authorization
from mintmark.verifier.errors import TokenRejected, VerifierError, VerifierUnavailable
from mintmark.verifier.ports import Clock, Response, Transport, TransportError

MAX_ANSWER_BYTES: Final = 64 * 1024
"""Longest answer that is read."""

MAX_QUESTIONS: Final = 16
"""Questions asked at once: a wave of unknown tokens must not become a wave at the authority."""

_TIMEOUT: Final = 5.0
_FORM: Final = "application/x-www-form-urlencoded"
# Stands where `jws.Verified` names the key that signed; nothing is ever verified with it.
_NO_KEY: Final = Key(kid="introspection", alg="HS256", verifying=b"")
# What revocations and `Token` look at.
_TEXT_CLAIMS: Final = ("sub", "client_id", "jti", "gid", "scope")

log = logging.getLogger("mintmark.verifier")


class _Question:
    """A question under way: whoever has the same waits for this one's answer."""

    __slots__ = ("answer", "is_answered")

    def __init__(self) -> None:
        self.is_answered = threading.Event()
        self.answer: Mapping[str, Any] | VerifierError = VerifierUnavailable("the question was given up")


class Introspector:
    """Asks one authority about tokens; any number of threads may use it at once.

    Args:
        url_of: Returns where to ask, ``None`` while that is unknown.
        client_id: What this service is registered as at the authority.
        client_secret: Its secret.
        transport: How to reach the authority.
        issuer: The authority's identifier.
        audience: Names of this service, one of which the token has to be for.
        clock: Time.
        leeway: Clock difference to forgive, seconds.

    Attributes:
        asked: Questions that were sent.
        failures: Questions that got no clear answer.
    """

    def __init__(
        self,
        *,
        url_of: Callable[[], str | None],
        client_id: str,
        client_secret: str,
        transport: Transport,
        issuer: str,
        audience: frozenset[str],
        clock: Clock,
        leeway: int,
    ) -> None:
        self.asked = self.failures = 0
        self._url_of = url_of
        self._client_id = client_id
        self._authorization = basic_authorization(client_id, client_secret)
        self._transport = transport
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._leeway = leeway
        self._is_said_closed = False
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Make the locks anew: another thread of the parent may have held them, and its questions are not ours."""
        self._changing = threading.Lock()
        self._turns = threading.Semaphore(MAX_QUESTIONS)
        self._under_way: dict[str, _Question] = {}

    def ask(self, raw: str) -> Mapping[str, Any]:
        """Return the claims of the access token ``raw``, which is active and meant for this service.

        Threads that ask about the same token at the same time share one question, so the answer may be as old as a
        question takes.

        Raises:
            TokenRejected: It is not active, or not an access token for this service.
            VerifierUnavailable: The authority gave no clear answer in time.
        """
        if not raw.isascii():
            raise TokenRejected("malformed")
        with self._changing:
            question = self._under_way.get(raw)
            is_first = question is None
            if question is None:
                question = self._under_way[raw] = _Question()
        if is_first:
            try:
                question.answer = self._answer(raw)
            finally:
                with self._changing:
                    self._under_way.pop(raw, None)
                question.is_answered.set()
        elif not question.is_answered.wait(_TIMEOUT):
            raise VerifierUnavailable("introspection takes too long")
        if isinstance(question.answer, VerifierError):
            # Of its own for each thread: raising writes into an exception.
            raise copy.copy(question.answer)
        return question.answer

    def _answer(self, raw: str) -> Mapping[str, Any] | VerifierError:
        try:
            return self._judged(self._asked_in_turn(raw))
        except TokenRejected as error:
            return error
        except VerifierUnavailable as error:
            with self._changing:
                self.failures += 1
            return error

    def _asked_in_turn(self, raw: str) -> dict[str, Any]:
        began = self._clock.uptime()
        if not self._turns.acquire(timeout=_TIMEOUT):
            raise VerifierUnavailable("too many introspections at once")
        try:
            return self._send(raw, _TIMEOUT - (self._clock.uptime() - began))
        finally:
            self._turns.release()

    def _send(self, raw: str, timeout: float) -> dict[str, Any]:
        """Return what the authority says of ``raw``: a JSON object whose ``active`` is true or false."""
        url = self._url_of()
        if url is None:
            raise VerifierUnavailable("the introspection endpoint is not known")
        if timeout <= 0:
            raise VerifierUnavailable("too many introspections at once")
        with self._changing:
            self.asked += 1
        try:
            response = self._transport.request(
                "POST",
                url,
                headers={"accept": "application/json", "authorization": self._authorization, "content-type": _FORM},
                body=urlencode({"token": raw, "token_type_hint": "access_token"}).encode("ascii"),
                timeout=timeout,
                max_bytes=MAX_ANSWER_BYTES,
            )
        except TransportError:
            raise VerifierUnavailable("the authority cannot be reached") from None
        return self._read(response)

    def _read(self, response: Response) -> dict[str, Any]:
        if response.status in {401, 403}:
            self._say_closed(response.status)
        if response.status != 200:
            raise VerifierUnavailable(f"introspection answered HTTP {response.status}")
        self._is_said_closed = False
        try:
            said = strict_json.loads_object(response.body)
        except JoseError:
            raise VerifierUnavailable("introspection answered no JSON object") from None
        # `type`: whatever merely looks true or false is no clear answer.
        if type(said.get("active")) is not bool:
            raise VerifierUnavailable("introspection left open whether the token is active")
        return said

    def _judged(self, said: dict[str, Any]) -> dict[str, Any]:
        """Return the claims of an active token.

        Raises:
            TokenRejected: It is not active, or not for use here.
        """
        if not said.pop("active"):
            raise TokenRejected("inactive")
        token_type = said.get("token_type", "Bearer")
        # A token bound to a key is worth nothing without a proof, and nobody asks for one here (RFC 9449 §7.1).
        if not isinstance(token_type, str) or token_type.lower() != "bearer":
            raise TokenRejected("wrong_type")
        if "cnf" in said:
            raise TokenRejected("wrong_type", claim="cnf")
        # RFC 7662 §2.2 leaves `iss` out at will; that it is the one we asked is what that says.
        claims = {"iss": self._issuer, **said}
        # `judge` is the one place of these rules, and reads what was signed; here TLS vouches for it instead. Refresh
        # tokens, which are active for the client they belong to, fail for want of an audience.
        vouched = jws.Verified({}, strict_json.dumps(claims), _NO_KEY)
        try:
            judged = jwt.judge(
                vouched,
                typ=(None,),
                issuer=self._issuer,
                audience=self._audience,
                now=int(self._clock.now()),
                leeway=self._leeway,
            )
        except JoseError as error:
            raise TokenRejected("malformed" if error.code == "bad_key" else error.code, claim=error.claim) from None
        for name in _TEXT_CLAIMS:
            if not isinstance(judged.get(name, ""), str):
                raise TokenRejected("bad_claim", claim=name)
        return judged

    def _say_closed(self, status: int) -> None:
        if self._is_said_closed:
            return
        self._is_said_closed = True
        log.error(
            "introspection is closed to the client %s (HTTP %d): check its secret, and that it is registered as a "
            "resource server: mintmark client create %s --serves <audience of this service>",
            self._client_id,
            status,
            self._client_id,
        )
