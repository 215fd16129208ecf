"""Two nodes on one database beside the model: what is done at the nodes, the model has to explain."""

import asyncio
import itertools
import json
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar, assert_never

from hypothesis import note
from hypothesis.stateful import RuleBasedStateMachine, invariant
from tests.property.grant_model import IDLE, Act, Model, Outcome, Redeem, Refresh, Registered, Revoke, SignOut
from tests.support import nodes
from tests.support.nodes import CALLBACK, PACE, START, VERIFIER, Crash, Disk, Node
from tests.support.world import FixedClock

from mintmark.authority import derivation
from mintmark.authority.login import end_session
from mintmark.authority.model import Grant
from mintmark.authority.ports import Grants, StoreUnavailableError
from mintmark.authority.revocation import revoke
from mintmark.authority.token import CodeRequest, RefreshRequest, TokenResponse, token
from mintmark.jose import base64url
from mintmark.oauth.errors import OAuthError

Result = TypeVar("Result")

SKEW = 3
"""Seconds that the second node's clock is behind."""


@dataclass(frozen=True)
class Access:
    """An access token that somebody was given."""

    grant: str
    jti: str
    not_before: int
    expires_at: int
    audience: tuple[str, ...]
    value: str = field(repr=False)


class GrantWorld(RuleBasedStateMachine):
    """Two nodes, four clients and the model; rules of what happens to them come with the classes derived from it."""

    grants_factory: ClassVar[Callable[[Grants], nodes.PacedGrants]] = nodes.PacedGrants

    def __init__(self) -> None:
        super().__init__()
        self.clock = FixedClock(START + 60)  # the keys made at START are active by every clock
        self.runner = asyncio.Runner()
        self.disk = self.make_disk()
        self.boots = itertools.count()
        self.model = Model(
            clients={
                "web": Registered(),
                "spa": Registered(is_confidential=False),
                "stable": Registered(rotates=False),
                "other": Registered(),
            }
        )
        self.ids: dict[str, bytes] = {}
        self.owners: dict[str, str] = {}
        self.codes: dict[str, str] = {}
        self.tokens: dict[tuple[str, int], str] = {}
        self.held: dict[str, int] = {}
        self.idle_at_least_until: dict[tuple[str, int], int] = {}
        self.access: list[Access] = []
        self.latest = self.clock.now()
        self.nodes = [self.boot(number) for number in (0, 1)]

    def make_disk(self) -> Disk:
        raise NotImplementedError

    def run(self, act: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(act)

    def boot(self, number: int) -> Node:
        clock = nodes.SkewedClock(self.clock, -SKEW * number)
        node = Node(self.disk, clock, f"boot {next(self.boots)}", grants=type(self).grants_factory)
        self.run(node.authority.start())
        return node

    def teardown(self) -> None:
        for node in self.nodes:
            self.run(self.disk.release(node.store))
        self.runner.close()

    def perform(
        self, *acts: Act, node: int = 0, paces: Sequence[Iterable[int]] = (), is_learnt: bool = False
    ) -> Outcome:
        """Do ``acts`` at once; some order of them must explain every answer and every row."""
        now = self._now(node)
        done = self.run(self._gather(acts, self.nodes[node], paces))
        outcomes = [outcome for outcome, _ in done]
        for act, outcome in zip(acts, outcomes, strict=True):
            note(f"  # t+{now - START}: {act} -> {outcome}")
        stored = self._stored()
        explanations = []
        for order in itertools.permutations(range(len(acts))):
            model = self.model.copy()
            expected = {number: model.apply(acts[number], now) for number in order}
            differences = self._differences(model, stored)
            explanations.append((expected, differences))
            if not differences and all(expected[number] == outcome for number, outcome in enumerate(outcomes)):
                self.model = model
                break
        else:
            expected, differences = explanations[0]
            raise AssertionError(
                self.story(
                    "no order of these explains what happened" if len(acts) > 1 else "the model expects something else",
                    *(
                        f"{act}: {outcome}, expected {expected[n]}"
                        for n, (act, outcome) in enumerate(zip(acts, outcomes, strict=True))
                    ),
                    *differences,
                )
            )
        for act, (_, response) in zip(acts, done, strict=True):
            if response is not None and isinstance(act, (Redeem, Refresh)):
                self._learn(act, response, now, is_learnt=is_learnt)
        return outcomes[0]

    async def _gather(
        self, acts: Sequence[Act], node: Node, paces: Sequence[Iterable[int]]
    ) -> list[tuple[Outcome, TokenResponse | None]]:
        async def paced(number: int, act: Act) -> tuple[Outcome, TokenResponse | None]:
            PACE.set(iter(paces[number]) if number < len(paces) else None)
            return await self._do(act, node)

        return await asyncio.gather(*(paced(number, act) for number, act in enumerate(acts)))

    async def _do(self, act: Act, node: Node) -> tuple[Outcome, TokenResponse | None]:
        authority = node.authority
        try:
            match act:
                case SignOut():
                    await end_session(authority, act.sid, act.subject)
                    return "ok", None
                case Revoke():
                    await revoke(authority, await node.client(act.by), self.tokens[act.grant, act.generation])
                    return "ok", None
                case Redeem():
                    verifier = VERIFIER if act.fits else "w" * 43
                    code = CodeRequest(code=self.codes[act.grant], redirect_uri=CALLBACK, code_verifier=verifier)
                    response = await token(authority, await node.client(act.by), code)
                case Refresh():
                    presented = RefreshRequest(
                        refresh_token=self.tokens[act.grant, act.generation], scope=act.scope, resources=act.resources
                    )
                    response = await token(authority, await node.client(act.by), presented)
                case _:
                    assert_never(act)
        except OAuthError as error:
            return error.error, None
        except StoreUnavailableError:
            return "outage", None
        except Crash:
            return "crash", None
        parsed = derivation.parse(response.refresh_token or "", "refresh")
        assert parsed is not None, response
        return parsed.generation, response

    def _learn(self, act: Redeem | Refresh, response: TokenResponse, now: int, *, is_learnt: bool) -> None:
        """Check what was answered (I2, I5) and remember it."""
        row = self.model.rows[act.grant]
        parsed = derivation.parse(response.refresh_token or "", "refresh")
        assert parsed is not None
        name = (act.grant, parsed.generation)
        known = self.tokens.setdefault(name, response.refresh_token or "")
        assert known == response.refresh_token, self.story(f"two different refresh tokens {name} (I2)")
        self.idle_at_least_until.setdefault(name, min(now + IDLE, row.expires_at) - 2 * SKEW)
        if is_learnt:
            self.held[act.grant] = parsed.generation
        claims = _claims(response.access_token)
        asked = act.scope if isinstance(act, Refresh) else ()
        assert claims["exp"] == min(now + 300, row.expires_at), self.story("an access token outlives its grant (I5)")
        assert response.expires_in == claims["exp"] - now
        allowed = set(asked or row.scope)
        is_narrowed = isinstance(act, Refresh) and act.resources
        assert set(response.scope) <= allowed if is_narrowed else set(response.scope) == allowed, self.story(
            "scope (I5)"
        )
        assert set(claims["scope"].split()) <= set(response.scope), self.story("scope (I5)")
        audience = [claims["aud"]] if isinstance(claims["aud"], str) else claims["aud"]
        assert set(audience) <= set(row.resources), self.story("audience (I5)")
        said = {member: claims[member] for member in ("sub", "client_id", "auth_time", "acr", "amr")}
        signed_in = {"auth_time": START - 100, "acr": "pwd", "amr": ["pwd"]}
        assert said == {"sub": row.subject, "client_id": row.client, **signed_in}, self.story("sign-in (I5)")
        if response.id_token is not None:
            told = _claims(response.id_token)
            assert {member: told[member] for member in ("sub", "aud", *signed_in)} == {
                "sub": row.subject,
                "aud": row.client,
                **signed_in,
            }, self.story("sign-in in the ID token (I5)")
            assert told["exp"] <= row.expires_at, self.story("an ID token outlives its grant (I5)")
        self.access.append(
            Access(act.grant, claims["jti"], claims["nbf"], claims["exp"], tuple(audience), response.access_token)
        )

    @invariant()
    def rows_are_as_the_model_says(self) -> None:
        differences = self._differences(self.model, self._stored())
        assert not differences, self.story(*differences)

    def _is_access_alive(self, access: Access, now: int) -> bool | None:
        """Whether an access token is good; ``None`` where nothing is promised."""
        row = self.model.rows.get(access.grant)
        if now < access.expires_at <= self.latest:
            return None  # some clock has said that it is over, so that its revocation may be forgotten
        if not access.not_before <= now < access.expires_at:
            return False
        if access.jti in self.model.revoked:
            return False
        if row is None:
            return None  # the database that was restored never heard of the grant
        return row.ended is None

    def _stored(self) -> dict[str, Grant | None]:
        async def read() -> dict[str, Grant | None]:
            return {name: await self.nodes[0].store.grants.get(grant_id) for name, grant_id in self.ids.items()}

        return self.run(read())

    def _differences(self, model: Model, stored: dict[str, Grant | None]) -> list[str]:
        found = []
        for name, row in model.rows.items():
            grant = stored[name]
            if grant is None:
                found.append(f"{name} is gone")
                continue
            expected = {
                "generation": row.generation,
                "end_reason": row.ended,
                "replays": row.replays,
                "advanced_at": row.advanced_at,
                "idle_expires_at": row.idle_expires_at,
                "expires_at": row.expires_at,
                "access_expires_at": row.access_expires_at,
            }
            found += [
                f"{name}.{member} is {getattr(grant, member)!r}, expected {value!r}"
                for member, value in expected.items()
                if getattr(grant, member) != value
            ]
            if (grant.binding is None) != (row.generation > 0):
                found.append(f"{name}.binding is {grant.binding}")
        return found

    def story(self, *lines: str) -> str:
        rows = [f"  model: {name} {row}" for name, row in self.model.rows.items()]
        clients = [f"  model: {name} {client}" for name, client in self.model.clients.items()]
        return "\n".join([f"at t+{self.clock.now() - START}:", *(f"  {line}" for line in lines), *rows, *clients])

    def _who(self, grant: str, by: str = "owner") -> str:
        return "other" if by == "other" else self.owners[grant]

    def _seen(self, grant: str, back: int) -> int | None:
        seen = sorted((generation for name, generation in self.tokens if name == grant), reverse=True)
        return seen[min(back, len(seen) - 1)] if seen else None

    def _now(self, node: int) -> int:
        return self.nodes[node].authority.clock.now()


def _claims(value: str) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(base64url.decode(value.split(".")[1]))
    return claims
