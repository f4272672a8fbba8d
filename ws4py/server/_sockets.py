"""Where the servers that know nothing of us keep the socket of a request.

There is one function for each way, in ``_WAYS``; what a server has read from the socket behind
the request's head is taken back the same way.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any, Callable

from ws4py.driver import Driver
from ws4py.exc import HandshakeError
from ws4py.transport import KINDS, Transport, send_at_once
from ws4py.websocket import WebSocket

__all__ = [
    "MADE",
    "Connection",
    "DeadEnd",
    "find_connection",
    "offer_socket",
    "read_ahead",
    "take_websocket",
]

Environ = dict[str, Any]

#: The key of a list into which the websocket is put as well: what stands between a server and the
#: application, such as a framework, may hand on a copy of the environ.
MADE = "ws4py.made"

#: What :func:`find_connection` knows, for whoever has something else.
SUPPORTED = (
    "gunicorn, waitress (with channel_request_lookahead=0), werkzeug, cheroot, "
    "uWSGI (with --http-socket), gevent.pywsgi, wsgiref, "
    "and any server that puts the connection's socket into environ['ws4py.socket']"
)


class Connection:
    """The connection of a request whose server goes on after the application has returned.

    Args:
        theirs: The server's socket.
        ahead: Returns the bytes that the server has read behind the request's head; it is called
            once, and may leave the socket non-blocking.
        fd: The descriptor that the server uses, if ``theirs`` was made for us alone.

    Attributes:
        sock: The websocket's socket: the server's own, or after :meth:`duplicate` one that the
            server cannot close.
        driver: What is to drive the websocket, if the server has no threads.
        is_lent: Whether it is the server's own, which closes it.

    Raises:
        AttributeError: It is no socket that we know.
    """

    driver: Driver | None = None

    def __init__(
        self, theirs: Any, ahead: Callable[[], bytes] = bytes, fd: int | None = None
    ) -> None:
        self._theirs = theirs
        self._is_for_us = fd is not None
        self._fd = theirs.fileno() if fd is None else fd
        self.ahead = ahead
        self.is_plain = isinstance(theirs, socket.socket) and not isinstance(theirs, ssl.SSLSocket)
        self.is_gevent = any(
            each.__module__.partition(".")[0] == "gevent" for each in type(theirs).__mro__
        )
        if self.is_gevent:
            self.driver = import_module("ws4py._gevent").GreenletDriver()
        is_known = isinstance(theirs, (socket.socket, *KINDS))
        if not is_known:
            raise AttributeError(f"there is no transport for {theirs!r}")
        self.sock = theirs
        self._timeout = theirs.gettimeout()
        send_at_once(self.sock)

    @property
    def is_lent(self) -> bool:
        """Whether the socket is the server's own."""
        return self.sock is self._theirs

    def duplicate(self) -> None:
        """Have a socket of our own, which is to be handed off; there is none with TLS."""
        self.sock = self._theirs.dup()

    def drop(self) -> None:
        """Leave the connection, as it was, to the server, which is going to answer."""
        if not self.is_lent:
            self.sock.close()
        self._theirs.settimeout(self._timeout)
        self._forget()

    def end(self) -> DeadEnd:
        """Let the server find the connection ended, and write nothing more to the client.

        TLS is dropped with that. The sockets of gevent would not know of a descriptor that becomes
        another: what is written there fails, as it does elsewhere than on POSIX, and where no
        descriptor is left.
        """
        with suppress(OSError, TypeError):  # That of pyOpenSSL takes no argument.
            self._theirs.shutdown(socket.SHUT_RDWR)
        if not self.is_gevent and os.name == "posix":
            with suppress(OSError):
                return self.replace()
        self._forget()
        return DeadEnd()

    def replace(self) -> DeadEnd:
        """Give the server a dead end in the connection's place: its descriptor remains its own."""
        ours, far_end = socket.socketpair()
        with ours:
            far_end.shutdown(socket.SHUT_WR)
            os.dup2(ours.fileno(), self._fd, inheritable=False)
        self._forget()
        return DeadEnd(far_end)

    def _forget(self) -> None:
        if self._is_for_us:
            self._theirs.close()


