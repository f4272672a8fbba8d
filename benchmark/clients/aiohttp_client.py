"""The client of aiohttp."""

import asyncio

import aiohttp
from exchange import exchange, message, url, window


async def main():
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
        while exchange.goes_on():
            for _ in range(window):
                await ws.send_str(message)
            for _ in range(window):
                exchange.check((await ws.receive()).data)


asyncio.run(main())
