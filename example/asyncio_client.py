"""A client on asyncio. Start it with: python example/asyncio_client.py [URL]"""

import asyncio
import sys

from ws4py.client.asyncioclient import WebSocketClient
from ws4py.exc import HandshakeError


async def main():
    async with WebSocketClient(url) as client:
        await client.send("hello")
        async for message in client:
            print(message)
            if "hello" in str(message):
                break


url = sys.argv[1] if len(sys.argv) > 1 else "ws://localhost:9000/"
try:
    asyncio.run(main())
except (OSError, ValueError, HandshakeError) as error:
    sys.exit(f"no connection to {url}: {error}")
