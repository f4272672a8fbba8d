"""The server for asyncio's loop, and uvloop's.

Callbacks may be coroutine functions::

    import asyncio
    from ws4py.async_websocket import WebSocket
    from ws4py.server.asyncioserver import serve

    class Shout(WebSocket):
        async def received_message(self, message):
            await self.send(str(message).upper())

    async def main():
        async with serve(Shout, "localhost", 9000) as server:
            await server.serve_forever()

    asyncio.run(main())
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator, Mapping, Sequence
from socket import fromfd, socket
from ssl import SSLContext
from typing import Any, Callable

from ws4py._asyncio import Connection, LoopTransport, WebSockets
from ws4py._tls import check_server_context
from ws4py.deflate import Compression
from ws4py.draining import check_drain
from ws4py.limits import Limits
from ws4py.server._opening import Answer, Handler, Opening, Site, check_port
from ws4py.websocket import EchoWebSocket, WebSocket

__all__ = ["WebSocketProtocol", "WebSocketServer", "serve"]

#: Connections that are accepted before others have their turn. Without descriptors asyncio tries
#: as often as its backlog is long, and logs a traceback each time (CPython 3.9 to 3.13).
_ACCEPTS = 16


class WebSocketProtocol(asyncio.Protocol):
    """One connection: answers its opening handshake, and hands it over to a websocket.

    For ``loop.create_server(lambda: WebSocketProtocol(EchoWebSocket), host, port)``.

    Args:
        handler_cls: The class of the websocket, or a dict of paths and classes; or a
            :class:`ws4py.server._opening.Site`, which has its options too.
        server: Keeps account of it.

    Attributes:
        ws: The websocket; None before the handshake.
    """

    def __init__(
        self,
        handler_cls: Handler | Mapping[str, Handler] | Site,
        server: WebSocketServer | None = None,
    ) -> None:
        self._site = (
            handler_cls if isinstance(handler_cls, Site) else Site(handler_cls, is_async=True)
        )
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()  # before TLS
        self._transport: Any = None
        self._opening: Opening | None = None
        self._ending: LoopTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.ws: WebSocket | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with the opening handshake."""
        if self._server is not None and self._server.is_closing:
            transport.abort()  # type: ignore[attr-defined]
            return
        self._transport = transport
        tell = transport.get_extra_info
        secure = tell("sslcontext") is not None
        self._opening = Opening(
            self._site, tell("socket"), secure, tell("sockname"), tell("peername")
        )
        seconds = self._site.limits.open_timeout
        if seconds is not None:
            self._timer = self._loop.call_at(self._since + seconds, self._transport.abort)
        if self._server is not None:
            self._server._openings.add(self)

    def data_received(self, data: bytes) -> None:
        """Read the request; what comes after one that was refused is thrown away."""
        if self._opening is None:
            if self._ending is not None:
                self._ending.heard = True
            return
        answer = self._opening.feed(data)
        if answer is not None:
            self._answer(answer, self._opening.rest)

    def _answer(self, answer: Answer, rest: bytes) -> None:
        self._opening = None
        self._transport.write(answer.data)
        websocket = self.ws = answer.websocket
        if websocket is None:
            self._ending = LoopTransport(self._transport, self._loop)
            self._ending.half_close()
            return
        self._leave()
        websocket.buf = rest
        group = None if self._server is None else self._server._connected
        Connection(websocket, self._transport, self._loop, group).begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection that has become no websocket."""
        self._leave()

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._server is not None:
            self._server._openings.discard(self)

    def abort(self) -> None:
        """Drop a connection that has not become a websocket yet."""
        self._transport.abort()


class WebSocketServer:
    """What :func:`serve` returns: ``await`` it, or use it in ``async with``, to start it.

    Attributes:
        sockets: The listening sockets.
        websockets: The websockets that are connected.
    """

    def __init__(self, site: Site, backlog: int, options: dict[str, Any]) -> None:
        self._site = site
        self._backlog = backlog
        self._options = {**options, "backlog": min(backlog, _ACCEPTS)}
        self._openings: set[WebSocketProtocol] = set()
        self._connected = WebSockets()
        self._server: asyncio.AbstractServer | None = None
        self._closed: asyncio.Future[None] | None = None

    def __await__(self) -> Generator[Any, None, WebSocketServer]:
        return self._start().__await__()

    async def __aenter__(self) -> WebSocketServer:
        return await self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()
        await self.wait_closed()

    async def _start(self) -> WebSocketServer:
        if self.is_closing:
            raise RuntimeError("this server has been closed: call serve() for another one")
        if self._closed is None:
            loop = asyncio.get_running_loop()
            self._closed = loop.create_future()
            try:
                self._server = await loop.create_server(
                    lambda: WebSocketProtocol(self._site, self), **self._options
                )
                for sock in self.sockets:
                    with fromfd(sock.fileno(), sock.family, sock.type) as twin:
                        twin.setblocking(False)  # PyPy 3.9 has made both of them block.
                        twin.listen(self._backlog)
            except BaseException:
                self._closed = None
                raise
        return self

    @property
    def is_closing(self) -> bool:
        """Whether :meth:`close` has been called."""
        return self._closed is not None and self._closed.done()

    @property
    def sockets(self) -> Sequence[socket]:
        """The listening sockets."""
        return getattr(self._server, "sockets", ())

    @property
    def websockets(self) -> Iterator[WebSocket]:
        """The websockets that are connected now."""
        return iter(self._connected)

    def broadcast(self, message: Any, binary: bool = False, compress: bool = True) -> None:
        """Send ``message`` to each websocket, as ``send`` takes it; wait for none."""
        self._connected.broadcast(message, binary, compress)

    def close_all(self, code: int = 1001, message: str = "Server is shutting down") -> None:
        """Begin the closing handshake of each websocket; do not wait for any."""
        self._connected.close_all(code, message)

    def close(self) -> None:
        """Stop listening, and close each websocket with 1001; from the loop's thread."""
        if self._stop_listening():
            self.close_all()

    def _stop_listening(self) -> bool:
        """Stop listening; say whether this is the first call that had anything to stop."""
        if self._server is None or self._closed is None or self.is_closing:
            return False
        self._server.close()
        for opening in list(self._openings):
            opening.abort()
        self._closed.set_result(None)
        return True

    async def shutdown(self, drain: float | None = None) -> None:
        """Stop listening, close each websocket with 1001, and wait until each has ended.

        Args:
            drain: Seconds in which that is done: the closes are evenly spread over the first half
                of that time, so that not all clients connect again at once; what is left at its
                end is dropped. By default it is :meth:`close` and :meth:`wait_closed`.

        Raises:
            ValueError: ``drain`` is negative, or not a number.
        """
        check_drain(drain)
        if drain is None:
            self.close()
        else:
            self._stop_listening()
            await self._connected.drain(drain)
        await self.wait_closed()

    async def serve_forever(self) -> None:
        """Serve until :meth:`close`; cancelled, close first."""
        if self._closed is None:
            await self
        try:
            await self.wait_closed()
        finally:
            self.close()
            await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the server has been closed and each websocket has ended.

        That takes their ``limits.close_timeout`` at the longest; a callback that is still at work
        then is cancelled.
        """
        if self._closed is None:
            return
        await asyncio.shield(self._closed)
        await self._connected.wait_closed()


def serve(
    handler_cls: Handler | Mapping[str, Handler] = EchoWebSocket,
    host: str | Sequence[str] | None = None,
    port: int | None = None,
    *,
    ssl: SSLContext | None = None,
    protocols: Sequence[str] | None = None,
    extensions: Sequence[str] | None = None,
    origins: Sequence[str | None] | None = None,
    limits: Limits | None = None,
    heartbeat_freq: float | None = 20.0,
    http: Callable[..., Any] | None = None,
    compression: Compression = None,
    sock: socket | None = None,
    backlog: int = 1024,
    reuse_port: bool | None = None,
) -> WebSocketServer:
    """Serve WebSocket connections on the running loop.

    Args:
        handler_cls: The class of the websockets; or a dict of paths and classes, where other paths
            are answered with 404. Callbacks may be coroutine functions in subclasses of
            :class:`ws4py.async_websocket.WebSocket`.
        host: The address to listen on, as ``loop.create_server`` takes it; so are the next one,
            ``sock``, ``backlog`` and ``reuse_port``.
        port: The port to listen on; 0 for any that is free.
        ssl: A server's context, for TLS.
        protocols: As for :class:`ws4py.server.standalone.WebSocketServer`; so are the next three.
        extensions: The extensions that ``handler_cls`` implements.
        origins: The values of Origin that are allowed.
        limits: The :class:`ws4py.limits.Limits`.
        heartbeat_freq: Seconds between two Pings, unless ``handler_cls`` has its own; 0 or None for
            no heartbeat.
        http: A WSGI application that answers requests which ask for no upgrade. It is called in
            the loop's thread, so it has to be quick; its responses are held in memory.
        compression: ``"deflate"``, or a :class:`ws4py.deflate.PerMessageDeflate`, to compress
            messages where a client offers that; None for none.

    Returns:
        A server: ``await`` it, or use it in ``async with``, to start it.

    Raises:
        OSError: When it is started: the address cannot be listened on.
        TypeError: ``handler_cls`` or ``ssl`` is not one, or has a callback that nobody would await.
        ValueError: A port, a path, a subprotocol, an origin, ``compression`` or a server's TLS
            context is not one.
    """
    check_server_context(ssl)
    if isinstance(port, int):  # asyncio takes a name as well, and 65537 for 1.
        check_port(port)
    site = Site(
        handler_cls,
        protocols=protocols,
        extensions=extensions,
        origins=origins,
        limits=limits,
        heartbeat_freq=heartbeat_freq,
        http=http,
        is_async=True,
        compression=compression,
    )
    options: dict[str, Any] = {
        "host": host,
        "port": port,
        "sock": sock,
        "ssl": ssl,
        "reuse_port": reuse_port,
    }
    if ssl is not None:
        options["ssl_handshake_timeout"] = site.limits.open_timeout
    return WebSocketServer(site, backlog, options)
