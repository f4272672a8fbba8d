"""The echo server of gevent-websocket's documentation, for as long as messages come."""

from gevent.pywsgi import WSGIServer
from geventwebsocket.handler import WebSocketHandler
from options import certificate, port


def websocket_app(environ, start_response):
    ws = environ["wsgi.websocket"]
    while (message := ws.receive()) is not None:
        ws.send(message)
    return []


tls = {"certfile": certificate, "keyfile": certificate} if certificate else {}
server = WSGIServer(("127.0.0.1", port), websocket_app, handler_class=WebSocketHandler, **tls)
server.serve_forever()
