"""Light clients: raw sockets, one thread, one selector.

They are strict about what they are sent, and cost so little that it is the server that is measured.
"""

from __future__ import annotations

import selectors
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from heapq import heappop, heappush
from time import perf_counter

from test.helpers import HANDSHAKE, frame

HOST = "127.0.0.1"
#: The answer to the key in HANDSHAKE, which is that of RFC 6455, section 1.3.
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
CLOSING = frame(CLOSE, (1000).to_bytes(2, "big"))
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
READ_SIZE = 256 * 1024


class Stalled(Exception):
    """What was waited for did not come in time."""


class Net:
    """Drives peers and timers in one thread.

    ``faults`` says what a server did wrong; ``count`` is the number of open sockets.
    """

    def __init__(self, port: int) -> None:
        self.address = (HOST, port)
        self.faults: list[str] = []
        self.pings = 0
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._number = 0

    @property
    def count(self) -> int:
        return len(self._selector.get_map())

    def call_at(self, due: float, callback: Callable[[], object]) -> None:
        """Call ``callback`` at ``due``, a time of ``perf_counter``."""
        self._number += 1
        heappush(self._timers, (due, self._number, callback))

    def run(self, done: Callable[[], bool], seconds: float, what: str) -> None:
        """Go on until ``done()``.

        Raises:
            Stalled: It takes longer than ``seconds``.
        """
        deadline = perf_counter() + seconds
        while not done():
            if perf_counter() > deadline:
                raise Stalled(f"{what} after {seconds:g} s; {self.faults[:3]}")
            self._turn()

    def _turn(self) -> None:
        wait = self._timers[0][0] - perf_counter() if self._timers else 1
        for key, mask in self._selector.select(max(0, min(wait, 1))):
            key.data.ready(mask)
        now = perf_counter()
        while self._timers and self._timers[0][0] <= now:
            heappop(self._timers)[2]()

    def register(self, peer: Peer) -> None:
        self._selector.register(peer.sock, READ | WRITE, peer)

    def want(self, peer: Peer, mask: int) -> None:
        self._selector.modify(peer.sock, mask, peer)

    def forget(self, peer: Peer) -> None:
        self._selector.unregister(peer.sock)

    def close(self) -> None:
        """Break all connections off."""
        for key in list(self._selector.get_map().values()):
            key.data.drop()
        self._selector.close()


class Peer:
    """A client's connection; a subclass says what for.

    Args:
        net: What drives it.
        request: What it sends first.
    """

    __slots__ = ("_head", "_in", "_out", "close_code", "leaving", "net", "sock")

    def __init__(self, net: Net, request: bytes = HANDSHAKE) -> None:
        self.net = net
        self.leaving = False
        self.close_code: int | None = None
        self._head = True  # the server's answer has not been read yet
        self._in = bytearray()
        self._out = bytearray(request)
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect_ex(net.address)
        net.register(self)

    def opened(self) -> None:
        """Called when the server has accepted the handshake."""

    def received(self, opcode: int, payload: bytes) -> None:
        """Called with each message."""

    def ended(self) -> None:
        """Called when the server has ended the connection."""

    def ready(self, mask: int) -> None:
        """Write and read, as ``mask`` of the selector says."""
        if self.sock.fileno() < 0:  # It has been left meanwhile, in the same turn.
            return
        try:
            if mask & WRITE:
                self._flush()
            if mask & READ:
                self._read()
        except OSError as error:
            self._end(str(error))

    def send(self, data: bytes) -> None:
        """Send what the kernel takes, and the rest later."""
        self._out += data
        if len(self._out) == len(data) and self.sock.fileno() >= 0:
            try:
                self._flush()
            except OSError as error:
                self._end(str(error))

    def close(self) -> None:
        """Begin the closing handshake."""
        self.leaving = True
        self.send(CLOSING)

    def leave(self) -> None:
        """End the connection, without a Close; one that has ended is left alone."""
        if self.sock.fileno() >= 0:
            self.net.forget(self)
            self.sock.close()

    def drop(self) -> None:
        """Break the connection off: the server gets a reset."""
        if self.sock.fileno() >= 0:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.leave()

    def _flush(self) -> None:
        with suppress(BlockingIOError):
            del self._out[: self.sock.send(self._out)]
        self.net.want(self, READ | WRITE if self._out else READ)

    def _read(self) -> None:
        try:
            data = self.sock.recv(READ_SIZE)
        except BlockingIOError:
            return
        if not data:
            self._end("the server ended the connection")
            return
        self._in += data
        if self._head:
            self._read_head()
        if not self._head:
            self._read_frames()

    def _end(self, why: str) -> None:
        if not self.leaving or self.close_code != 1000:
            self.fault(f"{why}, with the code {self.close_code}")
        self.leave()
        self.ended()

    def fault(self, what: str) -> None:
        """Keep what the server did wrong."""
        self.net.faults.append(f"{type(self).__name__}: {what}")

    def _read_head(self) -> None:
        head, blank, rest = self._in.partition(b"\r\n\r\n")
        if not blank:
            return
        if not head.startswith(b"HTTP/1.1 101 ") or ACCEPT not in head:
            self.fault(f"it was refused with {bytes(head[:60])!r}")
            self.leave()
            return
        self._head, self._in = False, rest
        self.opened()

    def _read_frames(self) -> None:
        data, position = self._in, 0
        while len(data) >= position + 2:
            first, length = data[position], data[position + 1]
            if length > 127:
                self.fault("a frame of the server is masked")
                self.leave()
                return
            start = position + 2
            if length >= 126:
                start += 2 if length == 126 else 8
                length = int.from_bytes(data[position + 2 : start], "big")
            if len(data) < start + length:
                break
            position = start + length
            self._take(first, bytes(data[start:position]))
        del data[:position]

    def _take(self, first: int, payload: bytes) -> None:
        if first in (0x80 | TEXT, 0x80 | BINARY):
            self.received(first & 0x0F, payload)
        elif first == 0x80 | PING:
            self.net.pings += 1
            if not self.leaving:
                self.send(frame(PONG, payload))
        elif first == 0x80 | CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big")
        else:
            self.fault(f"a frame begins with {first:#x}")
