"""Faults of the gevent engine."""

from __future__ import annotations

import pytest

from test.engines.gevent_ import Hub
from test.helpers import TIMEOUT, Recorder
from test.regressions import collecting, regression
from ws4py.client.threadedclient import WebSocketClient
from ws4py.server.geventserver import WebSocketWSGIApplication, WSGIServer
from ws4py.websocket import WebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")


class Client(Recorder, WebSocketClient):
    """A client that records."""


class Handler(Recorder, WebSocket):
    """A server's websocket that records."""


@regression(36)
def test_stop_closes_every_websocket_with_1001() -> None:
    handler, made = collecting(Handler)

    def start() -> WSGIServer:
        application = WebSocketWSGIApplication(handler_cls=handler)
        server = WSGIServer(("127.0.0.1", 0), application, log=None)
        server.start()
        return server

    with Hub() as hub:
        server = hub.call(start)
        clients = [Client(f"ws://127.0.0.1:{server.server_port}/") for _ in range(3)]
        for client in clients:
            client.connect()
            assert client.next_event() == ("opened",)
        websockets = [made.get(timeout=TIMEOUT) for _ in clients]
        hub.call(server.stop)
        for websocket in websockets:
            assert websocket.all_events()[-1] == ("closed", 1001, "Server is shutting down")
        for client in clients:
            assert client.all_events()[-1] == ("closed", 1001, "Server is shutting down")
            client.run_forever()
