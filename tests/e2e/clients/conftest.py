"""A running authority, an application, a browser, and people who have never been here."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, sync_playwright
from tests.e2e.clients.application import Application, application
from tests.e2e.clients.openid_client import Driver, driver
from tests.e2e.clients.person import Person
from tests.support.serving import Served, served

_CHROMIUM = "/usr/bin/chromium"
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_PAGE_MILLISECONDS = 20_000

MakePerson = Callable[..., Person]


@pytest.fixture(scope="session")
def app() -> Iterator[Application]:
    with application() as running:
        yield running


@pytest.fixture(scope="session")
def authority(app: Application, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("authority"), app.origin) as running:
        yield running


@pytest.fixture(scope="session")
def node() -> Iterator[Driver]:
    directory = Path(__file__).parent
    assert (directory / "node_modules").is_dir(), "run `make check-all` or `sh scripts/node-packages tests/e2e/clients`"
    with driver() as running:
        yield running


# Not for the whole session: while Playwright's loop lives, no test of this process could run another one.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def newcomers(authority: Served) -> Iterator[str]:
    return iter(authority.people)


@pytest.fixture
def make_person(chromium: Browser, newcomers: Iterator[str], app: Application) -> Iterator[MakePerson]:
    contexts = []
    blocked: list[str] = []
    app.forget()

    def hear(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            blocked.append(message.text)

    def make(*, has_javascript: bool = True) -> Person:
        context = chromium.new_context(java_script_enabled=has_javascript)
        context.set_default_timeout(_PAGE_MILLISECONDS)
        context.on("console", hear)
        contexts.append(context)
        return Person(next(newcomers), context, context.new_page(), app)

    yield make
    for context in contexts:
        context.close()
    assert blocked == []


@pytest.fixture
def person(make_person: MakePerson) -> Person:
    return make_person()
