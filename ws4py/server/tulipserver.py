"""The old name of :mod:`ws4py.server.asyncioserver`."""

from ws4py.server.asyncioserver import WebSocketProtocol, WebSocketServer, serve

__all__ = ["WebSocketProtocol", "WebSocketServer", "serve"]
