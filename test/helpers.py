"""What the tests share: real servers, real sockets, and ways to wait without sleeping."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from queue import Queue
from typing import Any

from ws4py.framing import Frame
from ws4py.server.standalone import WebSocketServer
from ws4py.websocket import EchoWebSocket, WebSocket

#: How many times slower than usual the machine may be, or what watches the tests makes it.
SCALE = float(os.environ.get("WS4PY_TEST_TIMEOUT_SCALE", "1"))
#: Seconds that a test waits for something that has to come. Generous.
TIMEOUT = 20.0 * SCALE

KEY = b"\x11\x22\x33\x44"
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(opcode: int, payload: bytes = b"", fin: int = 1, key: bytes | None = KEY) -> bytes:
    """Return one frame, masked as a client's unless ``key`` is None."""
    return Frame(opcode, payload, key, fin).build()


def unmasked(payload: bytes, key: bytes) -> bytes:
    """Unmask a payload, with nothing of what is tested."""
    keys = (key * (len(payload) // 4 + 1))[: len(payload)]
    both = int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")
    return both.to_bytes(len(payload), "big")


def whole(data: bytes) -> list[bytes]:
    """Feed everything at once."""
    return [data]


def byte_by_byte(data: bytes) -> list[bytes]:
    """Feed one byte at a time."""
    return [data[i : i + 1] for i in range(len(data))]


class RecordingSocket:
    """What a websocket needs of a socket, without one: keeps what is sent, plays back bytes."""

    def __init__(self, *incoming: bytes) -> None:
        self.sent = bytearray()
        self.incoming = list(incoming)
        self.is_shut = self.is_closed = False

    def recv(self, _size: int) -> bytes:
        return self.incoming.pop(0) if self.incoming else b""

    def sendall(self, data: bytes) -> None:
        self.sent += data

    def shutdown(self, _how: int) -> None:
        self.is_shut = True

    def close(self) -> None:
        self.is_closed = True


class Recorder:
    """A mixin before a WebSocket class: ``events`` is a queue of its callbacks, in order."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.events: Queue[tuple[Any, ...]] = Queue()
        self.ended = threading.Event()
        super().__init__(*args, **kwargs)

    def opened(self) -> None:
        self.events.put(("opened",))

    def received_message(self, message: Any) -> None:
        self.events.put(("text" if message.is_text else "binary", message.data))

    def ponged(self, pong: Any) -> None:
        self.events.put(("pong", pong.data))

    def closed(self, code: int, reason: str | None = None) -> None:
        self.events.put(("closed", code, reason))
        self.ended.set()

    def next_event(self) -> tuple[Any, ...]:
        """Return the next callback; fails if none comes in time."""
        return self.events.get(timeout=TIMEOUT)

    def all_events(self) -> list[tuple[Any, ...]]:
        """Return all callbacks, once ``closed`` has been called."""
        assert self.ended.wait(TIMEOUT), "closed() was not called"
        return list(self.events.queue)


class RecordingWebSocket(Recorder, WebSocket):
    """A WebSocket that records."""


@contextmanager
def running(server: WebSocketServer) -> Iterator[WebSocketServer]:
    """Serve in a thread, and end it."""
    thread = threading.Thread(target=server.serve_forever, name="server")
    thread.start()
    try:
        yield server
    finally:
        for websocket in server.manager:  # A peer that the test has left does not answer.
            websocket.limits = replace(websocket.limits, close_timeout=0.5)
        server.server_close()
        thread.join(TIMEOUT)
        assert not thread.is_alive(), "the server did not end"


@contextmanager
def echo_server(handler: Any = EchoWebSocket, **options: Any) -> Iterator[WebSocketServer]:
    """Serve ``handler`` on a free port; ``url_of(server)`` is its address."""
    with running(WebSocketServer(("127.0.0.1", 0), handler, **options)) as server:
        yield server


def only_websocket(server: WebSocketServer) -> WebSocket:
    """Return the one websocket of a server, once it is there."""
    eventually(lambda: len(server.manager) == 1, "there is not one websocket")
    return next(iter(server.manager))


def url_of(server: WebSocketServer, path: str = "/") -> str:
    """Return the URL of a running server."""
    scheme = "ws" if server.ssl_context is None else "wss"
    return f"{scheme}://localhost:{server.server_address[1]}{path}"


def raw_connection(port: int, request: bytes = HANDSHAKE) -> tuple[socket.socket, bytes]:
    """Connect, send ``request``, and return the socket and the head of the response."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
    sock.sendall(request)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = sock.recv(1)
        if not data:
            break
        head += data
    return sock, head


def read_exactly(sock: socket.socket, size: int) -> bytes:
    """Read ``size`` bytes, or what there is before the end."""
    data = bytearray()
    while len(data) < size:
        more = sock.recv(min(size - len(data), 1 << 20))
        if not more:
            break
        data += more
    return bytes(data)


def read_to_end(sock: socket.socket) -> bytes:
    """Read until the other end closes."""
    data = bytearray()
    while more := sock.recv(65536):
        data += more
    return bytes(data)


def eventually(condition: Callable[[], bool], what: str = "it did not happen") -> None:
    """Wait for something that nothing announces, such as the kernel's; fails after TIMEOUT."""
    pause = threading.Event()
    for _ in range(int(TIMEOUT / 0.01)):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError(what)


@contextmanager
def in_one_turn(manager: Any) -> Iterator[None]:
    """Let all that is sent meanwhile be there, in its order, when the manager polls."""
    begun, all_there = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        all_there.wait(TIMEOUT)

    manager.loop.call_soon(wait)
    assert begun.wait(TIMEOUT)
    try:
        yield
    finally:
        all_there.set()


def descriptors() -> int:
    """Count the open descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def use_up_descriptors() -> list[int]:
    """Open all that the limit of this process leaves, and return them."""
    taken: list[int] = []
    with suppress(OSError):
        while True:
            taken.append(os.dup(0))
    return taken
