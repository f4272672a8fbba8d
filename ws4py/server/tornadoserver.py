"""The server for Tornado: a request handler.

It is put into a route of an application::

    import asyncio
    from tornado.web import Application
    from ws4py.server.tornadoserver import WebSocketHandler
    from ws4py.websocket import EchoWebSocket

    async def main():
        Application([(r"/ws", WebSocketHandler, {"handler_cls": EchoWebSocket})]).listen(9000)
        await asyncio.Event().wait()

    asyncio.run(main())
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from logging import getLogger
from typing import Any, Callable

from tornado.httputil import HTTPHeaders
from tornado.web import RequestHandler, stream_request_body

from ws4py._asyncio import Connection, WebSockets
from ws4py.deflate import Compression
from ws4py.exc import HandshakeError
from ws4py.handshake import Accepted, refusal
from ws4py.heads import Fields, Head, make_environ
from ws4py.limits import Limits
from ws4py.server._accept import Acceptor, add_addresses, check_open
from ws4py.server._iostream import adopt
from ws4py.websocket import WebSocket

__all__ = ["WebSocketHandler", "WebSockets"]

logger = getLogger("ws4py")


# A request with a body is answered before the body is read.
@stream_request_body
class WebSocketHandler(RequestHandler):
    """Answers opening handshakes, and hands the connections over to websockets.

    It is a request handler like any other: subclass it for ``prepare``, ``get_current_user`` and so
    on; what they set in the answer, cookies for instance, goes out with it.
    """

    _headers: Any

    _unknown: Iterable[str] = ()

    def initialize(
        self,
        handler_cls: Callable[..., WebSocket] | None = None,
        protocols: Sequence[str] | None = None,
        extensions: Sequence[str] | None = None,
        origins: Sequence[str | None] | None = None,
        limits: Limits | None = None,
        heartbeat_freq: float | None = None,
        websockets: WebSockets | None = None,
        compression: Compression = None,
        **unknown: Any,
    ) -> None:
        """Take the options of the route, which are looked at when the request is.

        What this raised would leave the request without any answer; later it is a 500.

        Args:
            handler_cls: The class of the websockets, which has to be given. Callbacks may be
                coroutine functions in subclasses of :class:`ws4py.async_websocket.WebSocket`.
            protocols, extensions, origins, limits, compression: As for
                :class:`ws4py.server.standalone.WebSocketServer`.
            heartbeat_freq: Seconds between two Pings, unless ``handler_cls`` has its own.
            websockets: Has each websocket while it is connected: for broadcasts, and to close or
                drain them before the loop is stopped.
            **unknown: There is to be none.
        """
        self.handler_cls: Any = handler_cls
        self.protocols = protocols
        self.extensions = extensions
        self.origins = origins
        self.limits = limits
        self.heartbeat_freq = heartbeat_freq
        self.websockets = websockets
        self.compression = compression
        self._unknown = unknown

    def prepare(self) -> Any:
        """Refuse a request with a body before that is read; overrides need not call this."""
        headers = self.request.headers
        if headers.get("Content-Length", "") not in ("", "0") or "Transfer-Encoding" in headers:
            self._accept()

    def data_received(self, chunk: bytes) -> None:
        """Throw the body of a request away, which will be refused."""

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Answer an opening handshake."""
        accepted = self._accept()
        if accepted is not None:
            await self._switch(*accepted)

    # There is one place that judges requests, methods included.
    head = post = delete = patch = put = options = get

    def _accept(self) -> tuple[Accepted, WebSocket] | None:
        """Return what was agreed on and the websocket; None if the request has been refused.

        Raises:
            TypeError: An option of the route is not one.
            ValueError: The same.
        """
        self._check_options()
        try:
            check_open(self.websockets is not None and self.websockets.is_draining)
            acceptor = Acceptor(
                self.handler_cls,
                self.protocols,
                self.extensions,
                self.origins,
                self.limits,
                self.heartbeat_freq,
                is_async=True,
                compression=self.compression,
            )
            sock = self.request.connection.stream.socket
            environ = self._make_environ(sock)
            accepted = acceptor.accept(environ)
            return accepted, acceptor.make(sock, accepted.protocols, accepted.extensions, environ)
        except HandshakeError as error:
            self._refuse(error)
        return None

    def _check_options(self) -> None:
        """See to it that the options of the route are such, but for those that Acceptor judges."""
        if self._unknown:
            raise TypeError(f"{', '.join(self._unknown)}: no option of a WebSocketHandler")
        if self.handler_cls is None:
            raise TypeError("a route to a WebSocketHandler has to have a handler_cls")
        if not isinstance(self.websockets, (WebSockets, type(None))):
            raise TypeError(f"websockets={self.websockets!r} is not a WebSockets")

    def _make_environ(self, sock: Any) -> dict[str, Any]:
        request = self.request
        line = f"{request.method} {request.uri} {request.version}"
        environ = make_environ(Head(line, list(request.headers.get_all())), request.protocol)
        with suppress(OSError, AttributeError):  # The client has left already.
            add_addresses(environ, sock.getsockname(), sock.getpeername())
        environ["REMOTE_ADDR"] = request.remote_ip  # What a proxy says, if that is trusted.
        return environ

    def _answer(self, status: str, headers: Fields, body: bytes | None = None) -> Any:
        """Send an answer, and return the connection's stream."""
        code, _, reason = status.partition(" ")
        self.set_status(int(code), reason)
        self._headers = _Headers(self._headers)
        for name, value in headers:
            self.set_header(name, value)
        self.finish(body)
        return self.detach()

    def _refuse(self, error: HandshakeError) -> None:
        logger.info("An opening handshake was refused: %s", error)
        status, headers, body = refusal(error)
        stream = self._answer(status, [("Connection", "close"), *headers], body)
        if not stream.closed():
            stream.write(b"").add_done_callback(lambda _: stream.close())

    async def _switch(self, accepted: Accepted, websocket: WebSocket) -> None:
        """Answer a request that is accepted, and let the websocket have the connection."""
        # A server with no_keep_alive would end the connection with its answer.
        self.request.connection._disconnect_on_finish = False
        stream = self._answer("101 Switching Protocols", accepted.headers)

        def begin(transport: Any, rest: bytes) -> None:
            websocket.buf = rest
            loop = asyncio.get_running_loop()
            Connection(websocket, transport, loop, self.websockets).begin()

        try:
            await adopt(stream, begin)
        except OSError as error:
            logger.info("An opening handshake broke off: %s", error)
            stream.close()


class _Headers(HTTPHeaders):
    """Headers that go out as they are spelled: Tornado would write Sec-Websocket, as few expect."""

    def __init__(self, headers: HTTPHeaders) -> None:
        self._spelled: dict[str, str] = {}
        super().__init__(headers)

    def __setitem__(self, name: str, value: str) -> None:
        self._spelled[name.lower()] = name
        super().__setitem__(name, value)

    def get_all(self) -> Iterator[tuple[str, str]]:
        for name, value in super().get_all():
            yield self._spelled.get(name.lower(), name), value
