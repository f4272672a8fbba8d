"""A server on asyncio that greets, echoes, and tells all others: python example/asyncio_server.py

Then: python example/asyncio_client.py
"""

import asyncio

from ws4py.async_websocket import WebSocket
from ws4py.server.asyncioserver import serve


class Greeter(WebSocket):
    async def opened(self):
        await self.send("Welcome! What is said here is said to all.")

    async def received_message(self, message):
        await asyncio.sleep(0.1)  # Others go on meanwhile.
        server.broadcast(f"Somebody says: {message}")


server = serve(Greeter, "localhost", 9000)

if __name__ == "__main__":
    asyncio.run(server.serve_forever())
