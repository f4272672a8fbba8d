"""An echo server on CherryPy.

python -m test.autobahn.server_cherrypy PORT
"""

from __future__ import annotations

import sys

import cherrypy

from ws4py.server.cherrypyserver import WebSocketPlugin, WebSocketTool
from ws4py.websocket import EchoWebSocket


class Root:
    """Accepts websockets at every path."""

    @cherrypy.expose
    def default(self, *_path: str, **_query: str) -> None:
        pass


def main() -> None:
    cherrypy.config.update({"environment": "production", "server.socket_port": int(sys.argv[1])})
    WebSocketPlugin(cherrypy.engine).subscribe()
    cherrypy.tools.websocket = WebSocketTool()
    options = {"tools.websocket.on": True, "tools.websocket.handler_cls": EchoWebSocket}
    cherrypy.quickstart(Root(), "/", {"/": options})


if __name__ == "__main__":
    main()
