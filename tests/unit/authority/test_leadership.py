"""Who leads: no two nodes' clocks are compared, a lease changes hands only after it was silent, and never for ever."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mintmark.authority import leadership
from mintmark.authority.leadership import LEASE_PATIENCE, RENEW_EVERY, UPKEEP, Sight, change, given_up, look
from mintmark.authority.ports import Lease

MINE = Lease(name=UPKEEP, holder="one", fence=3, beat=7)
AT = 1000.0


def test_a_lease_that_never_was_is_taken_at_once() -> None:
    assert change(look(None, None, AT), "one", AT) == Lease(name=UPKEEP, holder="one", fence=1, beat=0)


def test_a_lease_that_was_given_up_is_taken_at_once_under_the_next_fence() -> None:
    left = given_up(MINE)
    assert change(look(None, left, AT), "two", AT) == replace(MINE, holder="two", fence=4, beat=0)
    assert change(look(None, left, AT), "one", AT) == replace(MINE, fence=4, beat=0)


def test_giving_up_is_a_change_that_keeps_the_fence() -> None:
    left = given_up(MINE)
    assert not leadership.is_held_by(left, "one")
    assert left.fence == MINE.fence
    assert left.beat > MINE.beat


def test_the_holder_renews_when_it_is_time_and_not_before() -> None:
    sight = look(None, MINE, AT)
    assert change(sight, "one", AT) is None
    assert change(sight, "one", AT + RENEW_EVERY - 0.01) is None
    assert change(sight, "one", AT + RENEW_EVERY) == replace(MINE, beat=8)


def test_the_holder_renews_several_times_in_the_patience_of_others() -> None:
    assert 3 * RENEW_EVERY <= LEASE_PATIENCE


def test_others_take_it_when_it_was_silent_for_long_enough_and_not_before() -> None:
    sight = look(None, MINE, AT)
    assert change(sight, "two", AT) is None
    assert change(sight, "two", AT + LEASE_PATIENCE - 0.01) is None
    assert change(sight, "two", AT + LEASE_PATIENCE) == replace(MINE, holder="two", fence=4, beat=0)


def test_a_node_that_comes_back_waits_like_any_other() -> None:
    """Its name is another one: what it wrote before it was killed is not its own any more."""
    assert change(look(None, MINE, AT), "one again", AT + LEASE_PATIENCE - 1) is None


@pytest.mark.parametrize("members", [{"beat": 8}, {"fence": 4}, {"holder": "three"}, {"fence": 2, "beat": 9}])
def test_any_change_starts_the_patience_anew(members: dict[str, int]) -> None:
    seen = look(None, MINE, AT)
    again = look(seen, replace(MINE, **members), AT + 9)  # type: ignore[arg-type]
    assert again.since == AT + 9
    assert change(again, "two", AT + LEASE_PATIENCE) is None
    assert change(again, "two", AT + 9 + LEASE_PATIENCE) is not None


def test_looking_at_the_same_keeps_the_patience_running() -> None:
    assert look(look(None, MINE, AT), MINE, AT + 9) == Sight(MINE, AT)


@dataclass
class Node:
    """A node that may stop between any two steps; its elapsed time has an origin of its own."""

    name: str
    origin: float
    sight: Sight | None = None
    wanted: Lease | None = None


@dataclass
class World:
    """Three nodes and a lease, in the order in which hypothesis says."""

    nodes: tuple[Node, ...]
    now: float = 0.0
    lease: Lease | None = None
    changed_at: float = 0.0

    def read(self, node: Node) -> None:
        at = self.now + node.origin
        node.sight = look(node.sight, self.lease, at)
        node.wanted = change(node.sight, node.name, at)

    def put(self, node: Node) -> None:
        """Write what was decided when it read, however long ago; the store compares and sets."""
        wanted, node.wanted = node.wanted, None
        if wanted is None or node.sight is None or node.sight.lease != self.lease:
            return
        before, self.lease = self.lease, wanted
        if before is not None and before.holder != wanted.holder:
            assert wanted.fence == before.fence + 1
            assert before.holder == "" or self.now - self.changed_at >= LEASE_PATIENCE
        elif before is not None:
            assert (wanted.fence, wanted.beat) == (before.fence, before.beat + 1)
        self.changed_at = self.now

    def leave(self, node: Node) -> None:
        if self.lease is not None and self.lease.holder == node.name:
            self.lease = given_up(self.lease)
            self.changed_at = self.now

    def tick(self, *nodes: Node) -> None:
        self.now += 1.0
        for node in nodes:
            self.read(node)
            self.put(node)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("read", "put", "read", "put", "leave")), st.integers(0, 2)),
        st.tuples(st.just("wait"), st.floats(0.0, 12.0)),
    ),
    max_size=60,
)


@pytest.mark.spec("I9")
@settings(max_examples=300, deadline=None, print_blob=True)
@given(STEPS)
def test_a_lease_changes_hands_only_when_it_was_silent_and_each_time_under_a_higher_fence(
    steps: list[tuple[str, float]],
) -> None:
    world = World(nodes=(Node("one", 0.0), Node("two", 1e6), Node("three", -5.0)))
    for verb, value in steps:
        if verb == "wait":
            world.now += value
        else:
            getattr(world, verb)(world.nodes[int(value)])
    # Whatever went on before: whoever is left leads soon, and goes on leading while it lives.
    alone = world.nodes[0]
    for _ in range(int(LEASE_PATIENCE) + 2):
        world.tick(alone)
    assert world.lease is not None
    assert world.lease.holder == "one"
    fence = world.lease.fence
    for _ in range(60):
        world.tick(*world.nodes)
    assert (world.lease.holder, world.lease.fence) == ("one", fence)
