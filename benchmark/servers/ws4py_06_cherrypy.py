"""The CherryPy server of the documentation of ws4py 0.6."""

import cherrypy
from options import port

from ws4py.server.cherrypyserver import WebSocketPlugin, WebSocketTool
from ws4py.websocket import EchoWebSocket


class Root:
    @cherrypy.expose
    def index(self):
        pass


cherrypy.config.update({"server.socket_host": "127.0.0.1", "server.socket_port": port})
WebSocketPlugin(cherrypy.engine).subscribe()
cherrypy.tools.websocket = WebSocketTool()
config = {"/": {"tools.websocket.on": True, "tools.websocket.handler_cls": EchoWebSocket}}
cherrypy.quickstart(Root(), "/", config)