class DeadEnd:
    """The empty body of a response that nobody reads, and what a server writes it to.

    The server closes it when the request has ended (PEP 3333).
    """

    def __init__(self, far_end: socket.socket | None = None) -> None:
        self._far_end = far_end

    def __iter__(self) -> Iterator[bytes]:
        return iter(())

    def close(self) -> None:
        """Let the server read the end, and what it goes on to write fail."""
        if self._far_end is None:
            return
        with self._far_end as far_end, suppress(OSError):
            # What is left unread would be a reset to the server.
            while far_end.recv(65536, socket.MSG_DONTWAIT):
                pass


def offer_socket(environ: Environ, sock: Any) -> None:
    """Let the application find the socket of its request, and leave a websocket."""
    environ["ws4py.socket"], environ[MADE] = sock, []


def take_websocket(environ: Environ) -> WebSocket | None:
    """Remove what has been offered; return the websocket that the application has left, if any."""
    environ.pop("ws4py.socket", None)
    made = environ.pop(MADE, ())
    left: WebSocket | None = environ.pop("ws4py.websocket", made[-1] if made else None)
    return left


def find_connection(environ: Environ) -> Connection:
    """Return the connection of a request.

    Raises:
        HandshakeError: The server gives no access to it, or has lost what came behind the request.
    """
    # Only HTTP/1 has a connection for each request.
    if environ.get("SERVER_PROTOCOL", "HTTP/1.1").startswith("HTTP/1."):
        for way in _WAYS:
            with suppress(KeyError, AttributeError):
                return way(environ)
    raise HandshakeError(f"this server gives no access to its sockets; supported: {SUPPORTED}", 501)


def _from_gunicorn(environ: Environ) -> Connection:
    unreader = environ["wsgi.input"].reader.unreader
    return Connection(
        environ["gunicorn.socket"], lambda: unreader.read() if unreader.buf.getvalue() else b""
    )


def _from_waitress(environ: Environ) -> Connection:
    channel = environ["waitress.client_disconnected"].__self__
    if channel.adj.channel_request_lookahead:
        raise AttributeError("its main thread reads the socket meanwhile")
    with channel.requests_lock:  # until its main thread has parsed all that it read
        if len(channel.requests) > 1 or channel.total_outbufs_len:
            raise HandshakeError("a request to upgrade cannot be one of several at once", 400)
        # What came behind the request is the beginning of the next one, to waitress.
        following, channel.request = channel.request, None
    return Connection(channel.socket, lambda: following.header_plus if following else b"")


def _from_uwsgi(environ: Environ) -> Connection:
    fd = environ["uwsgi.version"] and import_module("uwsgi").connection_fd()
    return Connection(socket.socket(fileno=os.dup(fd)), fd=fd)


def _from_file(environ: Environ) -> Connection:
    """Werkzeug, wsgiref; cheroot and gevent, which have a file of their own around the file."""
    file: Any = environ["wsgi.input"]
    file = getattr(file, "rfile", file)
    sock = file.raw._sock
    return Connection(sock, partial(read_ahead, file, sock))


_WAYS: Iterable[Callable[[Environ], Connection]] = (
    _from_gunicorn,
    _from_waitress,
    _from_uwsgi,
    _from_file,
)


def read_ahead(file: Any, sock: Any) -> bytes:
    """Return what ``file`` has read from ``sock``, and some of what can be read now."""
    sock.settimeout(0)
    with suppress(OSError):  # TLS may want more bytes before it has any for us.
        ahead: bytes = file.read(len(file.peek(1)))
        return ahead
    return b""


def write_all(transport: Transport, data: bytes, seconds: float | None) -> None:
    """Write ``data``; wait for no more than ``seconds`` seconds without progress.

    Raises:
        OSError: The connection is lost, or the time is over.
    """
    while data:
        data = data[transport.write(data) :]
        if data and not any(transport.wait(False, True, seconds)):
            raise TimeoutError(f"the peer took nothing in {seconds} s")
