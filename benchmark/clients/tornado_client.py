"""The client of Tornado."""

import asyncio

from exchange import exchange, message, url, window
from tornado.websocket import websocket_connect


async def main():
    connection = await websocket_connect(url)
    while exchange.goes_on():
        for _ in range(window):
            connection.write_message(message)
        for _ in range(window):
            exchange.check(await connection.read_message())
    connection.close()


asyncio.run(main())
