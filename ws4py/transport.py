"""Transports: read some, write some, wait. The only place that knows kinds of sockets.

A write never blocks, but on what has ``sendall`` alone; ``wait`` does, and whoever calls it holds
no lock. A read blocks only after ``block``, which is for threads that have nothing else to do.

TLS has one lock around every call into the library, for reads too, since two threads on one
blocking SSL object corrupt its stream; so the socket below is never a blocking one.
"""

from __future__ import annotations

import _socket
import select
import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import repeat
from threading import Lock
from typing import TYPE_CHECKING, Any, Callable, Union

__all__ = ["PlainTransport", "SocketLikeTransport", "TLSTransport", "Transport", "make_transport"]

Data = Union[bytes, bytearray, memoryview]

_DONTWAIT: int = getattr(socket, "MSG_DONTWAIT", 0)
_HAS_SENDMSG = hasattr(socket.socket, "sendmsg")
# Bytes of a payload that are joined with its header, to share a TLS record.
_JOINED = 16 * 1024
#: What is offered to the kernel at once, at most. OpenSSL may have taken a part of what it refuses,
#: and wants no less when that is offered again; so TLS is never offered more than this.
OFFER = 256 * 1024


def wait_for(fd: int, read: bool, write: bool, timeout: float | None) -> tuple[bool, bool]:
    """Wait until the descriptor can be read or written, ``timeout`` seconds at most; say which."""
    if not hasattr(select, "poll"):
        fds = [fd]
        ready = select.select(fds if read else [], fds if write else [], [], timeout)
        return bool(ready[0]), bool(ready[1])
    poll = select.poll()
    poll.register(fd, (select.POLLIN if read else 0) | (select.POLLOUT if write else 0))
    events = poll.poll(None if timeout is None else max(0, timeout * 1000))
    event = events[0][1] if events else 0
    ended = event & ~(select.POLLIN | select.POLLOUT)
    return bool(event & select.POLLIN or ended), bool(event & select.POLLOUT or ended)


class Transport:
    """What the kinds of sockets have in common; the plain one's ways.

    ``sock`` is the socket.
    """

    #: Whether :meth:`close` closes the descriptor; False if that is for somebody else to do.
    closes = True
    #: Whether there may be more to read than the descriptor announces.
    holds_more = False

    __slots__ = ("__dict__", "__weakref__", "_blocks", "_timeout", "is_lent", "room", "sock")

    # What TLS waits for, when a read or a write had to be put off.
    _read_waits_for_write = False
    _write_waits_for_read = False

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        #: Whether a server has the connection still: to end the websocket does nothing to it.
        self.is_lent = False
        #: What a loop reads all its connections into, one after the other. Else each read would
        #: have a block of its own, as large as what it asks for, and what is allocated meanwhile
        #: would divide the memory that has been taken for it: with many connections the heap grows
        #: for hours.
        self.room: memoryview | None = None
        # Whether a read waits, and for how many seconds.
        self._blocks = False
        self._timeout: float | None = None
        self._adopt()

    def _adopt(self) -> None:
        """Take over the socket's blocking mode and time-out."""
        timeout = self.sock.gettimeout()
        if timeout != 0:
            self.block(timeout)

    def fileno(self) -> int:
        """Return the descriptor, -1 if it is closed."""
        fd: int = self.sock.fileno()
        return fd

    def block(self, timeout: float | None = None) -> None:
        """From now on a read waits, for ``timeout`` seconds at most.

        A read that waits in vain raises TimeoutError.
        """
        self._blocks, self._timeout = True, timeout
        self.room = None
        self.sock.setblocking(False)

    def unblock(self) -> None:
        """From now on a read that finds nothing returns None."""
        self._blocks = False
        if self.sock.gettimeout() != 0:
            self.sock.setblocking(False)

    def read(self, size: int) -> bytes | None:
        """Read up to ``size`` bytes; ``b""`` is the end, None that there is nothing now.

        Raises:
            OSError: The connection is lost.
        """
        while True:
            data = self.read_now(size)
            if data is not None or not self._blocks:
                return data
            if not any(self.wait(True, False, self._timeout)):
                raise TimeoutError(f"nothing came in {self._timeout} s")

    def interest(self, reads: bool, writes: bool) -> tuple[bool, bool]:
        """Say what to poll the descriptor for, when the connection reads and when it writes."""
        if not (self._read_waits_for_write or self._write_waits_for_read):
            return reads, writes
        return (
            (reads and not self._read_waits_for_write) or (writes and self._write_waits_for_read),
            (writes and not self._write_waits_for_read) or (reads and self._read_waits_for_write),
        )

    def read_now(self, size: int) -> bytes | None:
        """Read as :meth:`read` does, but do not wait if the descriptor was said to be ready."""
        try:
            return self._receive(size)
        except BlockingIOError:
            return None

    def _receive(self, size: int) -> bytes:
        room = self.room
        if room is None or size > len(room):
            data: bytes = self.sock.recv(size)
            return data
        return room[: self.sock.recv_into(room, size)].tobytes()

    if TYPE_CHECKING:  # what each kind has

        def write(self, data: Data, payload: Data = b"") -> int:
            """Write of ``data`` and then ``payload`` what can be; return how many bytes that were.

            Raises:
                OSError: The connection is lost.
            """

    def pending(self) -> bool:
        """Say whether there is more to read that the descriptor does not announce."""
        return False

    def wait(self, reads: bool, writes: bool, timeout: float | None) -> tuple[bool, bool]:
        """Wait until it is worth while to read or to write; say which the descriptor is ready for.

        Both are False after ``timeout`` seconds.
        """
        return wait_for(self.fileno(), *self.interest(reads, writes), timeout)

    def half_close(self) -> None:
        """Say that nothing more will be written. What is read from now on has no meaning."""
        self._shut(socket.SHUT_WR)

    def shutdown(self) -> None:
        """End both directions, which wakes up whoever waits; the descriptor stays open."""
        self._shut(socket.SHUT_RDWR)

    def _shut(self, how: int) -> None:
        """Shut the socket down, below what TLS there is on it."""
        with suppress(OSError):
            socket.socket.shutdown(self.sock, how)

    def close(self) -> None:
        """Shut down, and close the descriptor whatever comes; but not while it is lent."""
        if not self.is_lent:
            self._close()

    def _close(self) -> None:
        self.shutdown()
        with suppress(OSError):
            if self.closes:
                self.sock.close()


