"""An echo server on ws4py alone. Start it with: python example/standalone_server.py [PORT]"""

import sys
from contextlib import suppress

from ws4py.server.standalone import WebSocketServer
from ws4py.websocket import EchoWebSocket

port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
with WebSocketServer(("localhost", port), EchoWebSocket) as server, suppress(KeyboardInterrupt):
    server.serve_forever()
