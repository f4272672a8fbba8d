"""The client of websockets (asyncio API)."""

import asyncio

from exchange import exchange, message, url, window
from websockets.asyncio.client import connect


async def main():
    async with connect(url) as websocket:
        while exchange.goes_on():
            for _ in range(window):
                await websocket.send(message)
            for _ in range(window):
                exchange.check(await websocket.recv())


asyncio.run(main())
