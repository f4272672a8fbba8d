"""Our own server: one thread accepts, does TLS and the handshakes, and drives the connections.

Each connection that is opening is a generator, :meth:`_Opening._steps`, which the loop resumes
whenever its socket is ready.

What many connections do in one turn of the loop is done step by step for all of them: requests are
read, then all are answered, and then the websockets begin. A client on this host that one answer
wakes, such as a proxy, is awake for the others; to be woken for each would cost more than all the
rest of a handshake does in the kernel.
"""

from __future__ import annotations

import errno
import socket
import ssl
import sys
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from logging import getLogger
from pathlib import Path
from threading import Event
from typing import Any, Callable

from ws4py._tls import check_server_context
from ws4py.deflate import Compression
from ws4py.draining import check_drain
from ws4py.limits import Limits
from ws4py.loop import Timer
from ws4py.manager import WebSocketManager
from ws4py.receiving import DEFAULT_READING_SIZE
from ws4py.server._accept import EXHAUSTED, REST
from ws4py.server._opening import Handler, Opening, Site, check_port
from ws4py.transport import TLSTransport, make_transport, send_at_once
from ws4py.websocket import EchoWebSocket, WebSocket

__all__ = ["WebSocketServer"]

logger = getLogger("ws4py")

#: Yields whether it waits to read, and whether it waits to write; neither: for the turn's end.
Steps = Generator[tuple[bool, bool], None, None]

#: What is yielded in order to go on at the end of this turn of the loop, once others are as far.
_TURN = (False, False)

#: Connections that the kernel keeps while they wait to be accepted.
BACKLOG = 1024

#: Connections that are accepted before others have their turn.
_ACCEPTS = 64

#: Seconds between two looks whether somebody else has stopped the manager.
_LOOKS_UP = 1.0

#: Whether a socket that is accepted has the TCP_NODELAY of the one that listens.
_HANDS_ON = sys.platform == "linux"


