"""A TCP proxy on this machine that can be cut, can swallow what it should carry, and can be mended."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass

_PIECE = 65536
_RESET = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class _Pair:
    """Both ends of one connection, and what was asked for on it."""

    near: socket.socket
    far: socket.socket
    asked: bytes = b""

    def reset(self) -> None:
        """End it at once, as a crash would: with RST, and whatever was under way is lost."""
        for end in (self.near, self.far):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Proxy:
    """Carries connections from ``port`` to another port of loopback.

    Attributes:
        host: The address of this machine at which it listens.
        port: Where it listens.
    """

    def __init__(self, target: int, host: str = "127.0.0.1") -> None:
        self._target = target
        self.host = host
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: set[_Pair] = set()
        self._state = threading.Condition()
        self._is_cut = False
        self._swallowed: bytes | None = None
        self._is_over = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Reset every connection, and each new one as soon as it is made."""
        with self._state:
            self._is_cut = True
            self._reset_all()

    def swallow(self, matching: bytes = b"") -> None:
        """Keep connections open and let nothing through, neither way: those that ask for ``matching``, or all."""
        with self._state:
            self._swallowed = matching

    def restore(self) -> None:
        """Carry everything again; what was swallowed arrives late, as TCP would have it."""
        with self._state:
            self._is_cut = False
            self._swallowed = None
            self._state.notify_all()

    def close(self) -> None:
        """End it."""
        with self._state:
            self._is_over = True
            self._state.notify_all()
            self._reset_all()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _reset_all(self) -> None:
        for pair in self._pairs:
            pair.reset()
        self._pairs.clear()

    def _accept(self) -> None:
        while not self._is_over:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._carry(near)

    def _carry(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._target), timeout=5)
        except OSError:
            # Nobody is there: whoever connected learns it the same way.
            _Pair(near, near).reset()
            return
        for end in (near, far):
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = _Pair(near, far)
        with self._state:
            if self._is_cut or self._is_over:
                pair.reset()
                return
            self._pairs.add(pair)
        threading.Thread(target=self._pump, args=(pair, near, far), daemon=True).start()
        threading.Thread(target=self._pump, args=(pair, far, near), daemon=True).start()

    def _pump(self, pair: _Pair, source: socket.socket, sink: socket.socket) -> None:
        try:
            while piece := source.recv(_PIECE):
                if source is pair.near:
                    pair.asked = piece[:1024]
                with self._state:
                    self._state.wait_for(lambda: not self._is_swallowed(pair))
                sink.sendall(piece)
            with self._state:
                self._state.wait_for(lambda: not self._is_swallowed(pair))
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            with self._state:
                pair.reset()
                self._pairs.discard(pair)

    def _is_swallowed(self, pair: _Pair) -> bool:
        return self._swallowed is not None and self._swallowed in pair.asked and not self._is_over


@contextlib.contextmanager
def proxy_to(target: int) -> Iterator[Proxy]:
    """Run a proxy while the context lasts."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
