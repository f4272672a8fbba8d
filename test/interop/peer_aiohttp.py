"""An echo with aiohttp, in one of two roles.

python -m test.interop.peer_aiohttp serve            prints its port
python -m test.interop.peer_aiohttp connect URL      prints the close code at the end
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from aiohttp import ClientSession, WSMsgType, web


async def echo(websocket: Any) -> None:
    async for message in websocket:
        if message.type == WSMsgType.TEXT:
            await websocket.send_str(message.data)
        else:
            await websocket.send_bytes(message.data)


async def handle(request: web.Request) -> web.WebSocketResponse:
    websocket = web.WebSocketResponse(compress=True)
    await websocket.prepare(request)
    await echo(websocket)
    return websocket


async def listen() -> None:
    application = web.Application()
    application.router.add_get("/", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


async def call(url: str) -> None:
    async with ClientSession() as session, session.ws_connect(url, compress=15) as websocket:
        await echo(websocket)
    print(websocket.close_code, flush=True)


if __name__ == "__main__":
    asyncio.run(listen() if sys.argv[1] == "serve" else call(sys.argv[2]))
