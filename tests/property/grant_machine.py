"""A machine that drives two nodes on one database through whatever may happen, beside the model of what must come of it."""

import asyncio
import itertools
import json
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar, assert_never

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.property.grant_model import (
    ABSOLUTE,
    CODE,
    IDLE,
    Act,
    Model,
    Outcome,
    Redeem,
    Refresh,
    Registered,
    Revoke,
    Row,
    SignOut,
)
from tests.support import nodes
from tests.support.nodes import API, CALLBACK, ISSUER, PACE, REPORTS, SCOPE, START, VERIFIER, Crash, Disk, Fault, Node
from tests.support.world import FixedClock

from mintmark.authority import derivation, people
from mintmark.authority.introspection import INACTIVE, introspect
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

OWNERS = ("web", "spa", "stable")
PEOPLE = ("usr_ada", "usr_bob")
ASKED = (SCOPE[:4], SCOPE[:1] + SCOPE[2:4], SCOPE[2:3], SCOPE)


@cache
def populated_memory() -> object:
    return asyncio.run(nodes.populated_memory())


@cache
def populated_file() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(nodes.populated_file(Path(directory))).read_bytes()


def fast_directory() -> str | None:
    """Where syncing costs nothing: these tests are about what is written, not about the disk."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


@dataclass(frozen=True)
class Access:
    """An access token that somebody was given."""

    grant: str
    jti: str
    not_before: int
    expires_at: int
    value: str = field(repr=False)


@dataclass(frozen=True)
class Copy:
    """A copy of the database, and what the model knew then."""

    content: object
    model: Model
    name: str

    def __repr__(self) -> str:
        return self.name


class GrantMachine(RuleBasedStateMachine):
    """Two nodes, two people, four clients, a thief who sees every token, and an operator who restores backups."""

    grants_factory: ClassVar[Callable[[Grants], nodes.PacedGrants]] = nodes.PacedGrants
    grants = Bundle("grants")
    copies = Bundle("copies")

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

    # What happens.

    def alive(self, grant: str) -> str:
        """Return ``grant`` if it can still issue, else another that can: most grants die young, and then little is left to see."""
        found = [name for name in (grant, *self.ids) if self._is_alive(name)]
        if found:
            return found[0]
        self.set_disabled("usr_ada", is_disabled=False)
        name = self._issue("web", "usr_ada", SCOPE[:4], ())
        self.perform(Redeem(name, "web"), is_learnt=True)
        return name

    def _is_alive(self, name: str) -> bool:
        row, now = self.model.rows.get(name), self._now(0)
        return row is not None and row.is_current(row.generation, now)

    @initialize(target=grants, client=st.sampled_from(OWNERS), grace=st.sampled_from([10, 0]))
    def begin(self, client: str, grace: int) -> str:
        self.change_client(client, grace, "stable" if client == "stable" else "rotate")
        name = self._issue(client, "usr_ada", SCOPE[:4], ())
        self.perform(Redeem(name, client), is_learnt=True)
        return name

    @precondition(lambda self: len(self.ids) < 5)
    @rule(
        target=grants,
        client=st.sampled_from(OWNERS),
        person=st.sampled_from(PEOPLE),
        scope=st.sampled_from(ASKED[:3]),
        resources=st.sampled_from([(), (API,), (API, REPORTS)]),
    )
    def issue_code(self, client: str, person: str, scope: tuple[str, ...], resources: tuple[str, ...]) -> str:
        person = next((one for one in (person, *PEOPLE) if one not in self.model.disabled), person)
        if person in self.model.disabled:
            self.set_disabled(person, is_disabled=False)
        return self._issue(client, person, scope, resources)

    def _issue(self, client: str, person: str, scope: tuple[str, ...], resources: tuple[str, ...]) -> str:
        node = self.nodes[0]
        sid = f"sid of {person}"
        code = self.run(node.issue(client, person, scope=scope, resources=resources, sid=sid))
        parsed = derivation.parse(code, "code")
        assert parsed is not None
        name = f"g{len(self.ids) + 1}"
        self.ids[name], self.codes[name] = parsed.grant_id, code
        self.owners[name] = client
        stored = self.run(node.store.grants.get(parsed.grant_id))
        assert stored is not None
        assert set(stored.authorization.scope) <= set(scope)
        now = node.authority.clock.now()
        self.model.rows[name] = Row(
            client=client,
            subject=person,
            sid=sid,
            scope=stored.authorization.scope,
            resources=(*stored.authorization.resources, ISSUER),
            advanced_at=now,
            idle_expires_at=now + CODE,
            expires_at=now + ABSOLUTE,
        )
        return name

    @rule(grant=grants, node=st.integers(0, 1), by=st.sampled_from(["owner", "other"]), fits=st.booleans())
    def redeem_code(self, grant: str, node: int, by: str, fits: bool) -> None:
        self.perform(Redeem(grant, self._who(grant, by), fits), node=node, is_learnt=True)

    @rule(grant=grants, node=st.integers(0, 1), is_response_lost=st.booleans())
    def client_refreshes(self, grant: str, node: int, is_response_lost: bool) -> None:
        grant = self.alive(grant)
        generation = self.held.get(grant)
        if generation is None:
            self.perform(Redeem(grant, self._who(grant)), node=node, is_learnt=not is_response_lost)
            return
        act = Refresh(grant, generation, self._who(grant))
        row, now = deepcopy(self.model.rows.get(grant)), self._now(node)
        outcome = self.perform(act, node=node, is_learnt=not is_response_lost)
        is_good = row is not None and row.ended is None and row.generation <= generation
        if is_good and now < self.idle_at_least_until[grant, generation]:
            assert isinstance(outcome, int), self.story(f"{act} logged somebody out (I4, I11): {outcome}")

    @rule(
        grant=grants,
        node=st.integers(0, 1),
        back=st.integers(0, 3),
        by=st.sampled_from(["owner", "owner", "owner", "other"]),
        scope=st.sampled_from([(), *ASKED]),
        resources=st.sampled_from([(), (), (API,), (REPORTS,)]),
    )
    def present_refresh_token(
        self, grant: str, node: int, back: int, by: str, scope: tuple[str, ...], resources: tuple[str, ...]
    ) -> None:
        """``back``: how many generations before the newest one that anybody has seen."""
        if by == "other" or scope or back == 0:
            grant = self.alive(grant)
        generation = self._seen(grant, back)
        if generation is not None:
            self.perform(Refresh(grant, generation, self._who(grant, by), scope, resources), node=node)

    @rule(
        grant=grants,
        kinds=st.lists(
            st.sampled_from(["refresh", "refresh", "replay", "redeem", "revoke", "sign out"]), min_size=2, max_size=3
        ),
        paces=st.lists(st.lists(st.integers(0, 2), max_size=5), min_size=3, max_size=3),
    )
    def race(self, grant: str, kinds: list[str], paces: list[list[int]]) -> None:
        grant = self.alive(grant)
        acts = [act for kind in kinds if (act := self._act(grant, kind)) is not None]
        if acts:
            self.perform(*acts, paces=paces)

    @rule(grant=grants, node=st.integers(0, 1), seconds=st.sampled_from([0, 1, 9, 10, 11, 13]))
    def client_loses_its_way(self, grant: str, node: int, seconds: int) -> None:
        """It refreshes, forgets the answer, and tries the token before again, at another node, some seconds later."""
        grant = self.alive(grant)
        generation = self._seen(grant, 0)
        if generation is None:
            return
        act = Refresh(grant, generation, self._who(grant))
        self.perform(act)
        self.clock_goes_on(seconds)
        self.perform(act, node=node)

    @rule(grant=grants, kind=st.sampled_from(["refresh", "redeem"]))
    def race_of_two(self, grant: str, kind: str) -> None:
        """The same thing twice, each step of the one between two steps of the other."""
        grant = self.alive(grant)
        act = self._act(grant, kind)
        if act is not None:
            self.perform(act, act, paces=[itertools.repeat(1), itertools.repeat(1)])

    def _act(self, grant: str, kind: str) -> Act | None:
        owner, newest = self._who(grant), self._seen(grant, 0)
        if kind == "redeem":
            return Redeem(grant, owner)
        if kind == "sign out":
            row = self.model.rows.get(grant)
            return None if row is None else SignOut(row.sid, row.subject)
        if newest is None:
            return None
        if kind == "revoke":
            return Revoke(grant, newest, owner)
        before = self._seen(grant, 1)
        return Refresh(grant, before if kind == "replay" and before is not None else newest, owner)

    @rule(
        grant=grants,
        node=st.integers(0, 1),
        back=st.integers(0, 2),
        fault=st.sampled_from(
            ["crash before commit", "crash after commit", "outage before commit", "outage after commit"]
        ),
    )
    def refresh_fails(self, grant: str, node: int, back: int, fault: Fault) -> None:
        """The node dies or loses its database around the commit (I3, I4)."""
        grant = self.alive(grant)
        generation = self._seen(grant, back)
        if generation is None:
            act: Act = Redeem(grant, self._who(grant))
        else:
            act = Refresh(grant, generation, self._who(grant))
        running = self.nodes[node]
        running.grants.fault = fault
        outcome, response = self.run(self._do(act, running))
        was_hit, running.grants.fault = running.grants.fault is None, None
        expected = (model := self.model.copy()).apply(act, self._now(node))
        if not was_hit:
            assert outcome == expected, self.story(f"{act} without a commit: {outcome}, not {expected}")
        else:
            assert outcome == fault.split()[0], self.story(f"{act} with a {fault}: {outcome}")
            assert response is None
        if not was_hit or "after" in fault:
            self.model = model
        if fault.startswith("crash"):
            self.restart(node)

    @rule(grant=grants, back=st.integers(0, 3), by=st.sampled_from(["owner", "owner", "other"]))
    def revoke_refresh_token(self, grant: str, back: int, by: str) -> None:
        grant = self.alive(grant)
        generation = self._seen(grant, back)
        if generation is not None:
            self.perform(Revoke(grant, generation, self._who(grant, by)))

    @rule(number=st.integers(0, 20), node=st.integers(0, 1), by=st.sampled_from(["owner", "other"]))
    def revoke_access_token(self, number: int, node: int, by: str) -> None:
        if not self.access:
            return
        access = self.access[number % len(self.access)]
        running = self.nodes[node]
        now = self._now(node)
        # What another clock says is not over, or has begun, can be taken back as well.
        is_alive = None if now >= access.expires_at else self._is_access_alive(access, max(now, access.not_before))
        self.run(running.authority.catch_up())
        try:
            self.run(revoke(running.authority, self.run(running.client(self._who(access.grant, by))), access.value))
            is_refused = False
        except OAuthError as error:
            if error.error != "invalid_request":
                raise
            is_refused = True
        if is_alive is not None:
            assert is_refused == (is_alive and by == "other"), self.story(f"revoking {access}")
        if by == "owner":
            self.model.revoked.add(access.jti)

    @rule(
        grant=grants,
        back=st.integers(-1, 2),
        position=st.integers(0, 70),
        letter=st.sampled_from("ABCDwxyz0189-_"),
        node=st.integers(0, 1),
    )
    def tampered(self, grant: str, back: int, position: int, letter: str, node: int) -> None:
        generation = self._seen(grant, back) if back >= 0 else None
        good = self.codes[grant] if generation is None else self.tokens[grant, generation]
        bad = good[: 4 + position] + letter + good[5 + position :]
        if bad != good:
            self._is_garbage(bad, self._who(grant), node)

    @rule(
        grant=grants,
        garbage=st.one_of(st.text(max_size=90), st.binary(min_size=53, max_size=53)),
        node=st.integers(0, 1),
    )
    def garbage(self, grant: str, garbage: str | bytes, node: int) -> None:
        text = garbage if isinstance(garbage, str) else "mmr_" + base64url.encode(garbage)
        self._is_garbage(text, self._who(grant), node)

    @rule(grant=grants, node=st.integers(0, 1))
    def code_as_refresh_token(self, grant: str, node: int) -> None:
        self._is_garbage("mmr_" + self.codes[grant][4:], self._who(grant), node)
        newest = self._seen(grant, 0)
        if newest is not None:
            self._is_garbage("mmc_" + self.tokens[grant, newest][4:], self._who(grant), node)

    def _is_garbage(self, text: str, by: str, node: int) -> None:
        running = self.nodes[node]
        client = self.run(running.client(by))
        for request in (
            RefreshRequest(refresh_token=text),
            CodeRequest(code=text, redirect_uri=CALLBACK, code_verifier=VERIFIER),
        ):
            answer = None
            try:
                answer = self.run(token(running.authority, client, request))
            except OAuthError as error:
                if error.error != "invalid_grant":
                    raise
            assert answer is None, self.story(f"{text!r} was accepted")
        self.run(revoke(running.authority, client, text))
        assert self.run(introspect(running.authority, client, text)) == INACTIVE

    @rule(person=st.sampled_from(PEOPLE))
    def sign_out(self, person: str) -> None:
        self.perform(SignOut(f"sid of {person}", person))

    @rule(person=st.sampled_from(PEOPLE))
    def change_password(self, person: str) -> None:
        user = self.run(self.nodes[0].store.users.get(person))
        assert user is not None
        self.run(people.set_password(self.nodes[0].authority, user, f"another password {next(self.boots)}"))
        self.model.end("password_changed", subject=person)

    @rule(person=st.sampled_from(PEOPLE), is_disabled=st.booleans())
    def set_disabled(self, person: str, is_disabled: bool) -> None:
        user = self.run(self.nodes[0].store.users.get(person))
        assert user is not None
        self.run(people.set_disabled(self.nodes[0].authority, user, is_disabled=is_disabled))
        if is_disabled:
            self.model.disabled.add(person)
            self.model.end("user_disabled", subject=person)
        else:
            self.model.disabled.discard(person)

    @rule(
        name=st.sampled_from(OWNERS),
        grace=st.sampled_from([0, 1, 10, 60, 300]),
        rotation=st.sampled_from(["rotate", "rotate", "stable"]),
    )
    def change_client(self, name: str, grace: int, rotation: Any) -> None:
        store = self.nodes[0].store
        client = self.run(self.nodes[0].client(name))
        changed = replace(client, refresh_grace=grace, refresh_rotation=rotation)
        assert self.run(store.clients.replace(client, changed))
        registered = self.model.clients[name]
        self.model.clients[name] = replace(registered, grace=grace, rotates=rotation == "rotate")

    @rule(seconds=st.sampled_from([1, 2, 7, 9, 10, 11, 59, 60, 61, 299, 300, 1199, 1200, 1301]))
    def clock_goes_on(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.latest = max(self.latest, self.clock.now())

    @rule(seconds=st.integers(1, SKEW))
    def clock_steps_back(self, seconds: int) -> None:
        self.clock.advance(-seconds)

    @rule(number=st.integers(0, 1))
    def restart(self, number: int) -> None:
        self.run(self.disk.release(self.nodes[number].store))
        self.nodes[number] = self.boot(number)

    @rule(number=st.integers(0, 1))
    def upkeep(self, number: int) -> None:
        """What a sweep forgets, nobody may need any more (I10)."""
        self.run(self.nodes[number].authority.upkeep(100))
        stored = self._stored()
        for name in [name for name in self.model.rows if stored[name] is None]:
            row = self.model.rows.pop(name)
            assert row.is_spent(self._now(number)), self.story(f"{name} was swept away: {row}")

    @rule(target=copies)
    def copy_database(self) -> Copy:
        return Copy(self.run(self.disk.copy()), self.model.copy(), f"copy at t+{self.clock.now() - START}")

    @rule(copy=copies)
    def restore_database(self, copy: Copy) -> None:
        for node in self.nodes:
            self.run(self.disk.release(node.store))
        self.run(self.disk.restore(copy.content))
        self.model = copy.model.copy()
        self.nodes = [self.boot(number) for number in (0, 1)]

    # What must come of it.

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
        self.access.append(Access(act.grant, claims["jti"], claims["nbf"], claims["exp"], response.access_token))

    @invariant()
    def rows_are_as_the_model_says(self) -> None:
        differences = self._differences(self.model, self._stored())
        assert not differences, self.story(*differences)

    @rule(node=st.integers(0, 1))
    def introspect_everything(self, node: int) -> None:
        """Both nodes say the same of every token ever seen: the model's answer (I1, I3, I9)."""
        running, now = self.nodes[node], self._now(node)
        self.run(running.authority.catch_up())
        api = self.run(running.client("api"))
        for (grant, generation), value in self.tokens.items():
            row = self.model.rows.get(grant)
            answer = self.run(introspect(running.authority, self.run(running.client(self._who(grant))), value))
            expected = row is not None and row.is_current(generation, now)
            assert answer["active"] == expected, self.story(f"refresh token {generation} of {grant}: {answer}")
            if row is not None and expected:
                assert answer["exp"] <= row.expires_at, self.story("outlives its grant (I5)")
            foreign = self.run(introspect(running.authority, self.run(running.client("other")), value))
            assert foreign == INACTIVE, self.story("another client sees a refresh token")
        for access in self.access:
            expected_alive = self._is_access_alive(access, now)
            answer = self.run(introspect(running.authority, api, access.value))
            if expected_alive is not None:
                assert answer["active"] == expected_alive, self.story(f"{access}: {answer}, not {expected_alive}")

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


class MemoryMachine(GrantMachine):
    """Both nodes on one store in memory."""

    def make_disk(self) -> Disk:
        return nodes.MemoryDisk(populated_memory())


class SQLiteMachine(GrantMachine):
    """Each node with the file open for itself."""

    def make_disk(self) -> Disk:
        self.directory = tempfile.TemporaryDirectory(dir=fast_directory())
        path = Path(self.directory.name)
        (path / "template.db").write_bytes(populated_file())
        return nodes.SQLiteDisk(path, path / "template.db")

    def teardown(self) -> None:
        super().teardown()
        self.directory.cleanup()


MACHINES: dict[str, type[GrantMachine]] = {"memory": MemoryMachine, "sqlite": SQLiteMachine}
