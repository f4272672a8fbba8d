"""A server on asyncio, which tells all what one says: python example/asyncio_server.py [PORT]"""

import asyncio
import sys
from contextlib import suppress

from ws4py.async_websocket import WebSocket
from ws4py.server.asyncioserver import serve


class Greeter(WebSocket):
    async def opened(self):
        await self.send("Welcome! What is said here is said to all.")

    async def received_message(self, message):
        await asyncio.sleep(0.1)  # Others go on meanwhile.
        server.broadcast(f"Somebody says: {message}")


try:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    server = serve(Greeter, "localhost", port)
    with suppress(KeyboardInterrupt):
        asyncio.run(server.serve_forever())
except (OSError, OverflowError, ValueError) as error:
    sys.exit(f"cannot listen: {error}")
