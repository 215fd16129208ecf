"""What happens around grants: people, clients, clocks, nodes and databases change."""

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, rule
from tests.property.grant_model import Model, SignOut
from tests.property.grant_world import SKEW, GrantWorld
from tests.support.nodes import START

from mintmark.authority import people

OWNERS = ("web", "spa", "stable")
PEOPLE = ("usr_ada", "usr_bob")

COPIES = Bundle("copies")


@dataclass(frozen=True)
class Copy:
    """A copy of the database, and what the model knew then."""

    content: object
    model: Model
    name: str

    def __repr__(self) -> str:
        return self.name


class Surroundings(GrantWorld):
    """Two people, and an operator who restores backups."""

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

    @rule(target=COPIES)
    def copy_database(self) -> Copy:
        return Copy(self.run(self.disk.copy()), self.model.copy(), f"copy at t+{self.clock.now() - START}")

    @rule(copy=COPIES)
    def restore_database(self, copy: Copy) -> None:
        for node in self.nodes:
            self.run(self.disk.release(node.store))
        self.run(self.disk.restore(copy.content))
        self.model = copy.model.copy()
        self.nodes = [self.boot(number) for number in (0, 1)]