class WebSocketServer:
    """Serves WebSocket connections on ``address``.

    Args:
        address: (host, port) to listen on, "" for all of IPv4; or the path of a Unix-domain socket.
        handler_cls: The class of the websockets; or a dict of paths and classes, where other paths
            are answered with 404.
        protocols: The subprotocols that are spoken; with none, what a client asks for is ignored.
        extensions: The extensions that ``handler_cls`` implements.
        origins: The values of Origin that are allowed; None among them allows a request without
            one. With none, all are.
        ssl_context: A server's context, for TLS.
        limits: The :class:`ws4py.limits.Limits` of the server and its websockets; by default those
            of ``Limits()`` for the opening handshake, and of its class for each websocket.
        heartbeat_freq: Seconds between two Pings, unless ``handler_cls`` has its own; 0 or None for
            no heartbeat.
        http: A WSGI application that answers requests which ask for no upgrade. It is called in
            the server's thread, so it has to be quick; its responses are held in memory.
        compression: ``"deflate"``, or a :class:`ws4py.deflate.PerMessageDeflate`, to compress
            messages where a client offers that; None for none.
        manager: Drives the connections. One that is given is left alone at the end; it has to be
            started by whoever made it.

    Attributes:
        server_address: What the socket is bound to.
        socket: The listening socket.
        manager: The :class:`ws4py.manager.WebSocketManager`.

    Raises:
        OSError: The address cannot be listened on.
        TypeError: ``address``, ``handler_cls`` or ``ssl_context`` is not one.
        ValueError: A port, a path, a subprotocol, an origin, ``compression`` or a server's TLS
            context is not one.
        RuntimeError: ``manager`` has been stopped.
    """

    def __init__(
        self,
        address: tuple[str, int] | str,
        handler_cls: Handler | Mapping[str, Handler] = EchoWebSocket,
        *,
        protocols: Sequence[str] | None = None,
        extensions: Sequence[str] | None = None,
        origins: Sequence[str | None] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        heartbeat_freq: float | None = 20.0,
        http: Callable[..., Any] | None = None,
        compression: Compression = None,
        manager: WebSocketManager | None = None,
    ) -> None:
        check_server_context(ssl_context)
        if manager is not None and manager._stopped:
            raise RuntimeError("the manager that was given has been stopped")
        self.ssl_context = ssl_context
        self._site = Site(
            handler_cls,
            protocols=protocols,
            extensions=extensions,
            origins=origins,
            limits=limits,
            heartbeat_freq=heartbeat_freq,
            http=http,
            compression=compression,
        )
        self._openings: set[_Opening] = set()
        # Those that go on at the end of this turn, which is seen to.
        self._together: deque[_Opening] = deque()
        self._goes_on = False
        self._owns_manager = manager is None
        self._ended = Event()
        self._closed = False
        self.socket = _bind(address)
        self.server_address = self.socket.getsockname()
        self._is_anywhere = self.server_address[0] in ("0.0.0.0", "::")
        self.manager = WebSocketManager() if manager is None else manager
        self._resume_accepting()

    def __enter__(self) -> WebSocketServer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.server_close()

    def fileno(self) -> int:
        """Return the descriptor of the listening socket."""
        return self.socket.fileno()

    def serve_forever(self) -> None:
        """Serve until :meth:`shutdown`; in this thread, unless a manager was given."""
        try:
            if self._owns_manager:
                self.manager.run()
            else:
                self._ended.wait()
        finally:
            self._ended.set()

    def shutdown(self, drain: float | None = None) -> None:
        """Stop accepting, and let :meth:`serve_forever` return.

        The server's own manager closes its connections with 1001 first; one that was given goes
        on with them. Waits for that, unless this is called in the thread that serves.

        Args:
            drain: Seconds in which all connections end. They are closed evenly spread over the
                first half of that time, so that not all clients connect again at once; those that
                are left at its end are dropped. Meanwhile new connections are refused by the
                system. By default all are closed at once, and each has its
                ``limits.close_timeout``.

        Raises:
            ValueError: ``drain`` is negative, or not a number; or the manager was given, which has
                a ``stop(drain)`` of its own.
        """
        check_drain(drain)
        if drain is not None and not self._owns_manager:
            raise ValueError(f"drain={drain!r} is for stop() of the manager that was given")
        stop = partial(self._stop, drain)
        loop = self.manager.loop
        if not loop.running or loop.is_current:
            stop()
            return
        loop.call_soon(stop)
        if self._owns_manager and self.manager.is_alive():
            self.manager.join()
        else:
            while not self._ended.wait(_LOOKS_UP) and loop.running:
                pass
            stop()  # unless the loop, which may have ended just before it was asked, has done it

    def server_close(self) -> None:
        """Shut down, and close the listening socket.

        Harmless before :meth:`serve_forever`, and when it is called again.
        """
        self.shutdown()
        self._close_socket()

    def _close_socket(self) -> None:
        if self.socket.fileno() >= 0 and isinstance(self.server_address, str):
            Path(self.server_address).unlink(missing_ok=True)
        self.socket.close()

    def _stop(self, drain: float | None) -> None:
        if self._closed:
            return
        self._closed = True
        if self.socket.fileno() >= 0:
            self.manager.loop.unwatch(self.socket.fileno())
        end = partial(self._end, drain)
        if self.manager.loop.running:
            # Behind the websockets that have been answered: none is closed without a Close.
            self.manager.loop.call_soon(end)
        else:
            end()

    def _end(self, drain: float | None) -> None:
        for opening in list(self._openings):
            opening.end()
        if drain is not None:
            self._close_socket()
            self.manager.stop(drain)
        elif self._owns_manager:
            self.manager.close_all()
            self.manager.stop()
        else:
            self._ended.set()

    def _resume_accepting(self) -> None:
        if not self._closed:
            self.manager.loop.watch(self.socket.fileno(), self._accept)

    def _accept(self, _readable: bool, _writable: bool) -> None:
        for _ in range(_ACCEPTS):
            try:
                sock, peer = self.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    logger.error("No connection can be accepted now: %s", error)
                    self.manager.loop.unwatch(self.socket.fileno())
                    self.manager.loop.call_later(REST, self._resume_accepting)
                    return
                continue
            _Opening(self, sock, peer).advance()

    def _find_local_address(self, sock: socket.socket) -> Any:
        return sock.getsockname() if self._is_anywhere else self.server_address

    def _go_on_together(self, opening: _Opening) -> None:
        self._together.append(opening)
        if not self._goes_on:
            self._goes_on = True
            self.manager.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        together, call = self._together, self.manager.loop.call
        try:
            while together:
                call(together.popleft().advance)
        finally:
            self._goes_on = False


