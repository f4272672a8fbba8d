"""The engines that need nothing but the standard library."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import make_server

from test.engines import Engine, Served, url
from test.helpers import TIMEOUT, echo_server
from ws4py.client import WebSocketBaseClient
from ws4py.client.threadedclient import WebSocketClient
from ws4py.manager import WebSocketManager
from ws4py.server.wsgirefserver import WebSocketWSGIRequestHandler, WSGIServer
from ws4py.server.wsgiutils import WebSocketWSGIApplication


@contextmanager
def standalone(handler: Any, tls: ssl.SSLContext | None, **options: Any) -> Iterator[Served]:
    with echo_server(handler, ssl_context=tls, heartbeat_freq=None, **options) as server:
        broadcast, close = server.manager.broadcast, server.server_close
        yield Served(server.server_address[1], broadcast, close, server.shutdown)


@contextmanager
def wsgiref(handler: Any, tls: ssl.SSLContext | None, **options: Any) -> Iterator[Served]:
    application = WebSocketWSGIApplication(handler_cls=handler, **options)
    server = make_server(
        "127.0.0.1", 0, application, WSGIServer, handler_class=WebSocketWSGIRequestHandler
    )
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.initialize_websockets_manager()
    # The interval at which the standard library's loop looks for its end.
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def stop() -> None:
        server.shutdown()
        thread.join(TIMEOUT)
        server.server_close()

    try:
        yield Served(server.server_port, server.manager.broadcast, stop, server.shutdown)
    finally:
        stop()


Connect = Callable[..., WebSocketBaseClient]


@contextmanager
def threaded(behaviour: type, tls: ssl.SSLContext | None) -> Iterator[Connect]:
    client_class: Any = type("Client", (behaviour, WebSocketClient), {})
    clients = []

    def connect(port: int, **options: Any) -> WebSocketBaseClient:
        client = client_class(url(port, tls), ssl_context=tls, **options)
        clients.append(client)
        client.connect()
        return client

    yield connect
    for client in clients:
        client.terminate()
        client.run_forever()


@contextmanager
def managed(behaviour: type, tls: ssl.SSLContext | None) -> Iterator[Connect]:
    manager = WebSocketManager()

    class Managed(WebSocketBaseClient):
        def handshake_ok(self) -> None:
            manager.add(self)

    client_class: Any = type("Client", (behaviour, Managed), {})

    def connect(port: int, **options: Any) -> WebSocketBaseClient:
        client = client_class(url(port, tls), ssl_context=tls, **options)
        client.connect()
        return client

    manager.start()
    yield connect
    manager.stop()
    manager.join(TIMEOUT)


@contextmanager
def run_in_a_thread(behaviour: type, tls: ssl.SSLContext | None) -> Iterator[Connect]:
    class Silent(WebSocketBaseClient):
        def handshake_ok(self) -> None:
            pass

    client_class: Any = type("Client", (behaviour, Silent), {})
    running: list[tuple[Any, threading.Thread]] = []

    def connect(port: int, **options: Any) -> WebSocketBaseClient:
        client = client_class(url(port, tls), ssl_context=tls, **options)
        client.connect()
        thread = threading.Thread(target=client.run)
        running.append((client, thread))
        thread.start()
        return client

    yield connect
    for client, thread in running:
        client.terminate()
        thread.join(TIMEOUT)


ENGINES = [
    Engine("standalone", standalone, thread="server"),
    Engine("wsgiref", wsgiref, thread="WebSocketManager"),
    Engine("threaded", threaded, is_client=True, thread="WebSocketClient", threads_each=1),
    Engine("managed", managed, is_client=True, thread="WebSocketManager"),
    Engine("run", run_in_a_thread, is_client=True, thread="Thread", threads_each=1),
]
