"""The WSGI application that upgrades connections to WebSocket.

A server that supports it puts the connection's socket into ``environ['ws4py.socket']``, calls the
application, which answers the handshake through ``start_response`` and leaves a websocket in
``environ['ws4py.websocket']``; the server then sends the response's head as it is, removes both
keys, and runs the websocket or adds it to a manager. It must not close the socket.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Callable
from wsgiref.util import is_hop_by_hop

from ws4py.exc import HandshakeError
from ws4py.handshake import refusal
from ws4py.limits import Limits
from ws4py.server._accept import Acceptor
from ws4py.websocket import WebSocket

__all__ = ["WebSocketWSGIApplication"]


class WebSocketWSGIApplication:
    """See the module. A request that is not a good handshake is answered with a 4xx status.

    Where the server gives no access to its sockets, the status is 501.

    Args:
        protocols: The subprotocols that are spoken; with none, what a client asks for is ignored.
        extensions: The extensions that ``handler_cls`` implements.
        handler_cls: The class of the websockets.
        origins: The values of Origin that are allowed; with none, all are.
        limits: The :class:`ws4py.limits.Limits` of the websockets; None leaves their class's.
        heartbeat_freq: Seconds between two Pings, unless ``handler_cls`` has its own.
    """

    def __init__(
        self,
        protocols: Sequence[str] | None = None,
        extensions: Sequence[str] | None = None,
        handler_cls: Callable[..., WebSocket] = WebSocket,
        *,
        origins: Sequence[str | None] | None = None,
        limits: Limits | None = None,
        heartbeat_freq: float | None = None,
    ) -> None:
        self.protocols = protocols
        self.extensions = extensions
        self.handler_cls = handler_cls
        self.origins = origins
        self.limits = limits
        self.heartbeat_freq = heartbeat_freq
        self._make_acceptor()  # An argument that cannot be one is refused here.

    def _make_acceptor(self) -> Acceptor:
        """Return what judges a request by the attributes as they are now."""
        return Acceptor(
            self.handler_cls,
            self.protocols,
            self.extensions,
            self.origins,
            self.limits,
            self.heartbeat_freq,
        )

    def make_websocket(
        self, sock: Any, protocols: list[str], extensions: list[str], environ: dict[str, Any]
    ) -> WebSocket:
        """Make the websocket, with a copy of ``environ``, and put it into ``environ``."""
        websocket = self._make_acceptor().make(sock, protocols, extensions, environ.copy())
        environ["ws4py.websocket"] = websocket
        return websocket

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer a request (PEP 3333)."""
        knows_us = "ws4py.socket" in environ
        try:
            accepted = self._make_acceptor().accept(environ)
            if not knows_us:
                raise HandshakeError("this server gives no access to its sockets", 501)
            self.make_websocket(
                environ["ws4py.socket"], accepted.protocols, accepted.extensions, environ
            )
        except HandshakeError as error:
            status, headers, body = refusal(error)
            if not knows_us:
                headers = [each for each in headers if not is_hop_by_hop(each[0])]
            start_response(status, headers)
            return [body]
        start_response("101 Switching Protocols", accepted.headers)
        return []
