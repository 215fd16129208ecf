"""Where log lines go: standard error, for people or for machines, ours and those of libraries alike."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

from mintmark.asgi import client_address, request_id

_LEVELS: Final = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error", "critical")}


class _Forward(logging.Handler):
    """Hands records of libraries on; the kind of an exception, never its text, which may quote what was sent to us."""

    def emit(self, record: logging.LogRecord) -> None:
        detail: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[0] is not None:
            detail["kind"] = record.exc_info[0].__name__
        structlog.get_logger(record.name).log(record.levelno, record.getMessage(), **detail)


def _with_request(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Say which request a line belongs to and whence that came, whoever wrote the line."""
    if identity := request_id.get():
        line["request_id"] = identity
        line.setdefault("address", client_address.get())
    return line


def configure(level: str, style: str) -> None:
    """Set up logging. Standard output is for results.

    Args:
        level: Least severity that is logged.
        style: ``console`` or ``json``.
    """
    # Without local variables in tracebacks: they hold tokens and passwords (invariant I8).
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    processors: list[Any] = [
        _with_request,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if style == "json":
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    logging.basicConfig(handlers=[_Forward()], level=max(_LEVELS[level], logging.WARNING), force=True)
