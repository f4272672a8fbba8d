"""An echo with websockets, in one of two roles.

python -m test.interop.peer_websockets serve            prints its port
python -m test.interop.peer_websockets connect URL      prints the close code at the end
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve


async def echo(connection: Any) -> None:
    async for message in connection:
        await connection.send(message)


async def listen() -> None:
    async with serve(echo, "127.0.0.1", 0, compression="deflate") as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


async def call(url: str) -> None:
    async with connect(url, compression="deflate", proxy=None) as connection:
        await echo(connection)
    print(connection.close_code, flush=True)


if __name__ == "__main__":
    asyncio.run(listen() if sys.argv[1] == "serve" else call(sys.argv[2]))
