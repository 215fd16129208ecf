"""Traces: only where they are asked for, and never with what was sent (`mintmark.system.tracing`)."""

import subprocess
import sys
import threading
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from structlog.testing import capture_logs

from mintmark.asgi import ASGIApp, Incoming, Reply, endpoint
from mintmark.oauth.errors import OAuthError, invalid_grant
from mintmark.system import tracing
from mintmark.web.forwarded import behind_proxies

pytestmark = pytest.mark.anyio

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "mmr_" + "s" * 60
ALL_IMPORTED = """
import asyncio, os, sys
from mintmark.system import tracing
async def application(scope, receive, send): ...
async def unchanged():
    async with tracing.traced(application, {"PATH": "/bin"}) as same:
        assert same is application
asyncio.run(unchanged())
import mintmark.cli.serving
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""


def application(answer: Reply | Exception) -> ASGIApp:
    async def handler(_: Incoming) -> Reply:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return endpoint(handler, ("GET", "POST"), lambda error: Reply(error.status, b"no"), path="/token")


@pytest.fixture
def collected() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(collected: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(collected))
    return provider


async def ask(app: ASGIApp, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="https://id.example") as http:
        return await http.post(f"/token?code={SECRET}", content=SECRET, headers=headers)


def only(collected: InMemorySpanExporter) -> ReadableSpan:
    (span,) = collected.get_finished_spans()
    return span


async def test_one_span_tells_the_route_and_the_outcome(
    provider: TracerProvider, collected: InMemorySpanExporter
) -> None:
    response = await ask(tracing.spanned(application(Reply(200)), provider))
    span = only(collected)
    assert (span.name, span.kind, span.parent) == ("POST /token", SpanKind.SERVER, None)
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/token",
        "http.response.status_code": 200,
        "mintmark.request_id": response.headers["x-request-id"],
    }
    assert span.status.status_code == StatusCode.UNSET


async def test_the_callers_trace_goes_on(provider: TracerProvider, collected: InMemorySpanExporter) -> None:
    app = tracing.spanned(application(Reply(200)), provider)
    await ask(app, traceparent=f"00-{TRACE}-{PARENT}-01")
    span = only(collected)
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)


@pytest.mark.parametrize("header", ["", "nonsense", f"00-{'0' * 32}-{PARENT}-01"])
async def test_a_caller_without_a_sound_trace_gets_one(
    provider: TracerProvider, collected: InMemorySpanExporter, header: str
) -> None:
    await ask(tracing.spanned(application(Reply(200)), provider), traceparent=header)
    assert only(collected).parent is None


@pytest.mark.parametrize(
    ("answer", "status", "error", "code"),
    [
        (invalid_grant(SECRET), 400, "invalid_grant", StatusCode.UNSET),
        (OAuthError("temporarily_unavailable", "no"), 503, "temporarily_unavailable", StatusCode.ERROR),
        (RuntimeError(SECRET), 500, "server_error", StatusCode.ERROR),
    ],
)
@pytest.mark.spec("invariant I8")
async def test_errors_are_told_without_what_was_sent(
    provider: TracerProvider, collected: InMemorySpanExporter, answer: Exception, status: int, error: str, code: Any
) -> None:
    await ask(tracing.spanned(application(answer), provider), authorization=f"Bearer {SECRET}", cookie=SECRET)
    span = only(collected)
    attributes = dict(span.attributes or {})
    assert (attributes["http.response.status_code"], attributes["error.type"]) == (status, error)
    assert span.status.status_code == code
    assert SECRET not in span.to_json()


async def test_it_works_behind_proxies(provider: TracerProvider, collected: InMemorySpanExporter) -> None:
    """They change the scope on its way; what is noted must come back all the same."""
    app = tracing.spanned(behind_proxies(application(Reply(204)), ["127.0.0.1"]), provider)
    await ask(app, **{"x-forwarded-for": "192.0.2.9"})
    assert dict(only(collected).attributes or {})["http.response.status_code"] == 204


def test_without_the_variables_nothing_is_imported_and_nothing_is_in_the_way() -> None:
    outcome = subprocess.run([sys.executable, "-c", ALL_IMPORTED], capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_SERVICE_NAME": "mintmark"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    ],
)
async def test_variables_that_ask_for_no_traces(environment: dict[str, str]) -> None:
    app = application(Reply(200))
    with capture_logs() as logs:
        async with tracing.traced(app, environment) as same:
            assert same is app
    assert logs == []


async def test_what_we_cannot_export_to_is_said_and_does_no_harm() -> None:
    app = application(Reply(200))
    with capture_logs() as logs:
        async with tracing.traced(app, {"OTEL_TRACES_EXPORTER": "zipkin"}) as same:
            assert same is app
    assert "must be otlp or console" in logs[0]["why"]


async def test_without_the_extra_it_is_said_and_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    app = application(Reply(200))
    with capture_logs() as logs:
        async with tracing.traced(app, {"OTEL_TRACES_EXPORTER": "otlp"}) as same:
            assert same is app
    assert "extra `otel`" in logs[0]["why"]


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"},
        {"OTEL_TRACES_EXPORTER": "console"},
    ],
)
async def test_variables_that_ask_for_traces(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    app = application(Reply(200))
    async with tracing.traced(app, environment) as other:
        assert other is not app
        if "OTEL_TRACES_EXPORTER" in environment:
            await ask(other)
    shown = capsys.readouterr().err
    if "OTEL_TRACES_EXPORTER" in environment:
        assert '"http.route": "/token"' in shown
        assert '"service.name": "mintmark"' in shown


@pytest.mark.parametrize("seconds", [0.0, 60.0])
async def test_whoever_collects_spans_does_not_keep_us_from_stopping(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    ended, may_end = threading.Event(), threading.Event()

    def shutdown(_: TracerProvider) -> None:
        may_end.wait(seconds)
        ended.set()

    monkeypatch.setattr(TracerProvider, "shutdown", shutdown)
    monkeypatch.setattr(tracing, "_PATIENCE", 0.1 if seconds else 60.0)
    async with tracing.traced(application(Reply(200)), {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}):
        pass
    assert ended.is_set() == (seconds == 0)
    may_end.set()
    ended.wait(10)
