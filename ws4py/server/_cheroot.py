"""Connections of cheroot, CherryPy's HTTP server, that let go of their sockets.

cheroot takes a connection back after each response, or closes it. Its public attribute
``ConnectionClass`` says what a connection is.
"""

from __future__ import annotations

from typing import Any

from cheroot.server import HTTPConnection

from ws4py.handshake import Accepted
from ws4py.server._accept import Acceptor
from ws4py.websocket import WebSocket

__all__ = ["Connection", "use_for"]


class Connection(HTTPConnection):
    """A connection that a websocket can take over."""

    #: Where the plugin is.
    bus: Any = None
    # Whether HTTP ends with the request that is being answered.
    _is_last = False
    _is_detached = False
    # Bytes that had been sent when that request came.
    _sent_before = 0

    def communicate(self) -> bool:
        """Answer one request; return whether to wait for another one."""
        goes_on: bool = super().communicate()  # type: ignore[no-untyped-call,unused-ignore]
        return goes_on and not self._is_last

    def close(self) -> None:
        """Close the connection, or HTTP's part of it."""
        # What the client did not take, the garbage collector would try to write once more.
        self.wfile._write_buf.clear()
        self.wfile.close()
        if self._is_detached:
            self.rfile.close()
        else:
            super().close()

    def end_http(self) -> None:
        """Take no further request: what follows is frames, or of no interest."""
        self._is_last = True
        self._sent_before = self.wfile.bytes_written

    @property
    def has_answered(self) -> bool:
        """Whether the answer to the last request is on its way."""
        return bool(self.wfile.bytes_written > self._sent_before)

    def make_websocket(
        self, acceptor: Acceptor, accepted: Accepted, environ: dict[str, Any]
    ) -> WebSocket:
        """Make the websocket of a request, which can send only once it has been opened.

        Raises:
            HandshakeError: It cannot be made.
        """
        # The stream would keep the buffers of HTTP for as long as the websocket lives.
        environ = {key: value for key, value in environ.items() if key != "wsgi.input"}
        timeout = self.socket.gettimeout()
        try:
            websocket = acceptor.make(self.socket, accepted.protocols, accepted.extensions, environ)
        finally:
            self.socket.settimeout(timeout)
        websocket._connected = False
        return websocket

    def detach(self) -> bytes:
        """Let go of the socket; return what has been read from it behind the request."""
        self._is_detached = True
        return bytes(self.rfile.peek(0)) if self.rfile.has_data() else b""


def use_for(server: Any, bus: Any) -> None:
    """Have a server make such connections, if it is cheroot's; they have ``bus``."""
    base = getattr(server, "ConnectionClass", None)
    if base is None:
        return
    kind: Any = base
    if not issubclass(base, Connection):
        kind = type("WebSocketConnection", (Connection, base), {})
    kind.bus = bus
    server.ConnectionClass = kind