class PlainTransport(Transport):
    """A socket without TLS."""

    _flags = 0

    def read(self, size: int) -> bytes | None:
        room = self.room
        if room is None or size > len(room):
            return super().read(size)
        try:
            return room[: self.sock.recv_into(room, size)].tobytes()
        except BlockingIOError:
            return None

    def block(self, timeout: float | None = None) -> None:
        super().block(timeout)
        if timeout is None and _DONTWAIT and isinstance(self.sock, _socket.socket):
            # The kernel waits, which saves a call for each read. Where gevent has replaced sockets
            # nothing may block there, and its own ones wait in spite of the flag.
            self.sock.setblocking(True)
            self._flags = _DONTWAIT

    def unblock(self) -> None:
        super().unblock()
        self._flags = 0

    def write(self, data: Data, payload: Data = b"") -> int:
        try:
            if not payload:
                sent: int = self.sock.send(data, self._flags)
            elif _HAS_SENDMSG:
                sent = self.sock.sendmsg([data, payload], [], self._flags)
            else:
                sent = self.sock.send(bytes(data) + payload, self._flags)
            return sent
        except BlockingIOError:
            return 0


def is_bare(transport: Any) -> bool:
    """Say whether it has a plain socket of the standard library, whose ``send`` does not wait.

    One of gevent's is none, even where these are called ``socket.socket``.
    """
    if type(transport) is not PlainTransport:
        return False
    sock = transport.sock
    if type(sock) is not socket.socket or not isinstance(sock, _socket.socket):
        return False
    return not sock.gettimeout()


def write_each(transports: Iterable[Any], data: Data) -> Iterator[int]:
    """Return what writes ``data`` to one of these after the other, all of which are bare.

    It yields how many bytes that were. What it raises, BlockingIOError among that, is of the next
    one, and the one after that follows.
    """
    socks = [transport.sock for transport in transports]
    return map(_socket.socket.send, socks, repeat(data), repeat(_DONTWAIT))


class TLSTransport(Transport):
    """A socket of the ssl module, or with the methods and errors of one."""

    holds_more = True

    def __init__(self, sock: Any) -> None:
        self._lock = Lock()
        self._discards = False
        super().__init__(sock)

    def handshake(self) -> bool:
        """Do what can be done of the TLS handshake; return whether it is complete.

        Raises:
            OSError: It failed; ssl.SSLError is one of these.
        """
        self._read_waits_for_write = False
        try:
            self.sock.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLWantWriteError:
            self._read_waits_for_write = True
            return False

    def read_now(self, size: int) -> bytes | None:
        self._read_waits_for_write = False
        try:
            if self._discards:
                return self._read_below(size)
            with self._lock:
                return self._receive(size)
        except (ssl.SSLWantReadError, BlockingIOError):
            return None
        except ssl.SSLWantWriteError:
            self._read_waits_for_write = True
            return None

    def _read_below(self, size: int) -> bytes:
        """Read as the socket does that TLS is on."""
        return socket.socket.recv(self.sock, size)

    def write(self, data: Data, payload: Data = b"") -> int:
        self._write_waits_for_read = False
        if payload:
            return self._write_both(bytes(data), payload)
        try:
            with self._lock:
                sent: int = self.sock.send(data[:OFFER] if len(data) > OFFER else data)
            return sent
        except ssl.SSLWantWriteError:
            return 0
        except ssl.SSLWantReadError:
            self._write_waits_for_read = True
            return 0

    def _write_both(self, header: bytes, payload: Data) -> int:
        view = memoryview(payload)
        head = header + view[:_JOINED]
        sent = self.write(head)
        if sent == len(head) and len(view) > _JOINED:
            sent += self.write(view[_JOINED:])
        return sent

    def pending(self) -> bool:
        with self._lock:
            return not self._discards and self.sock.pending() > 0

    def half_close(self) -> None:
        # SSLSocket.shutdown would drop TLS; unwrap sends close_notify, and then wants to read.
        with suppress(OSError, ValueError), self._lock:
            self.sock.setblocking(False)
            self.sock.unwrap()
        self._discards = True
        super().half_close()

    def _close(self) -> None:
        if not self._discards:
            with suppress(OSError, ValueError), self._lock:
                self.sock.setblocking(False)
                self.sock.unwrap()
        super()._close()


