"""ws4py's asyncio server, which sends every message to all."""

import asyncio

from options import port

from ws4py.server.asyncioserver import serve
from ws4py.websocket import WebSocket


class Broadcaster(WebSocket):
    def received_message(self, message):
        server.broadcast(message.data, message.is_binary)


async def main():
    global server
    async with serve(Broadcaster, "127.0.0.1", port) as server:
        await server.serve_forever()


asyncio.run(main())
