"""Pages and WebSockets by path, on gevent. Start it with: python example/gevent_routes.py [PORT]"""

import signal
import sys

import gevent

from ws4py.server.geventserver import WebSocketWSGIApplication, WSGIServer
from ws4py.websocket import EchoWebSocket, WebSocket


class Shout(WebSocket):
    def received_message(self, message):
        self.send(str(message).upper())


def page(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"WebSockets are at /echo and /shout\n"]


def missing(environ, start_response):
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"There are /, /echo and /shout\n"]


routes = {
    "/": page,
    "/echo": WebSocketWSGIApplication(handler_cls=EchoWebSocket),
    "/shout": WebSocketWSGIApplication(handler_cls=Shout),
}


def application(environ, start_response):
    return routes.get(environ["PATH_INFO"], missing)(environ, start_response)


try:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    server = WSGIServer(("127.0.0.1", port), application)
    server.start()
except (OSError, OverflowError, ValueError) as error:
    sys.exit(f"cannot listen: {error}")
gevent.signal_handler(signal.SIGINT, server.stop)
print(f"Echo at ws://127.0.0.1:{server.server_port}/echo", flush=True)
server.serve_forever()
