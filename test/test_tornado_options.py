"""What a route of Tornado's says of options that are none: an answer, and a line in its log."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from test.engines.asyncio_ import running_loop
from test.helpers import HANDSHAKE, raw_connection
from ws4py.server.tornadoserver import WebSocketHandler
from ws4py.websocket import EchoWebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")

POSTED = HANDSHAKE.replace(b"GET ", b"POST ").replace(
    b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\nx"
)


@contextmanager
def routed(*options: Any) -> Iterator[int]:
    """Serve a route with such options, if any; return the port."""

    async def start() -> tuple[HTTPServer, int]:
        server = HTTPServer(Application([("/", WebSocketHandler, *options)]))
        sockets = bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        return server, sockets[0].getsockname()[1]

    async def stop() -> None:
        server.stop()
        await server.close_all_connections()

    with running_loop(asyncio.new_event_loop) as run:
        server, port = run(start())
        try:
            yield port
        finally:
            run(stop())


def answer_to(port: int, request: bytes) -> bytes:
    """Return the head of the answer to a request."""
    sock, head = raw_connection(port, request)
    sock.close()
    return head


@pytest.mark.parametrize("request_", [HANDSHAKE, POSTED], ids=["GET", "POST"])
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([], "has to have a handler_cls"),
        ([{}], "has to have a handler_cls"),
        ([{"handler_cls": EchoWebSocket, "limit": 1, "origin": 2}], "limit, origin: no option"),
        ([{"handler": EchoWebSocket}], "handler: no option"),
        (
            [{"handler_cls": EchoWebSocket, "websockets": set()}],
            r"websockets=set\(\) is not a WebSockets",
        ),
        ([{"handler_cls": EchoWebSocket, "limits": 1}], "limits is 1, and not a Limits"),
    ],
)
def test_options_that_are_none_are_a_500_with_the_reason_in_the_log(
    caplog: pytest.LogCaptureFixture, options: list[Any], reason: str, request_: bytes
) -> None:
    with routed(*options) as port:
        assert answer_to(port, request_).startswith(b"HTTP/1.1 500 ")
    assert re.search(f"TypeError: .*{reason}", caplog.text)


def test_a_route_with_its_class_alone_is_served() -> None:
    with routed({"handler_cls": EchoWebSocket}) as port:
        assert answer_to(port, HANDSHAKE.replace(b": 13", b": 8")).startswith(b"HTTP/1.1 426 ")
