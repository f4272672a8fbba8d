"""How the tests of the ASGI application serve it, and talk to it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest

from test.conformance import Echo, Peer, read_head
from test.engines.asgi_ import end, hypercorn_serving, serving, uvicorn_serving
from test.helpers import HANDSHAKE, TIMEOUT, eventually
from ws4py.server.asgi import WebSocketASGIApplication
from ws4py.websocket import WebSocket

UVICORN = [
    pytest.param(partial(uvicorn_serving, ws=ws), id=f"uvicorn-{ws}")
    for ws in ("auto", "websockets", "wsproto")
]
HYPERCORN = pytest.param(hypercorn_serving, id="hypercorn")

HOSTS = [*UVICORN, HYPERCORN]

on_uvicorn = pytest.mark.parametrize("host", UVICORN)
on_any = pytest.mark.parametrize("host", [*UVICORN[:1], HYPERCORN])

# One of uvicorn's implementations is the old one, which is still in use.
ignores_warnings = [
    pytest.mark.filterwarnings("ignore:The `websockets` implementation is deprecated"),
    pytest.mark.filterwarnings("ignore:websockets.legacy is deprecated"),
    pytest.mark.filterwarnings("ignore:remove second argument of ws_handler"),
]


class Served:
    """An application that is served, and those who talk to it."""

    def __init__(self, stack: ExitStack, host: Any, application: Any, **options: Any) -> None:
        self._stack = stack
        self.application = application
        self.port, self.run = stack.enter_context(serving(host, application, **options))

    def connect(self, request: bytes = HANDSHAKE, receive_buffer: int = 0) -> Peer:
        """Return a peer, once its handshake has been accepted."""
        peer, head = self.ask(request, receive_buffer)
        assert head.startswith(b"HTTP/1.1 101 "), head
        return peer

    def ask(self, request: bytes, receive_buffer: int = 0) -> tuple[Peer, bytes]:
        """Return a peer, and the head of the response."""
        sock = self._stack.enter_context(socket.socket())
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(TIMEOUT)
        sock.connect(("127.0.0.1", self.port))
        sock.sendall(request)
        return Peer(sock, masks=True), read_head(sock)

    def open(self, **options: Any) -> tuple[Any, Peer]:
        """Return a websocket that has been opened, and its peer."""
        peer = self.connect(**options)
        eventually(lambda: any(self.application.websockets), "there is no websocket")
        websocket: Any = next(self.application.websockets)
        assert websocket.next_event() == ("opened",)
        return websocket, peer


@contextmanager
def serves() -> Iterator[Callable[..., Served]]:
    """Return what serves a class, or what else an application takes, under a host."""
    with ExitStack() as stack:

        def serve(host: Any, handler: Any = Echo, **options: Any) -> Served:
            if isinstance(handler, type) and not issubclass(handler, WebSocket):
                handler = type("Handler", (handler, WebSocket), {})
            return serve_application(host, WebSocketASGIApplication(handler, **options))

        def serve_application(host: Any, application: Any, **options: Any) -> Served:
            served = Served(stack, host, application, **options)
            if isinstance(application, WebSocketASGIApplication):
                stack.callback(lambda: served.run(end(application)))
            return served

        serve.application = serve_application  # type: ignore[attr-defined]
        yield serve


def request(path: bytes, *headers: bytes) -> bytes:
    head = HANDSHAKE.replace(b"GET /", b"GET " + path, 1)
    return head[:-2] + b"".join(header + b"\r\n" for header in headers) + b"\r\n"
