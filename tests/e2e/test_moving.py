"""A whole installation moves from SQLite to PostgreSQL and back, by the commands of docs/moving.md: nobody notices."""

import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from tests.support.installation import CALLBACK, PASSWORD, PREFIX, VERIFIER, authorize_url, hidden_fields, sign_in
from tests.support.postgres import PostgreSQL
from tests.unit.cli.processes import clean_environment, free_port, started

pytestmark = [pytest.mark.slow, pytest.mark.anyio, pytest.mark.timeout(600)]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "moving.md"
SCOPE = "openid offline_access"


@dataclass
class Place:
    """A folder with settings and a master key, and the client that was registered when it was founded."""

    folder: Path
    issuer: str
    secret: str

    def run(self, *args: str) -> str:
        """Run a command here; return what it printed."""
        return run(self.folder, *args)

    def move_to(self, folder: Path, database: str) -> "Place":
        """Return another place for the same installation: other database, same settings, same master key."""
        folder.mkdir()
        settings = (self.folder / "mintmark.toml").read_text().splitlines()
        changed = [f'database = "{database}"' if line.startswith("database = ") else line for line in settings]
        assert changed != settings
        (folder / "mintmark.toml").write_text("\n".join(changed))
        shutil.copy2(self.folder / "mintmark.key", folder)
        return Place(folder, self.issuer, self.secret)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[httpx.AsyncClient]:
        """Run `mintmark serve` here; yield a browser without cookies."""
        with started(self.folder, "serve") as process:
            process.read_until("mintmark is ready")
            async with httpx.AsyncClient(base_url=self.issuer, trust_env=False, timeout=30) as browser:
                yield browser
            assert "Traceback" not in process.errors()

    async def post(self, browser: httpx.AsyncClient, path: str, **form: str) -> httpx.Response:
        """Post a form as the client."""
        return await browser.post(PREFIX + path, data=form, auth=("web", self.secret))

    async def refresh(self, browser: httpx.AsyncClient, refresh_token: str) -> httpx.Response:
        return await self.post(browser, "/token", grant_type="refresh_token", refresh_token=refresh_token)

    async def obtain(self, browser: httpx.AsyncClient) -> dict[str, Any]:
        """Walk through authorize and consent; return the token response."""
        answer = await browser.get(authorize_url("web", scope=SCOPE, prompt="consent"))
        page = await browser.get(answer.headers["location"])
        answer = await browser.post(answer.headers["location"], data=hidden_fields(page) | {"decision": "allow"})
        while answer.headers["location"].startswith((self.issuer, "/")):
            answer = await browser.get(answer.headers["location"])
        (code,) = parse_qs(urlsplit(answer.headers["location"]).query)["code"]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
        response = await self.post(browser, "/token", **form)
        assert response.status_code == 200, response.text
        tokens: dict[str, Any] = response.json()
        return tokens


