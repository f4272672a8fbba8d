"""ws4py on gevent, which sends every message to all."""

from options import port

from ws4py.server.geventserver import WebSocketWSGIApplication, WSGIServer
from ws4py.websocket import WebSocket


class Broadcaster(WebSocket):
    def received_message(self, message):
        server.websockets.broadcast(message.data, message.is_binary)


server = WSGIServer(("127.0.0.1", port), WebSocketWSGIApplication(handler_cls=Broadcaster))
server.serve_forever()