class _Opening:
    """A connection that has been accepted and is not a websocket yet."""

    def __init__(self, server: WebSocketServer, sock: socket.socket, peer: Any) -> None:
        self._server = server
        self._loop = server.manager.loop
        self._peer = peer
        sock.setblocking(False)
        if not _HANDS_ON:
            send_at_once(sock)
        self._transport = make_transport(sock)
        self._fd = sock.fileno()
        self._timer: Timer | None = None
        self._watched = self._over = False
        self._websocket: WebSocket | None = None
        self._run = self._steps(sock)
        server._openings.add(self)

    def advance(self, _readable: bool = False, _writable: bool = False) -> None:
        """Go on; the loop calls this again when what there is to wait for has come."""
        if self._over:
            return
        wanted = None
        try:
            wanted = next(self._run, None)
        except OSError as error:
            logger.info("An opening handshake broke off: %s", error)
        finally:
            if wanted is None:
                self.end()
        if wanted is _TURN:
            self._server._go_on_together(self)
        elif wanted is not None:
            self._wait(*wanted)

    def _wait(self, reads: bool, writes: bool) -> None:
        """Let the loop watch the socket; most openings need that for no step at all."""
        if self._watched:
            self._loop.want(self._fd, reads, writes)
            return
        self._watched = True
        seconds = self._server._site.limits.open_timeout
        if seconds is not None:
            self._timer = self._loop.call_later(seconds, self.end)
        self._loop.watch(self._fd, self.advance, reads, writes)

    def end(self) -> None:
        """Drop the connection, unless it has become a websocket."""
        if not self._over:
            self._release()
            self._loop.unwatch(self._fd)
            self._drop()

    def _release(self) -> None:
        self._over = True
        self._server._openings.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def _steps(self, sock: socket.socket) -> Steps:
        """Do the whole opening; yield whenever there is something to wait for."""
        context = self._server.ssl_context
        if context is not None:
            sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            self._transport = tls = TLSTransport(sock)
            while not tls.handshake():
                yield tls.interest(True, False)
        local = self._server._find_local_address(sock)
        opening = Opening(self._server._site, sock, context is not None, local, self._peer)
        answer = None
        while answer is None:
            data = self._read()
            if data is None:
                yield self._transport.interest(True, False)
            elif data:
                answer = opening.feed(data)
            else:
                return
        self._websocket = answer.websocket
        yield _TURN
        if self._server._closed:
            return
        unsent = answer.data
        while unsent := unsent[self._transport.write(unsent) :]:
            yield self._transport.interest(False, True)
        if answer.websocket is None:
            yield from self._linger()
        else:
            yield _TURN
            answer.websocket.buf = opening.rest
            self._hand_over(answer.websocket)

    def _hand_over(self, websocket: WebSocket) -> None:
        self._release()
        try:
            self._loop.hand_on(self._fd, partial(self._server.manager.add, websocket))
        except RuntimeError as error:
            logger.info("A connection ended before it was opened: %s", error)
            self._drop()
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        """Close the connection, and end a websocket that may not have it yet."""
        if self._websocket is not None:
            self._websocket.terminate()
        self._transport.close()

    def _read(self) -> bytes | None:
        self._transport.room = self._server.manager.room
        return self._transport.read(DEFAULT_READING_SIZE)

    def _linger(self) -> Steps:
        """Read what the client still sends away, so that nothing resets our answer."""
        self._transport.half_close()
        while self._read() != b"":
            yield self._transport.interest(True, False)  # Others have their turn.


class _Listener(socket.socket):
    """A socket that knows its family and type, for which accept() asks each time.

    To find both out takes a third of the time that a connection takes to be accepted.
    """

    __slots__ = ("family", "type")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.family, self.type = super().family, super().type  # type: ignore[misc]


def _bind_unix(path: str) -> socket.socket:
    """Listen on a Unix-domain socket, in place of one that a process has left behind."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_left_behind(path):
            Path(path).unlink(missing_ok=True)
        sock.bind(path)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _is_left_behind(path: str) -> bool:
    """Say whether a path is that of a socket which nobody listens on any more."""
    if not Path(path).is_socket():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        return sock.connect_ex(path) == errno.ECONNREFUSED


def _is_host_and_port(address: Any) -> bool:
    if not isinstance(address, tuple) or len(address) < 2:
        return False
    return isinstance(address[0], str) and isinstance(address[1], int)


def _bind(address: Any) -> socket.socket:
    if isinstance(address, str):
        sock = _bind_unix(address)
    elif not _is_host_and_port(address):
        raise TypeError(f"{address!r} is neither (host, port), str and int, nor a socket's path")
    else:
        check_port(address[1])
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        sock = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    if type(sock) is _Listener.__base__:  # gevent may have replaced it since this was imported
        sock = _Listener(sock.family, sock.type, sock.proto, fileno=sock.detach())
    sock.setblocking(False)
    send_at_once(sock)
    return sock
