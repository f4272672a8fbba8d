"""An echo server on CherryPy, at /ws. Start it with: python example/cherrypy_server.py [PORT]"""

import socket
import sys

import cherrypy

from ws4py.server.cherrypyserver import WebSocketPlugin, WebSocketTool
from ws4py.websocket import EchoWebSocket


class Root:
    @cherrypy.expose
    def index(self):
        return "a WebSocket is at /ws"

    @cherrypy.expose
    def ws(self):
        """Left to the tool; cherrypy.request.ws_handler is the websocket."""


try:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    socket.create_server(("127.0.0.1", port)).close()  # CherryPy tells it in two tracebacks.
except (OSError, OverflowError, ValueError) as error:
    sys.exit(f"cannot listen: {error}")
WebSocketPlugin(cherrypy.engine).subscribe()
cherrypy.tools.websocket = WebSocketTool()
cherrypy.config.update({"server.socket_port": port})
config = {"/ws": {"tools.websocket.on": True, "tools.websocket.handler_cls": EchoWebSocket}}
cherrypy.quickstart(Root(), "/", config)
