"""What a restored database does not know any more, and must not be trusted about (invariants I6, I11)."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.property.grant_machine import populated_memory
from tests.support.nodes import CALLBACK, START, VERIFIER, MemoryDisk, Node
from tests.support.world import FixedClock

from mintmark.authority.introspection import introspect
from mintmark.authority.login import end_session
from mintmark.authority.people import sign_out_everywhere
from mintmark.authority.revocation import revoke
from mintmark.authority.token import CodeRequest, RefreshRequest, token
from mintmark.oauth.errors import OAuthError

pytestmark = pytest.mark.anyio


async def revoked(node: Node, newest: str, _oldest: str) -> None:
    await revoke(node.authority, await node.client("web"), newest)


async def reused(node: Node, newest: str, oldest: str) -> None:
    web = await node.client("web")
    await token(node.authority, web, RefreshRequest(refresh_token=newest))
    with pytest.raises(OAuthError):
        await token(node.authority, web, RefreshRequest(refresh_token=oldest))


async def signed_out(node: Node, _newest: str, _oldest: str) -> None:
    await end_session(node.authority, "sid", "usr_ada")


async def signed_out_everywhere(node: Node, _newest: str, _oldest: str) -> None:
    await sign_out_everywhere(node.authority, "usr_ada", reason="account")


@pytest.mark.spec("invariant I6", "invariant I11")
@pytest.mark.parametrize(
    "end",
    [
        revoked,
        # Here the row was brought forward first.
        reused,
        signed_out,
        signed_out_everywhere,
    ],
)
async def test_an_access_token_younger_than_the_backup_dies_with_its_grant(
    end: Callable[[Node, str, str], Awaitable[None]],
) -> None:
    disk = MemoryDisk(await asyncio.to_thread(populated_memory))
    clock = FixedClock(START + 60)
    node = Node(disk, clock, "before")
    await node.authority.start()
    web = await node.client("web")
    code = await node.issue("web", "usr_ada", scope=("openid", "orders:read"))
    first = await token(node.authority, web, CodeRequest(code=code, redirect_uri=CALLBACK, code_verifier=VERIFIER))
    copy = await disk.copy()
    clock.advance(400)
    second = await token(node.authority, web, RefreshRequest(refresh_token=first.refresh_token or ""))
    await disk.restore(copy)
    node = Node(disk, clock, "after")
    await node.authority.start()
    api = await node.client("api")
    assert (await introspect(node.authority, api, second.access_token))["active"]
    await end(node, second.refresh_token or "", first.refresh_token or "")
    assert not (await introspect(node.authority, api, second.access_token))["active"]
