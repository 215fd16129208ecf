"""One Django project for all tests of a process: settings can be made once only; each test overrides what it needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import django
from django.conf import settings
from django.test.utils import override_settings
from django.urls import clear_url_caches

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
]

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["testserver"],
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "mintmark.verifier.django.MintmarkConfig",
            "rest_framework",
        ],
        LOGIN_URL="/login",
        MIDDLEWARE=MIDDLEWARE,
        MINTMARK={"issuer": "https://mint.test", "audience": "https://api.test"},
        SECRET_KEY="only for tests",  # signs nothing
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    )
    django.setup()


@contextmanager
def project(urls: Any, **settings: Any) -> Iterator[None]:
    """Serve ``urls`` while the context lasts."""
    module = ModuleType("urls")
    module.__dict__["urlpatterns"] = urls
    with override_settings(ROOT_URLCONF=module, **settings):
        clear_url_caches()
        yield
