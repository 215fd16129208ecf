"""What docs/protecting-apis.md says, done."""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.unit.verifier.adapters.asking import ask

from mintmark.testing import Mint
from mintmark.verifier import Verifier

PAGE = Path(__file__).resolve().parents[4] / "docs" / "protecting-apis.md"
READER = {"scope": "orders:read"}
CLERK = {"scope": "orders:write", "roles": ["clerk"]}


@pytest.fixture
def mint(mint: Mint, monkeypatch: pytest.MonkeyPatch) -> Mint:
    monkeypatch.setattr(Verifier, "from_env", mint.verifier)
    return mint


def app_of(section: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the snippet of a section as a module, and return its application."""
    text = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (body,) = [part for part in text if part.startswith(f"{section}\n")]
    (source,) = re.findall(r"^```python\n(.*?)^```", body, re.MULTILINE | re.DOTALL)
    module = ModuleType("snippet")
    # Litestar looks there for what an annotation means.
    monkeypatch.setitem(sys.modules, "snippet", module)
    exec(compile(source, f"{PAGE.name}: {section}", "exec"), module.__dict__)
    return module.app


async def test_asgi(mint: Mint, monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_of("ASGI", monkeypatch)
    well_known = "https://api.example/.well-known/oauth-protected-resource/orders"
    assert (await ask(app)).headers["www-authenticate"] == f'Bearer resource_metadata="{well_known}"'
    assert (await ask(app, well_known)).json()["resource"] == "https://api.example/orders"
    assert (await ask(app, headers=mint.headers().items())).status_code == 403
    assert (await ask(app, headers=mint.headers(**READER).items())).text == "ada"


async def test_starlette(mint: Mint, monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_of("Starlette", monkeypatch)
    assert (await ask(app, "/")).json() == {"known": False}
    assert (await ask(app, "/orders")).headers["www-authenticate"] == "Bearer"
    assert (await ask(app, "/orders", mint.headers().items())).status_code == 403
    assert (await ask(app, "/orders", mint.headers(**READER).items())).json() == {"orders of": "ada"}
    assert (await ask(app, "/refunds", mint.headers(**READER).items())).status_code == 403
    assert (await ask(app, "/refunds", mint.headers(**CLERK, auth_time=0).items())).status_code == 401
    assert (await ask(app, "/refunds", mint.headers(**CLERK).items())).json() == {"refunded by": "ada"}


@pytest.mark.parametrize("section", ["FastAPI", "Litestar"])
async def test_fastapi_and_litestar(section: str, mint: Mint, monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_of(section, monkeypatch)
    assert (await ask(app, "/orders")).headers["www-authenticate"] == "Bearer"
    assert (await ask(app, "/orders", mint.headers().items())).status_code == 403
    assert (await ask(app, "/orders", mint.headers(**READER).items())).json() == {"orders of": "ada"}
    for refused, token in ((403, READER), (401, CLERK | {"auth_time": 0})):
        assert (await ask(app, "/admin/orders", mint.headers(**token).items(), "DELETE")).status_code == refused
    answer = await ask(app, "/admin/orders", mint.headers(**CLERK).items(), "DELETE")
    assert answer.json() == {"forgotten by": "ada"}


async def test_mcp(monkeypatch: pytest.MonkeyPatch) -> None:
    with Mint(audience="https://api.example/mcp") as mint:
        monkeypatch.setattr(Verifier, "from_env", mint.verifier)
        app = app_of("MCP", monkeypatch)
        refused = await ask(app, "/mcp", method="POST")
        well_known = "https://api.example/.well-known/oauth-protected-resource/mcp"
        assert refused.status_code == 401
        assert f'resource_metadata="{well_known}"' in refused.headers["www-authenticate"]
        assert (await ask(app, well_known)).json()["authorization_servers"] == ["https://auth.example"]
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        host = [("Host", "127.0.0.1:8000")]
        async with app.router.lifespan_context(app):
            refused = await ask(app, "/mcp", [*host, *mint.headers().items()], "POST", json=call)
            assert refused.status_code == 403
            taken = await ask(app, "/mcp", [*host, *mint.headers(**READER).items()], "POST", json=call)
            assert taken.status_code not in {401, 403, 503}


def test_no_section_is_forgotten() -> None:
    sections = re.findall(r"^## (.+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sections == ["ASGI", "Starlette", "FastAPI", "Litestar", "MCP"]
