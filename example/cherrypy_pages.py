"""How the examples on CherryPy that have pages are started."""

from __future__ import annotations

import argparse
import socket

import cherrypy
from pages import GUARDS, STATIC, address

from ws4py.server.cherrypyserver import WebSocketPlugin, WebSocketTool


def page(name):
    """Return a page of the folder ``static``."""
    return (STATIC / name).read_text(encoding="utf-8")


def require_own_page():
    """Refuse a request of a page that is not ours: a browser tells in Origin whose page it is.

    For the page handler of a websocket, which is not opened if its page handler raises.
    """
    if cherrypy.request.headers.get("Origin") != cherrypy.request.base:
        raise cherrypy.HTTPError(403, "Only the page of this server may take part")


def announce():
    """Print where the page is, now that the server is there."""
    scheme = "https" if cherrypy.server.ssl_certificate else "http"
    print(f"Open {address(scheme, *cherrypy.server.bound_addr)}", flush=True)


def options_of(description):
    """Read the command line, and see whether its address can be listened on."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--host", default="localhost", help="0.0.0.0 lets other machines in")
    parser.add_argument("--port", default=9000, type=int, help="0 for any that is free")
    parser.add_argument("--ssl", nargs=2, metavar=("CERTIFICATE", "KEY"), help="files, for https")
    options = parser.parse_args()
    host, port = options.host, options.port
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except (OSError, OverflowError) as error:
        parser.exit(2, f"{parser.prog}: cannot listen on {host}:{port}: {error}\n")
    return options


def serve(root, websockets, options):
    """Serve the page handlers of ``root``, and at the paths of ``websockets`` their classes."""
    certificate, key = options.ssl or (None, None)
    cherrypy.config.update(
        {
            "environment": "production",
            "server.socket_host": options.host,
            "server.socket_port": options.port,
            "server.ssl_certificate": certificate,
            "server.ssl_private_key": key,
        }
    )
    # At the end of the engine it says goodbye to everybody, with the close code 1001.
    WebSocketPlugin(cherrypy.engine).subscribe()
    cherrypy.tools.websocket = WebSocketTool()
    cherrypy.engine.subscribe("start", announce, priority=90)  # after the server, which has 75
    guards = {"tools.response_headers.on": True, "tools.response_headers.headers": GUARDS}
    static = {"tools.staticdir.on": True, "tools.staticdir.dir": str(STATIC)}
    config = {"/": guards, "/static": static}
    for path, handler in websockets.items():
        config[path] = {"tools.websocket.on": True, "tools.websocket.handler_cls": handler}
    cherrypy.quickstart(root, "/", config)
