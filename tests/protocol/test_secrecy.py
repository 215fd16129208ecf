"""No secret in clear: not in the database, not in a log, not in an error (invariant I8)."""

import base64
import hashlib
import json
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from tests.protocol.answers import assert_tokens
from tests.protocol.inhabitants import ANOTHER_PASSWORD, another_user, client_of, user_of
from tests.support.failing import FailingStore
from tests.support.installation import API, PASSWORD, PREFIX, VERIFIER, Installation, install
from tests.support.metrics import read_metrics

from mintmark.authority import login, people
from mintmark.authority import token as tokens_module
from mintmark.authority.ports import Store
from mintmark.authority.registration import rotate_secret
from mintmark.authority.token import RefreshRequest, token
from mintmark.cli.logs import configure
from mintmark.storage.memory import MemoryStore
from mintmark.storage.sqlite import SQLiteStore

NEW_PASSWORD = "nine yellow bicycles waiting"
WRONG_PASSWORD = "this is not her password"
WRONG_SECRET = "mms_" + "w" * 43


def shapes(secret: str) -> Iterator[bytes]:
    """Yield the forms in which a secret could lie around: itself, decoded, its parts, and unsalted digests of it."""
    raw = secret.encode()
    yield raw
    for part in (secret, secret.partition("_")[2]):
        digest = hashlib.sha256(part.encode())
        yield digest.digest()
        yield digest.hexdigest().encode()
        yield base64.urlsafe_b64encode(digest.digest()).rstrip(b"=")
    if secret.startswith(("mmc_", "mmr_")):
        body = base64.urlsafe_b64decode(secret[4:] + "=")
        yield body[21:]  # the MAC
        yield base64.urlsafe_b64encode(body[21:])[:40]
        yield body[21:].hex().encode()


async def whole_flow(mint: Installation) -> dict[str, str]:
    """Use everything, rightly and wrongly; return every secret that came up."""
    authority = mint.authority
    secrets = {"password": PASSWORD, "verifier": VERIFIER, "new password": NEW_PASSWORD, "wrong": WRONG_PASSWORD}
    secrets |= {f"secret of {client_id}": secret for client_id, secret in mint.secrets.items()}
    outcome = await login.sign_in(
        authority, email="ada@example.com", password=PASSWORD, address="192.0.2.1", user_agent="x", cookie=None
    )
    assert isinstance(outcome, login.SignedIn)
    secrets["session cookie"] = outcome.cookie
    await login.sign_in(
        authority, email="ada@example.com", password=WRONG_PASSWORD, address="192.0.2.1", user_agent="x", cookie=None
    )
    codes = [await mint.grant(session=outcome.session) for _ in range(3)]
    first = assert_tokens(await mint.redeem(codes[0]))
    second = assert_tokens(await mint.refresh(first["refresh_token"]))
    assert_tokens(await mint.refresh(first["refresh_token"]))
    own = assert_tokens(await mint.post("/token", "service", grant_type="client_credentials"))
    for number, answer in enumerate((first, second, own)):
        secrets |= {f"{kind} {number}": answer[kind] for kind in answer if kind.endswith("_token")}
    secrets |= {f"code {number}": code for number, code in enumerate(codes)}
    async with mint.http() as http:
        await http.get(PREFIX + "/userinfo", headers={"authorization": f"Bearer {second['access_token']}"})
    for each in (second["access_token"], second["refresh_token"]):
        await mint.post("/introspect", "service", token=each)
        await mint.post("/introspect", "web", token=each)
    # Wrongly: refused, reused, in the wrong place, twice, with what is wrong in them.
    await mint.redeem(codes[1], code_verifier="w" * 43)
    await mint.redeem(codes[1], redirect_uri=secrets["session cookie"])
    await mint.redeem(second["refresh_token"])
    await mint.refresh(second["access_token"])
    await mint.refresh(second["refresh_token"], "spa")
    await mint.refresh(second["refresh_token"], scope=f"{second['refresh_token']}")
    await mint.refresh(second["refresh_token"], resource=f"https://x/{codes[2]}")
    await mint.post("/token", "web", grant_type="authorization_code", code=[codes[2], codes[2]])
    await mint.post("/token", "web", client_secret=WRONG_SECRET, grant_type="refresh_token", refresh_token="x")
    await mint.post("/revoke", "spa", token=second["refresh_token"])
    async with mint.http() as http:
        for auth in (("web", WRONG_SECRET), ("web", mint.secrets["web"])):
            await http.post(PREFIX + "/token", data={"client_secret": WRONG_SECRET}, auth=auth)
        await http.post(PREFIX + f"/token?refresh_token={second['refresh_token']}")
        await http.get(PREFIX + "/userinfo", headers={"authorization": f"Basic {second['access_token']}"})
        for misplaced in (second["refresh_token"], secrets["session cookie"], WRONG_SECRET, codes[2]):
            await http.get(f"/login/{misplaced}", headers={"x-request-id": misplaced, "traceparent": misplaced})
            await http.request("DELETE", f"{PREFIX}/{misplaced}", headers={"cookie": f"__Host-mintmark={misplaced}"})
    assert (await mint.redeem(codes[0])).status_code == 400
    third = assert_tokens(await mint.redeem(codes[2]))
    secrets |= {"refresh_token 3": third["refresh_token"], "access_token 3": third["access_token"]}
    await mint.post("/revoke", "web", token=third["access_token"])
    await mint.post("/revoke", "web", token=third["refresh_token"])
    secrets["rotated secret"] = await rotate_secret(authority, await client_of(mint, "service"))
    await another_user(mint)
    secrets["another password"] = ANOTHER_PASSWORD
    await people.change_password(authority, await user_of(mint), current=PASSWORD, new=NEW_PASSWORD)
    secrets["wrong secret"] = WRONG_SECRET
    return secrets


