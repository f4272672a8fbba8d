"""The WSGI application on servers that know nothing of it: websockets are held, or handed off."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Server as CherootServer
from werkzeug.serving import WSGIRequestHandler as WerkzeugHandler
from werkzeug.serving import make_server as make_werkzeug

from test.engines import Engine, Served
from test.helpers import TIMEOUT
from ws4py.manager import WebSocketManager
from ws4py.server.wsgiutils import WebSocketWSGIApplication

#: Websockets that one test holds at the same time, and plain requests beside them.
THREADS = 6


@contextmanager
def serving(
    application: WebSocketWSGIApplication,
    serve: Callable[[], object],
    stop: Callable[[], object],
    port: int,
) -> Iterator[Served]:
    thread = threading.Thread(target=serve)
    thread.start()

    def end() -> None:
        application.drain()
        stop()
        thread.join(TIMEOUT)

    try:
        yield Served(port, application.broadcast, end, application.drain)
    finally:
        end()


class BuiltinTLS(BuiltinSSLAdapter):
    """cheroot's TLS, with a context that has been made already."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context

    def get_environ(self, sock: ssl.SSLSocket) -> dict[str, str]:
        return {"wsgi.url_scheme": "https"}


@contextmanager
def cheroot(handler: Any, tls: ssl.SSLContext | None, **options: Any) -> Iterator[Served]:
    application = WebSocketWSGIApplication(handler_cls=handler, **options)
    server = CherootServer(("127.0.0.1", 0), application, numthreads=THREADS)
    server.keep_alive_conn_limit = 0
    server.expiration_interval = 0.01  # at which it looks for its end
    if tls is not None:
        server.ssl_adapter = BuiltinTLS(tls)
    server.prepare()
    with serving(application, server.serve, server.stop, server.bind_addr[1]) as served:
        yield served


@contextmanager
def werkzeug(handler: Any, tls: ssl.SSLContext | None, **options: Any) -> Iterator[Served]:
    class Quiet(WerkzeugHandler):
        def log(self, *_: Any) -> None:
            pass

    application = WebSocketWSGIApplication(handler_cls=handler, **options)
    server = make_werkzeug(
        "127.0.0.1", 0, application, threaded=True, request_handler=Quiet, ssl_context=tls
    )
    serve = partial(server.serve_forever, 0.01)
    with serving(application, serve, server.shutdown, server.server_port) as served:
        yield served
    server.server_close()


@contextmanager
def handed_off(handler: Any, tls: None, **options: Any) -> Iterator[Served]:
    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    application = WebSocketWSGIApplication(handler_cls=handler, manager=WebSocketManager, **options)
    server = make_server("127.0.0.1", 0, application, handler_class=Quiet)
    serve = partial(server.serve_forever, 0.01)
    with serving(application, serve, server.shutdown, server.server_port) as served:
        yield served
    server.server_close()


ENGINES = [
    Engine("cheroot", cheroot, thread="CP Server Thread"),
    Engine("werkzeug", werkzeug, thread="Thread", threads_each=1),
    # What has TLS cannot be handed off.
    Engine("handed-off", handed_off, thread="WebSocketManager", tls=False),
]
