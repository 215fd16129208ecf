"""The application's own server: a browser ends here after authorization and after logout."""

import contextlib
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

_WAIT_SECONDS = 20


@dataclass(frozen=True)
class Answer:
    """One request that a browser brought: ``form`` is the body of a POST."""

    url: str
    form: str | None

    @property
    def parameters(self) -> dict[str, str]:
        """What the authority said, each parameter once."""
        sent = parse_qs(urlsplit(self.url).query if self.form is None else self.form, strict_parsing=True)
        assert all(len(values) == 1 for values in sent.values()), sent
        return {name: values[0] for name, values in sent.items()}


@dataclass(frozen=True)
class Application:
    """The server. ``/moving`` takes its answer and sends the browser on to another origin, as many applications do."""

    origin: str
    answers: queue.SimpleQueue[Answer] = field(default_factory=queue.SimpleQueue)

    @property
    def callback(self) -> str:
        return f"{self.origin}/cb"

    @property
    def goodbye(self) -> str:
        return f"{self.origin}/bye"

    @property
    def other_origin(self) -> str:
        return self.origin.replace("127.0.0.1", "localhost")

    def answer(self) -> Answer:
        """Return the next answer that arrives."""
        return self.answers.get(timeout=_WAIT_SECONDS)

    def forget(self) -> None:
        """Forget what nobody took."""
        while not self.answers.empty():
            self.answers.get_nowait()


@contextlib.contextmanager
def application() -> Iterator[Application]:
    """Run an application while the context lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    running = Application(f"http://127.0.0.1:{server.server_port}")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._take(None)

        def do_POST(self) -> None:
            self._take(self.rfile.read(int(self.headers["content-length"])).decode())

        def _take(self, form: str | None) -> None:
            path = urlsplit(self.path).path
            if path in {"/cb", "/moving", "/bye"}:
                running.answers.put(Answer(running.origin + self.path, form))
            if path == "/moving":
                self.send_response(303)
                self.send_header("location", f"{running.other_origin}/home")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(f"<!doctype html><title>The application</title><h1>{path}</h1>".encode())

        def log_message(self, *_: object) -> None:
            pass

    server.RequestHandlerClass = Handler
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="application")
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
