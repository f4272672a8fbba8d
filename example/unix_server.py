"""An echo server on a Unix-domain socket. Start it with: python example/unix_server.py [PATH]

Who may connect is up to the permissions of the folder that the socket is in.
"""

import sys
from contextlib import suppress

from ws4py.server.standalone import WebSocketServer
from ws4py.websocket import EchoWebSocket

path = sys.argv[1] if len(sys.argv) > 1 else "ws4py.sock"
try:
    server = WebSocketServer(path, EchoWebSocket)
except OSError as error:  # There is something: another server, or what is left of one.
    sys.exit(f"cannot listen on {path}: {error}")
with server, suppress(KeyboardInterrupt):
    print(f"Echo at {path}", flush=True)
    server.serve_forever()
