"""What clients do with their grants: alone, at once, and while a node fails."""

import itertools
from copy import deepcopy

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, initialize, precondition, rule
from tests.property.grant_model import ABSOLUTE, CODE, Act, Redeem, Refresh, Revoke, Row, SignOut
from tests.property.grant_surroundings import OWNERS, PEOPLE, Surroundings
from tests.support.nodes import API, ISSUER, REPORTS, SCOPE, Fault

from mintmark.authority import derivation

ASKED = (SCOPE[:4], SCOPE[:1] + SCOPE[2:4], SCOPE[2:3], SCOPE)

GRANTS = Bundle("grants")


class Clients(Surroundings):
    """Four clients that redeem codes and refresh, and whoever presents their tokens in the wrong order."""

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

    @initialize(target=GRANTS, client=st.sampled_from(OWNERS), grace=st.sampled_from([10, 0]))
    def begin(self, client: str, grace: int) -> str:
        self.change_client(client, grace, "stable" if client == "stable" else "rotate")
        name = self._issue(client, "usr_ada", SCOPE[:4], ())
        self.perform(Redeem(name, client), is_learnt=True)
        return name

    @precondition(lambda self: len(self.ids) < 5)
    @rule(
        target=GRANTS,
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

    @rule(grant=GRANTS, node=st.integers(0, 1), by=st.sampled_from(["owner", "other"]), fits=st.booleans())
    def redeem_code(self, grant: str, node: int, by: str, fits: bool) -> None:
        self.perform(Redeem(grant, self._who(grant, by), fits), node=node, is_learnt=True)

    @rule(grant=GRANTS, node=st.integers(0, 1), is_response_lost=st.booleans())
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
        grant=GRANTS,
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
        grant=GRANTS,
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

    @rule(grant=GRANTS, node=st.integers(0, 1), seconds=st.sampled_from([0, 1, 9, 10, 11, 13]))
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

    @rule(grant=GRANTS, kind=st.sampled_from(["refresh", "redeem"]))
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
        grant=GRANTS,
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
