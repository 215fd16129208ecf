"""Turns: who asks for much holds up nobody who asks for little (`mintmark.system.turns`)."""

import asyncio
from collections.abc import Sequence

import pytest

from mintmark.oauth.errors import OAuthError
from mintmark.system.turns import Turns

pytestmark = [pytest.mark.anyio, pytest.mark.spec("OWASP ASVS 6.3.1")]


class Desk:
    """Turns that end when told; ``served`` says in which order they were had."""

    def __init__(self, places: int = 1, most_waiting: int = 64) -> None:
        self.turns = Turns(places, most_waiting)
        self.served: list[str] = []
        self._ends: list[asyncio.Event] = []

    async def ask(self, source: str) -> None:
        async with self.turns.turn(source):
            self.served.append(source)
            self._ends.append(asyncio.Event())
            await self._ends[-1].wait()

    async def line_up(self, sources: Sequence[str]) -> list["asyncio.Task[None]"]:
        tasks = []
        for source in sources:
            tasks.append(asyncio.create_task(self.ask(source)))
            await asyncio.sleep(0)
        await settle()
        return tasks

    async def end_all(self) -> None:
        ended = 0
        while ended < len(self._ends):
            self._ends[ended].set()
            ended += 1
            await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_so_many_have_a_turn_at_once() -> None:
    desk = Desk(places=2)
    tasks = await desk.line_up("abc")
    assert (desk.served, desk.turns.waiting) == (["a", "b"], 1)
    await desk.end_all()
    assert (desk.served, desk.turns.waiting) == (["a", "b", "c"], 0)
    await asyncio.gather(*tasks)


async def test_sources_are_served_in_turn_and_each_in_its_order() -> None:
    desk = Desk()
    tasks = await desk.line_up(["greedy"] * 5 + ["honest", "other", "honest"])
    await desk.end_all()
    assert desk.served == ["greedy", "greedy", "honest", "other", "greedy", "honest", "greedy", "greedy"]
    await asyncio.gather(*tasks)


async def test_when_too_many_wait_the_last_of_the_greediest_is_refused() -> None:
    desk = Desk(most_waiting=4)
    tasks = await desk.line_up(["greedy"] * 5)
    (honest,) = await desk.line_up(["honest"])
    assert [task.done() for task in tasks] == [False] * 4 + [True]
    with pytest.raises(OAuthError, match="temporarily_unavailable"):
        await tasks.pop()
    (another,) = await desk.line_up(["greedy"])
    with pytest.raises(OAuthError, match="temporarily_unavailable"):
        await another
    await desk.end_all()
    assert desk.served == ["greedy", "greedy", "honest", "greedy", "greedy"]
    await asyncio.gather(honest, *tasks)


async def test_when_nobody_is_greedier_whoever_comes_last_is_refused() -> None:
    desk = Desk(most_waiting=2)
    tasks = await desk.line_up("abc")
    (late,) = await desk.line_up("d")
    with pytest.raises(OAuthError, match="temporarily_unavailable"):
        await late
    await desk.end_all()
    assert desk.served == ["a", "b", "c"]
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("gone", [0, 1, 2])
async def test_who_leaves_takes_no_turn_and_keeps_no_place(gone: int) -> None:
    desk = Desk()
    tasks = await desk.line_up("abc")
    tasks[gone].cancel()
    await settle()
    await desk.end_all()
    assert desk.served[0] == "a"
    assert set(desk.served[1:]) == {"b", "c"} - ({"abc"[gone]} if gone else set())
    await asyncio.gather(*tasks, return_exceptions=True)
    (again,) = await desk.line_up("d")
    assert desk.served[-1] == "d"
    await desk.end_all()
    await again


async def test_who_leaves_at_the_moment_of_its_turn_hands_it_on() -> None:
    desk = Desk()
    tasks = await desk.line_up("ab")
    desk.turns._hand_on()
    tasks[1].cancel()
    await settle()
    assert desk.turns._free == 1
    await desk.end_all()
    await asyncio.gather(*tasks, return_exceptions=True)
