"""The guard as an ASGI application.

It says 200 and who sent the request, or no: 400 to what cannot be read, 401 and 403 as RFC 6750 §3 has it, 503 only
where nobody can say just now whether a token is good (invariant I4).
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from traceback import format_tb
from typing import Any, Final

import msgspec

from mintmark.verifier.bearer import Refusal, refusal, sent_token
from mintmark.verifier.errors import RequestMalformed, TokenRejected, VerifierError, VerifierUnavailable
from mintmark.verifier.guard.gateways import Asked, Gateway, gateway_at
from mintmark.verifier.guard.headers import NOBODY, Headers, identity
from mintmark.verifier.guard.metrics import exposition
from mintmark.verifier.guard.paths import Unreadable, segments_of
from mintmark.verifier.guard.routes import Route, Routes
from mintmark.verifier.verifier import Verifier

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logging.getLogger("mintmark.guard")

_PLAIN: Final = (b"content-type", b"text/plain; charset=utf-8")
_NO_STORE: Final = (b"cache-control", b"no-store")


class _Refused(Exception):  # noqa: N818 - says what is the case
    """The request may not pass.

    Args:
        answer: What to say.
        why: Why; constant texts and what the settings say, nothing that was sent.
    """

    def __init__(self, answer: Refusal, why: str) -> None:
        super().__init__(why)
        self.answer = answer
        self.why = why


def _refusal(status: int, error: str, description: str) -> Refusal:
    headers = (("content-type", "application/json"), ("cache-control", "no-store"))
    return Refusal(status, headers, msgspec.json.encode({"error": error, "error_description": description}))


_UNREADABLE: Final = _refusal(400, "invalid_request", "The request cannot be read in one way only")
_CLOSED: Final = _refusal(403, "access_denied", "Nobody may do this here")


class Guard:
    """Answers a gateway for each request whether it may pass.

    Args:
        verifier: Judges the tokens.
        routes: What may pass.
    """

    def __init__(self, verifier: Verifier, routes: Routes) -> None:
        self._verifier = verifier
        self._routes = routes
        self._answers: Counter[tuple[str, int]] = Counter()

    async def prepare(self) -> None:
        """Fetch keys and revocations before the first request needs them; without them, go on trying."""
        if await asyncio.to_thread(self._verifier.start):
            log.info("keys of the issuer are here")
        else:
            log.warning("no keys of the issuer yet: requests that need a token are answered 503")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI; no body is read
        """Answer one request of a gateway, or of whoever watches the guard."""
        assert scope["type"] == "http"
        gateway = gateway_at(scope["raw_path"])
        if gateway is None:
            await self._tell(scope["raw_path"], send)
            return
        status, headers, body = await self._answer(gateway, scope)
        self._answers[gateway.name, status] += 1
        await _send(send, status, headers, body)

    async def _answer(self, gateway: Gateway, scope: Scope) -> tuple[int, Headers, bytes]:
        try:
            return 200, (_NO_STORE, *await self._admit(gateway, scope)), b""
        except _Refused as refused:
            answer, why = refused.answer, refused.why
        except Exception as fault:  # noqa: BLE001 - the edge: a fault of ours must neither let pass nor look like a bad token
            # Where, but not the exception's text: it may quote what was sent to us.
            log.error("fault: %s %s", type(fault).__name__, format_tb(fault.__traceback__)[-3:])  # noqa: TRY400
            answer, why = refusal(VerifierUnavailable("fault")), "fault"
        log.info("%s: refused with %d: %s", gateway.name, answer.status, why)
        headers = tuple((name.encode(), value.encode("latin-1")) for name, value in answer.headers)
        return answer.status, headers, answer.body

    async def _admit(self, gateway: Gateway, scope: Scope) -> Headers:
        """Return who sent the request.

        Raises:
            _Refused: It may not pass.
        """
        try:
            asked = gateway.read(scope)
            route = self._routes.find(asked.method, segments_of(asked.target))
        except Unreadable as problem:
            raise _Refused(replace(_UNREADABLE, status=gateway.bad_request_status), str(problem)) from None
        if route is None:
            raise _Refused(_CLOSED, "no route")
        if route.requirement is None:
            return NOBODY
        try:
            return await self._identify(asked, route)
        except VerifierError as error:
            answer = refusal(error)
            if isinstance(error, RequestMalformed):
                answer = replace(answer, status=gateway.bad_token_status)
            why = str(error) or type(error).__name__
            raise _Refused(answer, f"{why}, at {route.path}") from error

    async def _identify(self, asked: Asked, route: Route) -> Headers:
        assert route.requirement is not None
        raw = sent_token(asked.authorization)
        # The authority's access tokens are JWTs. Asked about anything else, it would have to look at all the garbage
        # that strangers send, and while it is away, garbage would be answered 503.
        if raw.count(".") != 2:
            raise TokenRejected("malformed")
        token = await self._verifier.averify(raw, on_stale=route.requirement.on_stale)
        return identity(route.requirement.judge(token))

    async def _tell(self, raw_path: bytes, send: Send) -> None:
        match raw_path:
            case b"/livez":
                await _send(send, 200, (_PLAIN,), b"ok\n")
            case b"/readyz":
                is_ready = self._is_ready()
                await _send(send, 200 if is_ready else 503, (_PLAIN,), b"ok\n" if is_ready else b"no keys yet\n")
            case b"/metrics":
                await _send(send, 200, (_PLAIN,), self._metrics().encode())
            case _:
                await _send(send, 404, (_PLAIN,), b"Ask at /nginx, /traefik, /envoy/ or /haproxy\n")

    def _is_ready(self) -> bool:
        found = self._verifier.metrics()
        return all(count > 0 for name, count in found.items() if name.startswith("mintmark_verifier_keys{"))

    def _metrics(self) -> str:
        answers = {
            f'mintmark_guard_answers_total{{gateway="{gateway}",status="{status}"}}': float(count)
            for (gateway, status), count in sorted(self._answers.items())
        }
        return exposition(self._verifier.metrics() | answers)


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": (*headers, length)})
    await send({"type": "http.response.body", "body": body})
