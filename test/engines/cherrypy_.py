"""CherryPy: the tool and the plugin, on a bus and an HTTP server of their own."""

from __future__ import annotations

import atexit
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cherrypy
from cheroot.ssl.builtin import BuiltinSSLAdapter
from cherrypy import _cpserver, _cpwsgi_server
from cherrypy.process.servers import ServerAdapter
from cherrypy.process.wspbus import Bus

from test.engines import Engine, Served
from test.helpers import TIMEOUT
from ws4py.server.cherrypyserver import WebSocketPlugin, WebSocketTool

cherrypy.config.update({"environment": "test_suite"})
cherrypy.tools.websocket = WebSocketTool()


class Adapter(ServerAdapter):
    """Starts a server without looking once in a while whether it has started."""

    def start(self) -> None:
        if isinstance(self.httpserver.bind_addr, tuple):
            self.httpserver.bind_addr = ("127.0.0.1", 0)  # the port it had is still being closed
        self.httpserver.prepare()
        self.thread = threading.Thread(target=self.httpserver.serve, name="cheroot")
        self.thread.start()

    start.priority = ServerAdapter.start.priority

    def stop(self) -> None:
        self.httpserver.stop()
        self.thread.join(TIMEOUT)

    stop.priority = ServerAdapter.stop.priority


class TLSAdapter(BuiltinSSLAdapter):
    """The TLS of the standard library, with a context that is there already."""

    _server_env: dict[str, str] = {}  # noqa: RUF012 - as the base class makes it

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context


class Root:
    """Accepts websockets at every path."""

    @cherrypy.expose
    def default(self, *_path: str, **_query: str) -> None:
        pass


def application(root: Any, path: str = "/", script_name: str = "", **options: Any) -> Any:
    """Return an application with the tool on at ``path``."""
    config = {f"tools.websocket.{name}": value for name, value in options.items()}
    return cherrypy.Application(root, script_name, {path: {"tools.websocket.on": True, **config}})


def make_server(app: Any, threads: int = 2, tls: Any = None) -> Any:
    """Return an HTTP server of CherryPy's for ``app`` on a free port."""
    settings = _cpserver.Server()
    settings.socket_host, settings.socket_port = "127.0.0.1", 0
    settings.thread_pool, settings.socket_queue_size = threads, 128
    server = _cpwsgi_server.CPWSGIServer(settings)
    server.wsgi_app = app
    server.ssl_adapter = tls
    server.expiration_interval = 0.02  # how soon it sees that it is to stop
    return server


@contextmanager
def running(*subscribers: Any, bus: Any = None) -> Iterator[Any]:
    """Run a bus with ``subscribers``, and end it."""
    bus = bus or Bus()
    for each in subscribers:
        each.bus = bus
        each.subscribe()
    bus.start()
    try:
        yield bus
    finally:
        for each in subscribers:  # A peer that the test has left does not answer.
            for websocket in getattr(each, "manager", ()):
                websocket.limits = replace(websocket.limits, close_timeout=0.1)
        bus.stop()  # not exit(), which would end all tests at once if a subscriber failed
        atexit.unregister(bus._clean_exit)


@contextmanager
def serving(app: Any, plugin: Any = None, tls: Any = None, threads: int = 2) -> Iterator[Any]:
    """Serve ``app``; yields the HTTP server."""
    server = make_server(app, threads, tls)
    with running(Adapter(None, server), plugin or WebSocketPlugin(None)):
        yield server


def port_of(server: Any) -> int:
    """Return the port of a server that runs."""
    port: int = server.bind_addr[1]
    return port


@contextmanager
def builtin(handler: Any, tls: Any, **options: Any) -> Iterator[Served]:
    plugin = WebSocketPlugin(None)
    app = application(Root(), handler_cls=handler, **options)
    if isinstance(tls, ssl.SSLContext):
        tls = TLSAdapter(tls)
    with serving(app, plugin, tls) as server:

        def drain(seconds: float) -> None:
            plugin.drain = seconds
            plugin.bus.stop()

        yield Served(port_of(server), plugin.broadcast, plugin.bus.stop, drain)


def pyopenssl(certificate: Path, handler: Any, _tls: ssl.SSLContext, **options: Any) -> Any:
    """Serve with the TLS of pyOpenSSL; the key of ``certificate`` is beside it."""
    from cheroot.ssl.pyopenssl import pyOpenSSLAdapter

    tls = pyOpenSSLAdapter(str(certificate), str(certificate.with_suffix(".key")))
    return builtin(handler, tls, **options)


ENGINES = [Engine("cherrypy", builtin, thread="WebSocketManager")]
