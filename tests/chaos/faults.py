"""What each kind of fault does, and how it is undone."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from tests.chaos.cluster import Cluster, Node
from tests.chaos.history import History, Trouble
from tests.chaos.plan import Fault

Act = Callable[[Cluster, Fault], Awaitable[None]]


async def inflict(lane: Iterable[Fault], cluster: Cluster, history: History, seconds: float) -> None:
    """Inflict the faults of a lane, each some time after the one before is undone; none begins after ``seconds``.

    A node may take its time to start, so that some drop out.
    """
    ends_at = time.monotonic() + seconds
    for fault in lane:
        await asyncio.sleep(fault.pause)
        at = time.monotonic()
        if at > ends_at:
            return
        await ACTS[fault.kind](cluster, fault)
        target = "" if fault.node is None else f"node {fault.node}"
        history.troubles.append(Trouble(kind=fault.kind, target=target, began_at=at, ended_at=time.monotonic()))


async def _kill(cluster: Cluster, fault: Fault) -> None:
    await _replace(_node(cluster, fault), signal.SIGKILL, fault.seconds)


async def _drain(cluster: Cluster, fault: Fault) -> None:
    await _replace(_node(cluster, fault), signal.SIGTERM, fault.seconds)


async def _replace(node: Node, kind: signal.Signals, seconds: float) -> None:
    node.is_wanted = False
    node.send(kind)
    await node.ended()
    await asyncio.sleep(seconds)
    node.start()
    node.is_wanted = True
    await node.ready()


async def _stop(cluster: Cluster, fault: Fault) -> None:
    node = _node(cluster, fault)
    node.send(signal.SIGSTOP)
    await asyncio.sleep(fault.seconds)
    node.send(signal.SIGCONT)


async def _set_clock(cluster: Cluster, fault: Fault) -> None:
    node = _node(cluster, fault)
    node.set_clock(fault.skew)
    await asyncio.sleep(fault.seconds)
    node.set_clock(0)


async def _cut_database(cluster: Cluster, fault: Fault) -> None:
    proxy = _node(cluster, fault).wires.database
    proxy.cut()
    await asyncio.sleep(fault.seconds)
    proxy.restore()


async def _swallow_database(cluster: Cluster, fault: Fault) -> None:
    proxy = _node(cluster, fault).wires.database
    proxy.swallow()
    await asyncio.sleep(fault.seconds)
    proxy.restore()


async def _cut_redis(cluster: Cluster, fault: Fault) -> None:
    proxy = _node(cluster, fault).wires.redis
    proxy.cut()
    await asyncio.sleep(fault.seconds)
    proxy.restore()


async def _swallow_redis(cluster: Cluster, fault: Fault) -> None:
    proxy = _node(cluster, fault).wires.redis
    proxy.swallow()
    await asyncio.sleep(fault.seconds)
    proxy.restore()


async def _pull_cable(cluster: Cluster, fault: Fault) -> None:
    wires = _node(cluster, fault).wires
    wires.pull()
    await asyncio.sleep(fault.seconds)
    wires.plug()


async def _crash_database(cluster: Cluster, fault: Fault) -> None:
    await asyncio.to_thread(cluster.postgres.stop, "immediate")
    await asyncio.sleep(fault.seconds)
    await asyncio.to_thread(cluster.postgres.start)


async def _kill_redis(cluster: Cluster, fault: Fault) -> None:
    port = cluster.redis.port
    await asyncio.to_thread(cluster.redis.kill)
    await asyncio.sleep(fault.seconds)
    await asyncio.to_thread(cluster.redis.start)
    assert cluster.redis.port == port, "somebody else has taken the port of Redis; run again"


async def _flush_redis(cluster: Cluster, _: Fault) -> None:
    await asyncio.to_thread(cluster.redis.flush)


def _node(cluster: Cluster, fault: Fault) -> Node:
    assert fault.node is not None
    return cluster.nodes[fault.node]


ACTS: Final[Mapping[str, Act]] = {
    "kill -9 of a node": _kill,
    "SIGSTOP of a node": _stop,
    "SIGTERM to a node": _drain,
    "clock of a node set": _set_clock,
    "PostgreSQL connections of a node cut": _cut_database,
    "PostgreSQL swallowed for a node": _swallow_database,
    "Redis connections of a node cut": _cut_redis,
    "Redis swallowed for a node": _swallow_redis,
    "cable of a node pulled": _pull_cable,
    "PostgreSQL stopped at once": _crash_database,
    "kill -9 of Redis": _kill_redis,
    "FLUSHALL": _flush_redis,
}
