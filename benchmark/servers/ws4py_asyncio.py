"""The asyncio server of ws4py's documentation, for uvloop."""

import asyncio

from options import port, tls

from ws4py.server.asyncioserver import serve
from ws4py.websocket import EchoWebSocket

asyncio.run(serve(EchoWebSocket, "127.0.0.1", port, ssl=tls).serve_forever())
