"""HTTP in as values, HTTP out as values: what the JSON edge and the HTML edge share. Knows no endpoint.

A handler is ``async (Incoming) -> Reply``. ``endpoint`` makes it an ASGI application that reads a bounded body, turns
every failure into a reply of its edge's dialect, notes how it went, and never lets an exception's text out. A handler
may also return a ``Stream``: a response that goes on for as long as there is something to say.
"""

from mintmark.asgi.endpoints import Handler, Render, endpoint
from mintmark.asgi.messages import (
    CUT_OFF,
    FORM,
    MAX_BODY_BYTES,
    MAX_QUERY_BYTES,
    ASGIApp,
    Headers,
    Incoming,
    Receive,
    Reply,
    Scope,
    Send,
    Stream,
)
from mintmark.asgi.noting import NOTED, client_address, log, request_id

__all__ = [
    "CUT_OFF",
    "FORM",
    "MAX_BODY_BYTES",
    "MAX_QUERY_BYTES",
    "NOTED",
    "ASGIApp",
    "Handler",
    "Headers",
    "Incoming",
    "Receive",
    "Render",
    "Reply",
    "Scope",
    "Send",
    "Stream",
    "client_address",
    "endpoint",
    "log",
    "request_id",
]
