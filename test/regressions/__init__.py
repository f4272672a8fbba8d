"""Faults that users of earlier releases met, and the tests that keep them out.

Each fault has a number; each test is named after a symptom and marked with ``@regression``. Here
is the list, the mark, and what the tests of this folder share.
"""

from __future__ import annotations

import re
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha1
from queue import Queue
from typing import Any, Callable, NamedTuple, TypeVar
from wsgiref.simple_server import make_server

import pytest

from test.helpers import TIMEOUT, RecordingWebSocket, read_exactly, unmasked
from ws4py.manager import WebSocketManager
from ws4py.server.wsgirefserver import WebSocketWSGIRequestHandler, WSGIServer
from ws4py.server.wsgiutils import WebSocketWSGIApplication

FAULTS = {
    1: "TLS under a manager stalls on several frames in one record",
    2: "frames in the packet of the handshake are lost, or handled early or in the wrong thread",
    3: "the second of two frames in one buffer is lost",
    4: "sends from several threads, heartbeats and fragments interleave on the wire",
    5: "an empty generator raises StopIteration out of send",
    6: "message.data is None after the handler",
    7: "invalid UTF-8 passes behind an empty continuation; close reasons share its state",
    8: "a fragmented message in one-byte segments is lost by the client",
    9: "a close that the server starts under a manager never calls closed, and leaks the socket",
    10: "an exception in closed kills the manager",
    11: "an exception in received_message is a 1006 without a traceback",
    12: "close to a silent peer waits for ever",
    13: "1005 and 1006 are on the wire, 1012 to 1014 are refused",
    14: "a long reason or a long ping makes an illegal frame",
    15: "terminate twice, or send after it, is an AttributeError",
    16: "there is no close_code and no close_reason",
    17: "a descriptor leaks when shutdown fails",
    18: "the server accepts bad requests, or answers them with 500 and a traceback",
    19: "the client accepts bad responses and refuses good ones",
    20: "Host without port logic, injected headers, fragments sent",
    21: "no deadline for the handshake, heads of any size",
    22: "TLS unverified, without SNI or a context; wss+unix not encrypted",
    23: "a HandshakeError carries no status, headers or body",
    24: "one peer that does not read stops all others",
    25: "the kqueue poller opens an epoll",
    26: "select dies above descriptor 1023",
    27: "pollers raise when they or their descriptors are closed; add and close_all block",
    28: "a reused descriptor number reaches the wrong websocket",
    29: "an exception in opened leaves add",
    30: "bad handshakes that break off leak descriptors under CherryPy",
    31: "heartbeat ignored under the manager, keeps programs alive, finds no dead peer",
    32: "the CherryPy plugin takes no manager and no poller",
    33: "configure_logger doubles its handlers",
    34: "asyncio: no import on 3.11, no client, no subprotocols, no backpressure, closed twice",
    35: "the Tornado client is dead on Tornado 6: io_loop and callbacks are gone",
    36: "gevent's stop sends no 1001",
    37: "wsgiref leaks each plain connection and patches the standard library",
    38: "run_forever wakes ten times a second",
    39: "a client object cannot be used again",
    40: "no limit on a frame: a declared 2^62 bytes is a MemoryError",
    41: "masking byte by byte",
    42: "quadratic buffering",
    43: "several recv calls for each message",
}

#: The names of the tests of each number; filled as the modules of this folder are imported.
tests_of: dict[int, list[str]] = {}

Test = TypeVar("Test", bound=Callable[..., None])


def regression(*numbers: int) -> Callable[[Test], Test]:
    """Mark a test with the numbers of the faults it is about."""

    def mark(test: Test) -> Test:
        for number in numbers:
            tests_of.setdefault(number, []).append(f"{test.__module__}.{test.__qualname__}")
        return test

    return mark


class Seen(NamedTuple):
    """A frame as a peer sees it, unmasked."""

    fin: int
    opcode: int
    payload: bytes


def read_frame(sock: socket.socket) -> Seen:
    """Read one frame; ValueError at the end of the stream."""
    first, second = read_exactly(sock, 2)
    size = second & 0x7F
    if size > 125:
        size = int.from_bytes(read_exactly(sock, 2 if size == 126 else 8), "big")
    key = read_exactly(sock, 4) if second & 0x80 else bytes(4)
    return Seen(first >> 7, first & 0x0F, unmasked(read_exactly(sock, size), key))


