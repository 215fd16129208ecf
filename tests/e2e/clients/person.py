"""A person at a browser: what they see and press on the authority's pages."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Page
from tests.e2e.clients.application import Answer, Application
from tests.support.installation import PASSWORD


@dataclass(frozen=True)
class Person:
    email: str
    context: BrowserContext
    page: Page
    application: Application

    def go(self, url: str) -> None:
        self.page.goto(url)

    def fill_in(self, password: str = PASSWORD, *, email: str | None = None, page: Page | None = None) -> None:
        """Type email and password and press the button."""
        page = page or self.page
        page.fill("#email", email or self.email)
        page.fill("#password", password)
        page.click("#sign-in")

    def allow(self, page: Page | None = None) -> Answer:
        page = page or self.page
        page.click("#allow")
        return self.lands(page)

    def deny(self) -> Answer:
        self.page.click("#deny")
        return self.lands()

    def authorize(self, url: str) -> Answer:
        """Follow an application that has never been here: sign in, allow, land."""
        self.go(url)
        self.fill_in()
        return self.allow()

    def lands(self, page: Page | None = None) -> Answer:
        """Wait until the browser shows a page of the application; return what it brought there."""
        answer = self.application.answer()
        self.arrives_at(urlsplit(answer.url).path, page)
        return answer

    def arrives_at(self, path: str, page: Page | None = None) -> bool:
        """Wait until the browser shows the page at ``path``."""
        (page or self.page).wait_for_url(lambda url: urlsplit(url).path == path)
        return True
