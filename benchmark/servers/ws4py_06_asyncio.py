"""The asyncio server of the documentation of ws4py 0.6, which Python 3.11 can no longer run."""

import asyncio

from options import port

from ws4py.async_websocket import EchoWebSocket
from ws4py.server.tulipserver import WebSocketProtocol

loop = asyncio.get_event_loop()
listening = loop.create_server(lambda: WebSocketProtocol(EchoWebSocket), "127.0.0.1", port)
loop.run_until_complete(listening)
loop.run_forever()
