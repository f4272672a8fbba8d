"""The server on uvloop under test: ``python -m test.autobahn.server_uvloop PORT``."""

from __future__ import annotations

import sys

import uvloop

from ws4py.server.asyncioserver import serve
from ws4py.websocket import EchoWebSocket

if __name__ == "__main__":
    server = serve(EchoWebSocket, "127.0.0.1", int(sys.argv[1]), compression="deflate")
    uvloop.new_event_loop().run_until_complete(server.serve_forever())
