"""The documentation's snippets for gevent: the client and the server."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from test.helpers import Recorder, echo_server, eventually
from test.snippets import Edit, Program, edited, port_edit
from ws4py.client.threadedclient import WebSocketClient
from ws4py.websocket import EchoWebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")


class RecordingClient(Recorder, WebSocketClient):
    """A client that records."""


class Leaving(EchoWebSocket):
    """Echoes, and closes after the last message of the snippet."""

    def received_message(self, message: Any) -> None:
        super().received_message(message)
        if len(message) == 35:
            self.close()


def test_the_gevent_client_prints_what_comes_back_until_it_receives_none(tmp_path: Path) -> None:
    with echo_server(Leaving) as server:
        source = edited("client_gevent_import") + edited(
            "client_gevent",
            Edit("print str(m)", "print(str(m))", "Python 2: print is a statement"),
            port_edit(server.server_address[1]),
        )
        with Program("import gevent\n" + source, tmp_path) as program:
            assert program.printed_to_end() == ["*" * length for length in range(0, 40, 5)]
            assert program.status() == 0, program.errors()
            assert program.errors() == ""


def test_the_gevent_server_echoes_and_closes_its_websockets_when_it_is_interrupted(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    source = edited(
        "server_gevent",
        Edit(
            "WSGIServer('localhost', 9000), WebSocketWSGIApplication(handler_cls=EchoWebSocket)",
            "WSGIServer(('localhost', 9000), WebSocketWSGIApplication(handler_cls=EchoWebSocket))",
            "misprint: lost parentheses",
        ),
        port_edit(port),
    )
    with Program(source, tmp_path) as program:
        eventually(lambda: _listens(port), "the server does not listen")
        clients = [RecordingClient(f"ws://localhost:{port}/") for _ in range(3)]
        for number, client in enumerate(clients):
            client.connect()
            client.send(f"text {number}")
            assert client.next_event() == ("opened",)
            assert client.next_event() == ("text", b"text %d" % number)
        program.interrupt()
        ends = [client.all_events()[-1] for client in clients]
        # The interrupt may strike the greenlet of a connection, and ends that one then.
        assert ends.count(("closed", 1001, "Server is shutting down")) >= 2
        for client in clients:
            client.run_forever()
        program.status()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("localhost", port)).close()
    except OSError:
        return False
    return True
