"""npm ``openid-client``: certified for the Basic and FAPI relying party profiles. ``driver.mjs`` runs it."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.e2e.clients.application import Answer
from tests.e2e.clients.library import MAX_AGE, RefusedError, Registration, Tokens

HERE = Path(__file__).parent


class Driver:
    """A node process that does one thing at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, action: str, **parameters: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"action": action, **parameters}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "node has ended; its message is above"
        reply = json.loads(line)
        if "error" in reply:
            raise RefusedError(reply["error"], reply["text"])
        return reply["result"]

    def client(self, registration: Registration) -> "OpenidClient":
        """Discover the authority and return the client."""
        of = self.ask(
            "discover",
            issuer=registration.issuer,
            client_id=registration.client_id,
            client_secret=registration.secret,
            method=registration.method,
            algorithm=registration.algorithm,
        )
        return OpenidClient(self, of)


@contextlib.contextmanager
def driver() -> Iterator[Driver]:
    """Run node while the context lasts."""
    with subprocess.Popen(
        ["node", "driver.mjs"], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Driver(process)  # leaving closes its standard input, and so ends it


@dataclass(frozen=True)
class OpenidClient:
    driver: Driver
    of: int

    def authorization_url(self, redirect_uri: str, scope: str, **extra: str) -> str:
        parameters = {"redirect_uri": redirect_uri, "scope": scope, "max_age": MAX_AGE, "extra": extra}
        return str(self.driver.ask("authorization_url", of=self.of, **parameters))

    def redeem(self, answer: Answer) -> Tokens:
        state = answer.parameters["state"]
        return _tokens(self.driver.ask("redeem", of=self.of, url=answer.url, form=answer.form, state=state))

    def userinfo(self, tokens: Tokens) -> dict[str, Any]:
        parameters = {"access_token": tokens.access_token, "subject": tokens.claims["sub"]}
        return dict(self.driver.ask("userinfo", of=self.of, **parameters))

    def refresh(self, refresh_token: str) -> Tokens:
        return _tokens(self.driver.ask("refresh", of=self.of, refresh_token=refresh_token))

    def introspect(self, token: str) -> dict[str, Any]:
        return dict(self.driver.ask("introspect", of=self.of, token=token))

    def revoke(self, token: str, kind: Literal["access_token", "refresh_token"]) -> None:
        self.driver.ask("revoke", of=self.of, token=token)

    def logout_url(self, id_token: str, return_to: str, state: str) -> str:
        parameters = {"id_token_hint": id_token, "post_logout_redirect_uri": return_to, "state": state}
        return str(self.driver.ask("logout_url", of=self.of, **parameters))

    def client_credentials(self, scope: str) -> dict[str, Any]:
        return dict(self.driver.ask("client_credentials", of=self.of, scope=scope))


def _tokens(response: dict[str, Any]) -> Tokens:
    names = ("access_token", "refresh_token", "id_token", "scope", "claims")
    return Tokens(**{name: response[name] for name in names})
