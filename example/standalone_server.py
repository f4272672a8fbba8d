"""An echo server on ws4py alone. Start it with: python example/standalone_server.py [PORT]"""

import sys
from contextlib import suppress

from ws4py.server.standalone import WebSocketServer
from ws4py.websocket import EchoWebSocket

try:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    server = WebSocketServer(("localhost", port), EchoWebSocket)
except (OSError, OverflowError, ValueError) as error:
    sys.exit(f"cannot listen: {error}")
with server, suppress(KeyboardInterrupt):
    server.serve_forever()
