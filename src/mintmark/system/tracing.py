"""Traces, where somebody collects them: one span per request, as a part of the caller's trace (W3C Trace Context).

Asked for by the variables of OpenTelemetry: ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or ``…_TRACES_ENDPOINT``), or
``OTEL_TRACES_EXPORTER``. Needs the extra ``otel``. Without them nothing is imported and nothing is in the way.
"""

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import structlog

from mintmark import __version__
from mintmark.asgi import NOTED, ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_EXPORTERS: Final = ("otlp", "console")
_SERVICE: Final = "mintmark"
_PATIENCE: Final = 2.0
"""Seconds that the last spans get to leave."""

log = structlog.get_logger("mintmark")


@contextlib.asynccontextmanager
async def traced(application: ASGIApp, environment: Mapping[str, str]) -> AsyncIterator[ASGIApp]:
    """Yield ``application``, with a span around each request if the environment asks for that.

    At the end the last spans are sent, for a moment: whoever collects them may be away, and nobody waits for that.
    """
    exporter = _exporter(environment)
    if exporter is None:
        yield application
        return
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra, see above
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    named = {"service.version": __version__}
    if "OTEL_SERVICE_NAME" not in environment:
        named["service.name"] = _SERVICE
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield spanned(application, provider)
    finally:
        await _within(_PATIENCE, provider.shutdown)


def spanned(application: ASGIApp, provider: Any) -> ASGIApp:
    """Return ``application`` with a span around each request.

    A span tells the method, the route, the status and the error code, never what was sent.

    Args:
        application: Whatever its endpoints note (``NOTED``) is what a span tells.
        provider: A tracer provider of OpenTelemetry.
    """
    from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    tracer, propagator = provider.get_tracer(_SERVICE, __version__), TraceContextTextMapPropagator()

    async def application_in_span(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        parent = propagator.extract(_trace_headers(scope))
        noted: dict[str, Any] = {}
        with tracer.start_as_current_span(
            scope["method"],
            context=parent,
            kind=SpanKind.SERVER,
            attributes={"http.request.method": scope["method"]},
            # An exception's text may quote what was sent to us.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            await application({**scope, NOTED: noted}, receive, send)
            if not noted:
                return  # nobody was there any more to be answered
            span.update_name(f"{scope['method']} {noted['endpoint']}")
            span.set_attribute("http.route", noted["endpoint"])
            span.set_attribute("http.response.status_code", noted["status"])
            span.set_attribute("mintmark.request_id", noted["request_id"])
            if noted["error"]:
                span.set_attribute("error.type", noted["error"])
            if noted["status"] >= 500:
                span.set_status(Status(StatusCode.ERROR))

    return application_in_span


def _exporter(environment: Mapping[str, str]) -> "SpanExporter | None":
    """Return what takes the spans, if the environment asks for spans and we can make them."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    kind = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if not kind and any(environment.get(name) for name in _ENDPOINTS):
        kind = "otlp"
    if kind in {"", "none"}:
        return None
    if kind not in _EXPORTERS:
        log.warning("no traces", why=f"OTEL_TRACES_EXPORTER must be {' or '.join(_EXPORTERS)}, or none")
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter  # noqa: PLC0415
    except ModuleNotFoundError:
        # Such variables may be set for everything that runs on a cluster: no reason not to start.
        log.warning("no traces", why="they need a package: install mintmark with the extra `otel`")
        return None
    # Standard output is for results.
    return ConsoleSpanExporter(out=sys.stderr) if kind == "console" else OTLPSpanExporter()


async def _within(seconds: float, work: Callable[[], object]) -> None:
    """Do blocking work in a thread, and go on without it when it takes too long."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def run() -> None:
        try:
            work()
        finally:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(done.set)

    # No pool: the process would wait for its threads when it ends.
    threading.Thread(target=run, name="mintmark traces", daemon=True).start()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await done.wait()


def _trace_headers(scope: Scope) -> dict[str, str]:
    """Return the headers that say which trace a request belongs to (W3C Trace Context §3.2)."""
    names = (b"traceparent", b"tracestate")
    return {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in names}
