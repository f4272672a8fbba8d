"""ws4py's client on asyncio."""

import asyncio

from exchange import exchange, message, url, window

from ws4py.client.asyncioclient import WebSocketClient


async def main():
    async with WebSocketClient(url) as client:
        while exchange.goes_on():
            for _ in range(window):
                await client.send(message)
            for _ in range(window):
                exchange.check((await client.receive()).data)


asyncio.run(main())
