"""The echo server of Autobahn's documentation, on asyncio."""

import asyncio

from autobahn.asyncio.websocket import WebSocketServerFactory, WebSocketServerProtocol
from options import port, tls


class MyServerProtocol(WebSocketServerProtocol):
    def onMessage(self, payload, isBinary):
        self.sendMessage(payload, isBinary)


async def main():
    factory = WebSocketServerFactory(f"{'wss' if tls else 'ws'}://127.0.0.1:{port}")
    factory.protocol = MyServerProtocol
    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, "127.0.0.1", port, ssl=tls)
    await server.serve_forever()


asyncio.run(main())