class SocketLikeTransport(Transport):
    """Anything with ``recv`` and ``sendall``; what it does not have is done without."""

    def _adopt(self) -> None:
        pass

    def fileno(self) -> int:
        fd = self.sock.fileno() if hasattr(self.sock, "fileno") else -1
        return fd if isinstance(fd, int) else -1

    def block(self, timeout: float | None = None) -> None:
        if hasattr(self.sock, "settimeout"):
            self.sock.settimeout(timeout)

    def unblock(self) -> None:
        if hasattr(self.sock, "setblocking"):
            self.sock.setblocking(False)

    def write(self, data: Data, payload: Data = b"") -> int:
        self.sock.sendall(bytes(data) + payload)
        return len(data) + len(payload)

    def wait(self, reads: bool, writes: bool, timeout: float | None) -> tuple[bool, bool]:
        return reads, writes

    def half_close(self) -> None:
        with suppress(OSError, AttributeError):
            self.sock.shutdown(socket.SHUT_WR)

    def shutdown(self) -> None:
        with suppress(OSError, AttributeError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def _close(self) -> None:
        self.shutdown()
        with suppress(OSError, AttributeError):
            if self.closes:
                self.sock.close()


#: Kinds of sockets besides the standard library's: whoever knows one adds its transport.
KINDS: dict[type, Callable[[Any], Transport]] = {}


def make_transport(sock: Any) -> Transport:
    """Return the transport for ``sock``."""
    for kind, make in KINDS.items():
        if isinstance(sock, kind):
            return make(sock)
    if isinstance(sock, ssl.SSLSocket):
        return TLSTransport(sock)
    if isinstance(sock, socket.socket):
        return PlainTransport(sock)
    return SocketLikeTransport(sock)


def send_at_once(sock: socket.socket) -> None:
    """Tell the kernel not to wait for more to fill a packet (TCP_NODELAY)."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:  # It is not TCP; suppress() would take as long as the call.
        return


class Endpoint:
    """What a connection is made of: a socket, and the transport that knows its kind."""

    __slots__ = ("_local_address", "_peer_address", "_sock", "_transport")

    def __init__(self) -> None:
        self._sock: Any = None
        self._transport: Transport | None = None
        self._local_address: Any = None
        self._peer_address: Any = None

    @property
    def sock(self) -> Any:
        """The socket; None once the connection has ended."""
        return self._sock

    @sock.setter
    def sock(self, sock: Any) -> None:
        before, transport = self._transport, None if sock is None else make_transport(sock)
        if transport is not None and before is not None:
            transport.is_lent = before.is_lent
        self._sock, self._transport = sock, transport

    @property
    def connection(self) -> Any:
        """The socket."""
        return self._sock

    @property
    def _is_secure(self) -> bool:
        return isinstance(self._transport, TLSTransport)

    def _keep_addresses(self, local: Any, peer: Any) -> None:
        """Take the addresses that the socket has been asked for already."""
        self._local_address, self._peer_address = _address(local), _address(peer)

    def _note_addresses(self) -> None:
        """Ask for the addresses now, so that they are known once the socket has been closed."""
        if self._local_address is None or self._peer_address is None:
            with suppress(OSError, AttributeError):
                _ = self.local_address, self.peer_address

    @property
    def local_address(self) -> Any:
        """(host, port) of this end; the path of a Unix-domain socket."""
        if self._local_address is None:
            self._local_address = _share(_address(self._sock.getsockname()))
        return self._local_address

    @property
    def peer_address(self) -> Any:
        """(host, port) of the other end; the path of a Unix-domain socket."""
        if self._peer_address is None:
            self._peer_address = _address(self._sock.getpeername())
        return self._peer_address


_last_shared: Any = None


def _share(address: Any) -> Any:
    """Return ``address``, or what was equal to it before: all connections of a server have one."""
    global _last_shared
    last = _last_shared
    if address == last:
        return last
    _last_shared = address
    return address


def _address(address: Any) -> Any:
    """Cut flow and scope from the address of an IPv6 socket."""
    return address[:2] if isinstance(address, tuple) else address
