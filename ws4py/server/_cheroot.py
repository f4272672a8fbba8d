"""Connections of cheroot, CherryPy's HTTP server, that let go of their sockets.

cheroot takes a connection back after each response, or closes it. Its public attribute
``ConnectionClass`` says what a connection is.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from cheroot.server import HTTPConnection

from ws4py.exc import HandshakeError
from ws4py.handshake import Accepted
from ws4py.heads import make_environ
from ws4py.limits import Limits
from ws4py.server._accept import Acceptor
from ws4py.server._opening import read_head
from ws4py.websocket import WebSocket

__all__ = ["Connection", "use_for"]


#: The server's ``max_request_header_size`` is the limit of the whole.
_LIMITS = Limits(max_line=None, max_head=None)


class _Request:
    """A request whose header fields are read more strictly than cheroot does; a mixin."""

    method: bytes
    uri: bytes
    request_protocol: bytes
    simple_response: Any

    def read_request_line(self) -> Any:
        """Read the first line; cheroot 11 takes a URL in it that is none for a fault of its own."""
        try:
            return super().read_request_line()  # type: ignore[misc]
        except ValueError as error:
            self.simple_response("400 Bad Request", str(error))
            return False

    def header_reader(self, rfile: Any, fields: dict[bytes, bytes]) -> None:
        """Read the header fields.

        Raises:
            ValueError: There is something wrong with them.
        """
        line = b" ".join([self.method, self.uri, self.request_protocol]) + b"\r\n"
        try:
            head = read_head(rfile, line, _LIMITS)
            make_environ(head)
        except (HandshakeError, ConnectionAbortedError) as error:
            raise ValueError(str(error)) from error
        for name, value in head.fields:
            key, added = name.title().encode("latin-1"), value.encode("latin-1")
            if b"_" not in key:  # It would pass for the one with a hyphen.
                fields[key] = fields[key] + b", " + added if key in fields else added


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
            with suppress(OSError):  # The application may have closed it.
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
        return websocket

    def detach(self, websocket: WebSocket) -> None:
        """Let go of the socket, unless ``websocket`` has ended meanwhile; give it what it is due.

        That is what has been read behind the request.
        """
        if self.rfile.has_data():
            websocket.buf = bytes(self.rfile.peek(0))
        websocket._take_over()
        self._is_detached = websocket._connected


def use_for(server: Any, bus: Any) -> None:
    """Have a server make such connections, if it is cheroot's; they have ``bus``."""
    base = getattr(server, "ConnectionClass", None)
    if base is None:
        return
    kind: Any = base
    if not issubclass(base, Connection):
        request = type("WebSocketRequest", (_Request, base.RequestHandlerClass), {})
        attributes = {"RequestHandlerClass": request}
        kind = type("WebSocketConnection", (Connection, base), attributes)
    kind.bus = bus
    server.ConnectionClass = kind
