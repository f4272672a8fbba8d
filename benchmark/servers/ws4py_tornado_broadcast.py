"""ws4py on Tornado, which sends every message to all."""

import asyncio

from options import port
from tornado.web import Application

from ws4py.server.tornadoserver import WebSocketHandler, WebSockets
from ws4py.websocket import WebSocket

websockets = WebSockets()


class Broadcaster(WebSocket):
    def received_message(self, message):
        websockets.broadcast(message.data, message.is_binary)


async def main():
    route = ("/", WebSocketHandler, {"handler_cls": Broadcaster, "websockets": websockets})
    Application([route]).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


asyncio.run(main())