def close_code(seen: Seen) -> int:
    """Return the code of a Close frame; fails if it is another frame."""
    assert seen.opcode == 8, f"{seen} is not a Close frame"
    return int.from_bytes(seen.payload[:2], "big")


def read_head(sock: socket.socket) -> bytes:
    """Read a request or a response up to its empty line, and nothing behind it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            break
        head += byte
    return head


def accept_of(request: bytes) -> str:
    """Return the Sec-WebSocket-Accept that belongs to a request."""
    match = re.search(rb"Sec-WebSocket-Key: (\S+)\r\n", request)
    assert match is not None
    digest = sha1(match[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return b64encode(digest).decode()


def switch(request: bytes, *headers: str) -> bytes:
    """Return the answer that accepts a request, with more ``headers``."""
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_of(request)}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


@contextmanager
def fake_server(
    conversation: Callable[[socket.socket], Any], listener: socket.socket | None = None
) -> Iterator[int]:
    """Hold ``conversation`` with each client, one after the other; yields the port."""
    listener = listener or socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock, suppress(ConnectionError):
                sock.settimeout(TIMEOUT)
                conversation(sock)

    thread = threading.Thread(target=serve, name="fake server")
    thread.start()
    address = listener.getsockname()
    try:
        yield address[1] if isinstance(address, tuple) else 0
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(TIMEOUT)
        assert not thread.is_alive(), "the fake server did not end"


@contextmanager
def running_manager(poller: Any = None) -> Iterator[WebSocketManager]:
    """Run a manager, and end it."""
    manager = WebSocketManager(poller)
    manager.start()
    try:
        yield manager
    finally:
        manager.stop()
        manager.join(TIMEOUT)
        assert not manager.is_alive(), "the manager did not end"


@contextmanager
def socket_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Make a socket for a websocket, which closes it, and one for its peer."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(TIMEOUT)
    with theirs:
        yield ours, theirs


@contextmanager
def driven_by_thread(
    cls: Any = RecordingWebSocket, **attributes: Any
) -> Iterator[tuple[Any, socket.socket]]:
    """Run a server's websocket in a thread; yields it and its peer's socket."""
    with socket_pair() as (ours, theirs):
        websocket = cls(ours)
        vars(websocket).update(attributes)
        thread = threading.Thread(target=websocket.run, name="reader")
        thread.start()
        try:
            yield websocket, theirs
        finally:
            theirs.close()
            thread.join(TIMEOUT)
            assert not thread.is_alive(), "the websocket did not end"


@contextmanager
def driven_by_manager(
    cls: Any = RecordingWebSocket, **attributes: Any
) -> Iterator[tuple[Any, socket.socket]]:
    """Run a server's websocket under a manager; yields it and its peer's socket."""
    with running_manager() as manager, socket_pair() as (ours, theirs):
        websocket = cls(ours)
        vars(websocket).update(attributes)
        manager.add(websocket)
        yield websocket, theirs


#: For tests that a thread and a manager have to pass alike.
on_both_drivers = pytest.mark.parametrize("driven", [driven_by_thread, driven_by_manager])


def collecting(cls: Any) -> tuple[Callable[..., Any], Queue[Any]]:
    """Return a handler for servers that makes ``cls``, and the queue of what it has made."""
    made: Queue[Any] = Queue()

    def make(*args: Any, **kwargs: Any) -> Any:
        websocket = cls(*args, **kwargs)
        made.put(websocket)
        return websocket

    return make, made


@contextmanager
def wsgiref_server(
    application: Any = None,
    handler: Any = RecordingWebSocket,
    request_handler: Any = WebSocketWSGIRequestHandler,
) -> Iterator[int]:
    """Serve ``application``, by default one for ``handler``, by wsgiref; yields the port."""
    server = make_server(
        "127.0.0.1",
        0,
        application or WebSocketWSGIApplication(handler_cls=handler),
        server_class=WSGIServer,
        handler_class=request_handler,
    )
    server.initialize_websockets_manager()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="wsgiref")
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(TIMEOUT)
        assert not thread.is_alive(), "the server did not end"
