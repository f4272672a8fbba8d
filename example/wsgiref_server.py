"""An echo server on wsgiref. Start it with: python example/wsgiref_server.py [PORT]"""

import sys
from contextlib import suppress
from wsgiref.simple_server import make_server

from ws4py.server.wsgirefserver import WebSocketWSGIRequestHandler, WSGIServer
from ws4py.server.wsgiutils import WebSocketWSGIApplication
from ws4py.websocket import EchoWebSocket

application = WebSocketWSGIApplication(handler_cls=EchoWebSocket)
classes = (WSGIServer, WebSocketWSGIRequestHandler)
try:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    server = make_server("localhost", port, application, *classes)
except (OSError, OverflowError, ValueError) as error:
    sys.exit(f"cannot listen: {error}")
with server, suppress(KeyboardInterrupt):
    server.initialize_websockets_manager()
    server.serve_forever()
