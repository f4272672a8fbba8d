"""A chat under CherryPy: open its page in a couple of tabs, and chat around.

python example/echo_cherrypy_server.py [--host HOST] [--port PORT] [--ssl CERTIFICATE KEY]
"""

from __future__ import annotations

import cherrypy
from cherrypy_pages import options_of, page, require_own_page, serve

from ws4py.limits import Limits
from ws4py.websocket import WebSocket


class Chat(WebSocket):
    """One tab, or one of many clients; each gets what any of them says."""

    limits = Limits(max_message_size=4096)

    def opened(self):
        self.send("Welcome! What you say is said to everybody here.")

    def received_message(self, message):
        cherrypy.engine.publish("websocket-broadcast", str(message))


class Root:
    @cherrypy.expose
    def index(self):
        return page("chat_cherrypy.html")

    @cherrypy.expose
    def ws(self):
        # The websocket is opened once this has returned, and not at all if it raises.
        require_own_page()


if __name__ == "__main__":
    serve(Root(), {"/ws": Chat}, options_of("A chat on ws4py, under CherryPy"))