def run(folder: Path, *args: str, typed: str = "") -> str:
    command = [sys.executable, "-m", "mintmark.cli.main", *args]
    done = subprocess.run(
        command, cwd=folder, input=typed, capture_output=True, text=True, env=clean_environment(), check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def commands(heading: str) -> list[list[str]]:
    """Return what docs/moving.md lets mintmark do under a heading, word by word."""
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    shown = "".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL))
    return [line.split()[1:] for line in shown.splitlines() if line.split()[:1] == ["mintmark"]]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Where `mintmark init` has been."""
    issuer = f"http://127.0.0.1:{free_port()}"
    folder = tmp_path / "first"
    words = ("--dir", str(folder), "--issuer", issuer, "--admin-email", "ada@example.com", "--password-stdin")
    made = run(tmp_path, "init", *words, "--client-id", "web", "--redirect-uri", CALLBACK, typed=PASSWORD)
    secret = made.partition("secret: ")[2].split()[0]
    return Place(folder, issuer, secret)


async def keys_of(browser: httpx.AsyncClient) -> dict[str, Any]:
    return {key["kid"]: key for key in (await browser.get("/.well-known/jwks.json")).json()["keys"]}


async def is_signed_in(browser: httpx.AsyncClient, cookies: httpx.Cookies) -> bool:
    """Tell whether the account page takes these cookies."""
    browser.cookies = httpx.Cookies(cookies)
    return (await browser.get("/account")).status_code == 200


def is_signed_by(token: str, keys: dict[str, Any]) -> bool:
    """Verify a token as any library does, with keys that were fetched before."""
    key = jwt.PyJWK(keys[jwt.get_unverified_header(token)["kid"]])
    return bool(jwt.decode(token, key, algorithms=["RS256", "ES256"], options={"verify_aud": False}))


@dataclass
class Held:
    """What the world holds of an installation when it is moved."""

    cookies: httpx.Cookies
    signed_out: httpx.Cookies
    keys: dict[str, Any]
    tokens: dict[str, Any]
    predecessor: str
    revoked_access: str
    revoked_refresh: str


async def live(place: Place) -> Held:
    """Let people sign in and out, and clients get, rotate and revoke tokens."""
    async with place.serving() as browser:
        await sign_in(browser)
        signed_out = httpx.Cookies(browser.cookies)
        page = await browser.get(f"{PREFIX}/logout")
        await browser.post(f"{PREFIX}/logout", data=hidden_fields(page))
        browser.cookies = httpx.Cookies()
        await sign_in(browser)
        cookies = httpx.Cookies(browser.cookies)
        kept, one, other = [await place.obtain(browser) for _ in range(3)]
        rotated = (await place.refresh(browser, kept["refresh_token"])).json()
        await place.post(browser, "/revoke", token=one["access_token"])
        await place.post(browser, "/revoke", token=other["refresh_token"])
        assert await is_signed_in(browser, cookies)
        assert not await is_signed_in(browser, signed_out)
        return Held(
            cookies=cookies,
            signed_out=signed_out,
            keys=await keys_of(browser),
            tokens=rotated,
            predecessor=kept["refresh_token"],
            revoked_access=one["access_token"],
            revoked_refresh=other["refresh_token"],
        )


async def goes_on(place: Place, held: Held) -> Held:
    """Serve, and check that nobody notices; return what the world holds then."""
    async with place.serving() as browser:
        assert await keys_of(browser) == held.keys
        assert is_signed_by(held.tokens["access_token"], await keys_of(browser))
        assert await is_signed_in(browser, held.cookies)
        assert not await is_signed_in(browser, held.signed_out)
        bearer = {"authorization": f"Bearer {held.tokens['access_token']}"}
        assert (await browser.get(f"{PREFIX}/userinfo", headers=bearer)).status_code == 200
        bearer = {"authorization": f"Bearer {held.revoked_access}"}
        assert (await browser.get(f"{PREFIX}/userinfo", headers=bearer)).status_code == 401
        assert (await place.refresh(browser, held.revoked_refresh)).json()["error"] == "invalid_grant"
        answer = await place.refresh(browser, held.tokens["refresh_token"])
        assert answer.status_code == 200, answer.text
        return replace(held, tokens=answer.json(), predecessor=held.tokens["refresh_token"])


async def test_an_installation_moves_to_postgresql_and_back(
    place: Place, postgresql_server: PostgreSQL, tmp_path: Path
) -> None:
    exporting, *taking_in = commands("From SQLite to PostgreSQL")
    held = await live(place)
    place.run(*exporting)
    url = postgresql_server.create_database("moving")
    moved = place.move_to(tmp_path / "second", url)
    shutil.move(place.folder / exporting[-1], moved.folder)
    assert [words[0] for words in taking_in] == ["migrate", "import", "doctor"]
    for words in taking_in:
        moved.run(*words)
    held = await goes_on(moved, held)

    moved.run("export", "back.export")
    back = moved.move_to(tmp_path / "third", "mintmark.sqlite3")
    back.run("import", str(moved.folder / "back.export"))
    held = await goes_on(back, held)
    assert "grant.fast_forwarded" not in back.run("audit", "list", "--limit", "1000")
    # Reuse detection moved along: a token of the first place ends the grant in the third.
    async with back.serving() as browser:
        newest = (await back.refresh(browser, held.tokens["refresh_token"])).json()
        assert (await back.refresh(browser, held.predecessor)).json()["error"] == "invalid_grant"
        assert (await back.refresh(browser, newest["refresh_token"])).json()["error"] == "invalid_grant"
