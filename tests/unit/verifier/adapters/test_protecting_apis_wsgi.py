"""What docs/protecting-apis-wsgi.md says, done."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import AsyncClient, Client
from django.test.utils import override_settings
from tests.unit.verifier.adapters.django_project import project
from werkzeug.test import Client as WSGIClient

from mintmark.testing import Mint
from mintmark.verifier import Verifier
from mintmark.verifier.django import current_auth

PAGE = Path(__file__).resolve().parents[4] / "docs" / "protecting-apis-wsgi.md"


@pytest.fixture
def mint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mint]:
    with Mint() as mint:
        monkeypatch.setattr(Verifier, "from_env", mint.verifier)
        for name in ("ISSUER", "AUDIENCE", "CLIENT_ID", "CLIENT_SECRET"):
            monkeypatch.setenv(f"MINTMARK_{name}", getattr(mint, name.lower(), "orders"))
        with override_settings(MINTMARK={"verifier": mint.verifier()}):
            yield mint


def snippet(section: str, number: int = 0) -> dict[str, Any]:
    """Run a snippet of the page and return its names."""
    text = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (body,) = [part for part in text if part.startswith(f"{section}\n")]
    source = re.findall(r"^```python\n(.*?)^```", body, re.MULTILINE | re.DOTALL)[number]
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(source, f"{PAGE.name}: {section}", "exec"), names)
    return names


def test_wsgi(mint: Mint) -> None:
    http = WSGIClient(snippet("WSGI")["application"])
    assert http.get("/").status_code == 401
    assert http.get("/", headers=mint.headers()).status_code == 403
    assert http.get("/", headers=mint.headers(scope="orders:read")).data == b"ada"


def test_flask(mint: Mint) -> None:
    http = snippet("Flask")["app"].test_client()
    assert http.get("/orders").status_code == 401
    assert http.get("/orders", headers=mint.headers(scope="orders:read")).json == {"orders of": "ada"}
    clerk = {"scope": "orders:write", "roles": ["clerk"]}
    assert http.delete("/admin/orders", headers=mint.headers(scope="orders:write")).status_code == 403
    assert http.delete("/admin/orders", headers=mint.headers(**clerk, auth_time=0)).status_code == 401
    assert http.delete("/admin/orders", headers=mint.headers(**clerk)).json == {"forgotten by": "ada"}


def test_django_settings(mint: Mint) -> None:
    names = snippet("Django")
    with override_settings(MINTMARK=names["MINTMARK"], INSTALLED_APPS=names["INSTALLED_APPS"]):
        assert current_auth().verifier.audience == {mint.audience}


async def test_django_views(mint: Mint) -> None:
    with project(snippet("Django", 1)["urlpatterns"]):
        http = AsyncClient()
        assert (await http.get("/orders")).status_code == 401
        assert (await http.get("/orders", headers=mint.headers(scope="orders:read"))).json() == {"orders of": "ada"}
        assert (await http.delete("/order", headers=mint.headers(scope="orders:read"))).status_code == 403
        writer = mint.headers(scope="orders:read orders:write")
        assert (await http.get("/order", headers=writer)).json() == {"order of": "ada"}
        assert (await http.delete("/order", headers=writer)).json() == {"forgotten by": "ada"}


def test_django_rest_framework(mint: Mint) -> None:
    with project(snippet("Django REST framework")["urlpatterns"]):
        assert Client().get("/orders").headers["www-authenticate"] == "Bearer"
        assert Client().get("/orders", headers=mint.headers()).status_code == 403
        answer = Client().get("/orders", headers=mint.headers(scope="orders:read"))
    assert answer.json() == {"orders of": "ada", "through": "app"}


def test_no_section_is_forgotten() -> None:
    sections = re.findall(r"^## (.+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sections == ["WSGI", "Flask", "Django", "Django REST framework"]
