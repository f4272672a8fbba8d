"""The echo server of Tornado's documentation."""

import asyncio

from options import port, tls
from tornado.web import Application
from tornado.websocket import WebSocketHandler


class EchoWebSocket(WebSocketHandler):
    def on_message(self, message):
        self.write_message(message, binary=isinstance(message, bytes))


async def main():
    Application([("/", EchoWebSocket)]).listen(port, "127.0.0.1", ssl_options=tls)
    await asyncio.Event().wait()


asyncio.run(main())
