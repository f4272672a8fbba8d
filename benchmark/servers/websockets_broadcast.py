"""A server on websockets that sends every message to all, as its documentation shows."""

import asyncio

from options import port
from websockets.asyncio.server import broadcast, serve

CONNECTIONS = set()


async def handler(websocket):
    CONNECTIONS.add(websocket)
    try:
        async for message in websocket:
            broadcast(CONNECTIONS, message)
    finally:
        CONNECTIONS.remove(websocket)


async def main():
    async with serve(handler, "127.0.0.1", port) as server:
        await server.serve_forever()


asyncio.run(main())
