"""WSGI applications for servers in processes of their own: an echo, and plain answers beside it.

    python -m test.apps.wsgi SERVER PORT APPLICATION

starts one of the servers that have no command line of their own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref import simple_server

from test.helpers import descriptors
from ws4py.manager import WebSocketManager
from ws4py.server.wsgiutils import WebSocketWSGIApplication
from ws4py.websocket import EchoWebSocket


class Echo(EchoWebSocket):
    """Tells its process, or closes, when it is asked to; at /end it has ended when it is made."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.environ["PATH_INFO"] == "/end":
            self.terminate()

    def received_message(self, message: Any) -> None:
        if message.data == b"pid":
            self.send(str(os.getpid()))
        elif message.data == b"close":
            self.close(4000, "as you wish")
        else:
            super().received_message(message)


class Site:
    """Websockets; and to requests that ask for none, the number of open descriptors."""

    def __init__(self, **options: Any) -> None:
        self.websockets = WebSocketWSGIApplication(handler_cls=Echo, **options)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if "HTTP_UPGRADE" in environ:
            return self.websockets(environ, start_response)
        body = b"%d" % descriptors()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]


held = Site(compression="deflate")
handed_off = Site(manager=WebSocketManager, compression="deflate")


def serve_wsgiref(port: int, application: Any) -> None:
    class Server(ThreadingMixIn, simple_server.WSGIServer):
        daemon_threads = True

    simple_server.make_server("127.0.0.1", port, application, Server).serve_forever()


def serve_werkzeug(port: int, application: Any) -> None:
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", port, application, threaded=True)


def serve_cheroot(port: int, application: Any) -> None:
    from cheroot.wsgi import Server

    Server(("127.0.0.1", port), application, timeout=1).start()


def serve_gevent(port: int, application: Any) -> None:
    from gevent.pywsgi import WSGIServer

    WSGIServer(("127.0.0.1", port), application).serve_forever()


if __name__ == "__main__":
    serve: Callable[[int, Any], None] = globals()[f"serve_{sys.argv[1]}"]
    serve(int(sys.argv[2]), globals()[sys.argv[3]])
