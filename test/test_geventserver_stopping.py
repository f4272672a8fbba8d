"""A gevent server that one of its own websockets stops."""

from __future__ import annotations

import socket
import threading
from typing import Any

from test.conformance import TEXT, Peer
from test.engines.gevent_ import Hub
from test.helpers import HANDSHAKE, TIMEOUT
from test.test_geventserver import read_head
from ws4py.server.geventserver import WebSocketWSGIApplication, WSGIServer
from ws4py.websocket import WebSocket


def test_a_callback_that_stops_its_server_goes_on_and_its_websocket_closes() -> None:
    stopped = threading.Event()
    closed: list[int] = []

    class Stopper(WebSocket):
        def received_message(self, message: Any) -> None:
            server.stop(timeout=2 * TIMEOUT)
            stopped.set()

        def closed(self, code: int, reason: str | None = None) -> None:
            closed.append(code)

    def start() -> WSGIServer:
        application = WebSocketWSGIApplication(handler_cls=Stopper)
        server = WSGIServer(("127.0.0.1", 0), application, log=None)
        server.start()
        return server

    with Hub() as hub:
        server = hub.call(start)
        with socket.create_connection(("127.0.0.1", server.server_port), TIMEOUT) as sock:
            sock.sendall(HANDSHAKE)
            read_head(sock)
            peer = Peer(sock, masks=True)
            peer.send(TEXT, b"stop")
            assert peer.close_frame() == (1001, "Server is shutting down")
            assert stopped.wait(TIMEOUT)
            peer.send_close(1001)
            peer.expect_end()
    assert closed == [1001]
