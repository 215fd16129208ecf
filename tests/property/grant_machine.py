"""A machine that drives two nodes on one database through whatever may happen, beside the model of what must come of it."""

import asyncio
import tempfile
from functools import cache
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import rule
from tests.property.grant_clients import GRANTS, Clients
from tests.property.grant_model import Revoke
from tests.support import nodes
from tests.support.nodes import API, CALLBACK, VERIFIER, Disk

from mintmark.authority.introspection import INACTIVE, introspect
from mintmark.authority.revocation import revoke
from mintmark.authority.token import CodeRequest, RefreshRequest, token
from mintmark.jose import base64url
from mintmark.oauth.errors import OAuthError


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


class GrantMachine(Clients):
    """Two nodes, two people, four clients, a thief who sees every token, and an operator who restores backups."""

    @rule(grant=GRANTS, back=st.integers(0, 3), by=st.sampled_from(["owner", "owner", "other"]))
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
        grant=GRANTS,
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
        grant=GRANTS,
        garbage=st.one_of(st.text(max_size=90), st.binary(min_size=53, max_size=53)),
        node=st.integers(0, 1),
    )
    def garbage(self, grant: str, garbage: str | bytes, node: int) -> None:
        text = garbage if isinstance(garbage, str) else "mmr_" + base64url.encode(garbage)
        self._is_garbage(text, self._who(grant), node)

    @rule(grant=GRANTS, node=st.integers(0, 1))
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
            # A resource server is told of tokens that are meant for it.
            expected_alive = self._is_access_alive(access, now) if API in access.audience else False
            answer = self.run(introspect(running.authority, api, access.value))
            if expected_alive is not None:
                assert answer["active"] == expected_alive, self.story(f"{access}: {answer}, not {expected_alive}")


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
