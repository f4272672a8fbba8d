"""An echo server on Tornado. Start it with: python example/tornado_server.py [PORT]"""

import asyncio
import sys
from contextlib import suppress

from tornado.web import Application

from ws4py.server.tornadoserver import WebSocketHandler, WebSockets
from ws4py.websocket import EchoWebSocket


async def main(port=9000):
    websockets = WebSockets()
    route = ("/.*", WebSocketHandler, {"handler_cls": EchoWebSocket, "websockets": websockets})
    Application([route]).listen(port, "localhost")
    try:
        await asyncio.Event().wait()
    finally:
        websockets.close_all()
        await websockets.wait_closed()


try:
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*map(int, sys.argv[1:])))
except (OSError, OverflowError, ValueError) as error:
    sys.exit(f"cannot listen: {error}")
