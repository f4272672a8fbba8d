"""The server on asyncio under test: its arguments are PORT, plain or coroutine, and the loop."""

from __future__ import annotations

import sys

from test.aio import LOOPS
from ws4py import async_websocket, websocket
from ws4py.server.asyncioserver import serve

HANDLERS = {"plain": websocket.EchoWebSocket, "coroutine": async_websocket.EchoWebSocket}


def main(port: str, handler: str, loop: str) -> None:
    """Serve until the end of the process."""
    server = serve(HANDLERS[handler], "127.0.0.1", int(port))
    LOOPS[loop]().run_until_complete(server.serve_forever())


if __name__ == "__main__":
    main(*sys.argv[1:])
