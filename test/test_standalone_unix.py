"""Our own server on Unix-domain sockets."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from test.helpers import only_websocket, running
from test.test_standalone import Client
from ws4py.server.standalone import WebSocketServer
from ws4py.websocket import EchoWebSocket

pytestmark = pytest.mark.usefixtures("no_thread_left")


def test_a_server_listens_on_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with running(WebSocketServer(path, EchoWebSocket)) as server:
        assert server.server_address == path
        client = Client(f"ws+unix://{path}")
        client.resource = "/chat?x"
        client.connect()
        assert client.peer_address == path
        websocket = only_websocket(server)
        assert websocket.environ["PATH_INFO"] == "/chat"
        client.send("hello")
        assert [client.next_event(), client.next_event()][1] == ("text", b"hello")
        client.close()
        client.run_forever()


def test_a_unix_socket_that_a_killed_server_has_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    with running(WebSocketServer(str(path), EchoWebSocket)):
        with pytest.raises(OSError, match="in use"):
            WebSocketServer(str(path), EchoWebSocket)
        client = Client(f"ws+unix://{path}")
        client.connect()
        client.close()
        client.run_forever()
    assert not path.exists()
    path.write_text("somebody's notes")
    with pytest.raises(OSError, match="in use"):
        WebSocketServer(str(path), EchoWebSocket)
    assert path.read_text() == "somebody's notes"


def test_a_server_does_tls_on_a_unix_socket(
    tmp_path: Path, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    path = str(tmp_path / "socket")
    with running(WebSocketServer(path, EchoWebSocket, ssl_context=server_tls)):
        client = Client(f"wss+unix://{path}", ssl_context=client_tls)
        client.connect()
        assert client._is_secure
        client.send("hello")
        assert [client.next_event(), client.next_event()][1] == ("text", b"hello")
        client.close()
        client.run_forever()