def every_byte_in(directory: Path) -> bytes:
    """Return the content of all files: the database, its log, and whatever else lies there."""
    return b"".join(path.read_bytes() for path in sorted(directory.iterdir()))


def private_parts(mint: Installation) -> dict[str, str]:
    """Return the private members of every signing key, and the server secrets."""
    parts: dict[str, str] = {}
    for kid, key in mint.authority.keyring._opened.items():
        members = key.private_jwk()
        parts |= {f"{name} of {kid}": members[name] for name in ("d", "p", "q") if name in members}
    return parts


def assert_absent(secrets: dict[str, str], haystack: bytes, *, digests: bool) -> None:
    for name, secret in secrets.items():
        for number, shape in enumerate(shapes(secret)):
            if number and not digests:
                continue
            assert shape not in haystack, f"{name}, shape {number}"


@pytest.mark.spec("invariant I8")
async def test_the_database_opens_nothing(tmp_path: Path) -> None:
    """Every byte of the file and its log, after a whole flow: no password, code, token, secret, key or cookie."""
    store = SQLiteStore.open(tmp_path / "mintmark.db", now=1_700_000_000)
    mint = await install(store=store)
    secrets = await whole_flow(mint)
    content = every_byte_in(tmp_path)
    assert b"ada@example.com" in content
    assert b"https://app.example/callback" in content
    # Client secrets and session cookies are stored as digests, by design: they have 256 bits. So is the verifier: the
    # client itself sent its digest, the challenge.
    digested = ("secret", "session", "rotated", "verifier")
    hashed = {name: value for name, value in secrets.items() if name.startswith(digested)}
    assert hashlib.sha256(hashed["session cookie"].encode()).digest() in content
    assert_absent(hashed, content, digests=False)
    assert_absent({name: value for name, value in secrets.items() if name not in hashed}, content, digests=True)
    assert_absent(private_parts(mint), content, digests=False)
    for member in private_parts(mint).values():
        assert base64.urlsafe_b64decode(member + "==") not in content
    for server_secret in mint.authority.keyring.secrets.by_version.values():
        assert server_secret not in content
        assert base64.b64encode(server_secret)[:40] not in content
    await store.close()


