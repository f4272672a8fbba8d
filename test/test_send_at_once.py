"""TCP_NODELAY, on servers whose library leaves it out: an answer waits for no acknowledgement."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.client import HTTPConnection
from typing import Any
from wsgiref.simple_server import make_server

import pytest

from test.engines.gevent_ import Hub
from test.helpers import TIMEOUT, only_websocket, raw_connection, running
from ws4py.server import geventserver, wsgirefserver
from ws4py.server.standalone import WebSocketServer

pytestmark = pytest.mark.usefixtures("no_thread_left")


@contextmanager
def wsgiref(application: Any) -> Iterator[int]:
    with make_server(
        "127.0.0.1",
        0,
        application,
        wsgirefserver.WSGIServer,
        wsgirefserver.WebSocketWSGIRequestHandler,
    ) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        yield server.server_port
        thread.join(TIMEOUT)


@contextmanager
def gevent(application: Any) -> Iterator[int]:
    def start() -> geventserver.WSGIServer:
        server = geventserver.WSGIServer(("127.0.0.1", 0), application, log=None)
        server.start()
        return server

    with Hub() as hub:
        server = hub.call(start)
        yield server.server_port
        hub.call(server.stop, 0.2)


def says_what_is_set(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    sock = environ["ws4py.socket"]
    return [b"%d" % bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))]


@pytest.mark.parametrize("serving", [wsgiref, gevent])
def test_the_head_of_an_answer_does_not_wait_for_the_peer_to_acknowledge_what_was_before(
    serving: Callable[[Any], AbstractContextManager[int]],
) -> None:
    with serving(says_what_is_set) as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        connection.request("GET", "/", headers={"Connection": "close"})
        assert connection.getresponse().read() == b"1"
        connection.close()


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_a_connection_of_our_own_server_sends_at_once_and_knows_its_ends(host: str) -> None:
    with running(WebSocketServer((host, 0))) as server:
        sock, _ = raw_connection(server.server_address[1])
        with sock:
            ws = only_websocket(server)
            assert ws.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert (ws.local_address, ws.peer_address) == (sock.getpeername(), sock.getsockname())
            assert ws.environ["SERVER_NAME"] == "127.0.0.1"
            assert ws.environ["REMOTE_PORT"] == str(sock.getsockname()[1])
