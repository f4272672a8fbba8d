"""An echo server on gevent. Start it with: python example/gevent_server.py [PORT]

Handlers that use what would block need patches: python -m gevent.monkey example/gevent_server.py
"""

import signal
import sys

import gevent

from ws4py.server.geventserver import WebSocketWSGIApplication, WSGIServer
from ws4py.websocket import EchoWebSocket

application = WebSocketWSGIApplication(handler_cls=EchoWebSocket)
try:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    server = WSGIServer(("127.0.0.1", port), application)
    server.start()
except (OSError, OverflowError, ValueError) as error:
    sys.exit(f"cannot listen: {error}")
gevent.signal_handler(signal.SIGINT, server.stop)
print(f"Echo at ws://127.0.0.1:{port}/", flush=True)
server.serve_forever()