@pytest.mark.spec("invariant I8")
async def test_no_log_line_and_no_audit_event_holds_a_secret(
    store: Store, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither what we log, nor what others log, nor what is printed, nor what is audited."""
    caplog.set_level(logging.DEBUG)
    with capture_logs() as logs:
        mint = await install(store=store)
        secrets = await whole_flow(mint)
    assert len(logs) > 10
    events = await mint.authority.store.audit.latest(1000)
    assert len(events) > 10
    printed = capfd.readouterr()
    ours = [record.getMessage() for record in caplog.records if record.name != "httpx"]
    said = json.dumps(logs, default=repr) + repr(events) + "".join(ours) + printed.out + printed.err
    assert_absent(secrets | private_parts(mint), said.encode(), digests=True)
    # Nor whose it was: emails belong into no log line.
    assert "ada@example.com" not in json.dumps(logs, default=repr)


@pytest.mark.spec("invariant I8")
@pytest.mark.parametrize("style", ["json", "console"])
async def test_no_line_as_it_is_written_holds_a_secret(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As an operator sees it who wants to see everything."""
    configure("debug", style)
    try:
        mint = await install()
        secrets = await whole_flow(mint)
    finally:
        structlog.reset_defaults()
    said = capsys.readouterr().err
    assert len(said.splitlines()) > 40
    assert "request_id" in said
    assert_absent(secrets | private_parts(mint), said.encode(), digests=True)
    assert "ada@example.com" not in said


@pytest.mark.spec("invariant I8")
async def test_no_metric_holds_a_secret_or_a_name(mint: Installation) -> None:
    secrets = await whole_flow(mint)
    shown = (await read_metrics(mint.authority)).text
    assert "mintmark_reuse_total" in shown
    assert_absent(secrets | private_parts(mint), shown.encode(), digests=True)
    user = await user_of(mint)
    for name in ("ada@example.com", user.subject, '"web"', '"service"', '"spa"', "192.0.2.1"):
        assert name not in shown


@pytest.mark.spec("invariant I8")
async def test_no_answer_quotes_what_was_sent() -> None:
    """Whatever is wrong with a secret, the error does not repeat it."""
    mint = await install()
    tokens = await mint.obtain()
    code = await mint.grant()
    answers = [
        (code, await mint.redeem(code, code_verifier="x")),
        (code, await mint.refresh(code)),
        (code, await mint.post("/token", "web", grant_type=code)),
        (tokens["refresh_token"], await mint.refresh(tokens["refresh_token"], "spa")),
        (tokens["refresh_token"], await mint.refresh(tokens["refresh_token"], scope=tokens["refresh_token"])),
        (tokens["refresh_token"], await mint.post("/revoke", "spa", token=tokens["refresh_token"])),
        (WRONG_SECRET, await mint.post("/token", "web", client_secret=WRONG_SECRET)),
    ]
    for secret, answer in answers:
        assert answer.status_code >= 400
        assert secret not in answer.text + str(answer.headers)


@pytest.mark.spec("invariant I8")
async def test_no_traceback_and_no_repr_holds_a_secret() -> None:
    """An exception thrown in the middle, with all values in sight, and what debuggers print."""
    failing = FailingStore(MemoryStore())
    mint = await install(store=failing.as_store())
    tokens: dict[str, Any] = await mint.obtain(resource=API)
    refresh_token = tokens["refresh_token"]
    client = await client_of(mint, "web")
    request = RefreshRequest(refresh_token=refresh_token)
    failing.watch(0, error=RuntimeError("away"))
    with pytest.raises(RuntimeError) as caught:
        await token(mint.authority, client, request)
    failing.watch()
    response = await token(mint.authority, client, request)
    code_request = tokens_module.CodeRequest(code=refresh_token, redirect_uri=None, code_verifier=VERIFIER)
    text = "".join(traceback.format_exception(caught.value))
    text += repr([request, response, code_request, mint.authority.keyring, mint.authority.keyring.secrets])
    text += repr([client, mint.user, mint.authority.keyring.master_keys, *mint.authority.keyring._opened.values()])
    assert mint.user is not None
    hidden = {"token": refresh_token, "new": response.access_token, "hash": mint.user.password_hash, "pkce": VERIFIER}
    assert_absent(hidden | private_parts(mint), text.encode(), digests=False)
    for server_secret in mint.authority.keyring.secrets.by_version.values():
        assert repr(server_secret)[2:-1] not in text


@pytest.mark.spec("invariant I8")
@pytest.mark.parametrize("place", ["path", "grant_type"])
async def test_a_secret_in_the_wrong_place_is_not_logged_either(mint: Installation, place: str) -> None:
    """Clients mix things up: what looks like a token of ours never reaches the log."""
    refresh_token = (await mint.obtain())["refresh_token"]
    with capture_logs() as logs:
        if place == "path":
            async with mint.http() as http:
                answer = await http.get(f"{PREFIX}/revoke/{refresh_token}")
        else:
            answer = await mint.post("/token", "web", grant_type=refresh_token)
    assert answer.status_code in {400, 404}
    assert refresh_token[:50] not in json.dumps(logs)
