"""A client on asyncio, for the server beside it: python example/asyncio_client.py"""

import asyncio

from ws4py.client.asyncioclient import WebSocketClient


async def main():
    async with WebSocketClient("ws://localhost:9000/") as client:
        await client.send("hello")
        async for message in client:
            print(message)
            if "hello" in str(message):
                break


if __name__ == "__main__":
    asyncio.run(main())
