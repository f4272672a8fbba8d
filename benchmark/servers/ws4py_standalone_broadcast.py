"""ws4py's own server, which sends every message to all."""

from options import port

from ws4py.server.standalone import WebSocketServer
from ws4py.websocket import WebSocket


class Broadcaster(WebSocket):
    def received_message(self, message):
        server.manager.broadcast(message.data, message.is_binary)


with WebSocketServer(("127.0.0.1", port), Broadcaster) as server:
    server.serve_forever()
