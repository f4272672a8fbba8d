"""Takes the connection of an IOStream of Tornado over, as a transport of asyncio.

A plain socket is taken out of its stream, for a transport of the loop: that takes half the time of
reading and writing through the stream. asyncio takes no TLS over that has begun, so a stream with
TLS stays, and is made to look like a transport.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any, Callable

from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

__all__ = ["StreamTransport", "adopt"]

#: Bytes that are read from TLS at once: those of a record.
SIZE = 16 * 1024
#: Reads from TLS before others have their turn.
ROUNDS = 16

#: Is called with the transport, and with what the client had sent already, before more is read.
Begin = Callable[[Any, bytes], None]


async def adopt(stream: IOStream, begin: Begin) -> None:
    """Wait until what was written has left, and call ``begin``; if the client has left, as well.

    Raises:
        OSError: There is no descriptor any more.
    """
    with suppress(StreamClosedError):
        await stream.write(b"")
    if isinstance(stream, SSLIOStream) or stream.closed():
        _hand_over(begin, StreamTransport(stream), b"")
        return
    reading = stream.read_bytes(stream.max_buffer_size, partial=True)
    rest: bytes = reading.result() if reading.done() and reading.exception() is None else b""
    if stream.closed():
        _hand_over(begin, StreamTransport(stream), rest)
        return
    # Not a duplicate: there may be no descriptor left.
    stream.io_loop.remove_handler(stream.fileno())
    sock = socket.socket(fileno=stream.socket.detach())
    stream.close()
    loop: Any = asyncio.get_running_loop()
    try:
        await loop.connect_accepted_socket(lambda: _Adopted(begin, rest), sock)
    except BaseException:
        sock.close()
        raise


class _Adopted(asyncio.Protocol):
    """Calls ``begin`` with a transport of the loop."""

    def __init__(self, begin: Begin, rest: bytes) -> None:
        self._begin = begin
        self._rest = rest

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        _hand_over(self._begin, transport, self._rest)


def _hand_over(begin: Begin, transport: Any, rest: bytes) -> None:
    """Call ``begin``; the connection ends if that fails."""
    try:
        begin(transport, rest)
    except BaseException:
        transport.abort()
        raise


class StreamTransport:
    """A stream, as :class:`ws4py._asyncio.LoopTransport` uses the transports of a loop.

    Args:
        stream: One with TLS; or any that is closed.
    """

    def __init__(self, stream: IOStream) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray(SIZE)
        self._received = memoryview(self._buffer)
        self._protocol: Any = None
        self._reading: asyncio.Future[int] | None = None
        self._due = self._paused = self._closing = False
        if not stream.closed():
            stream.set_nodelay(True)

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        """Read for ``protocol``, from the loop's next turn on."""
        self._protocol = protocol
        if self._stream.closed():
            self._loop.call_soon(self._lost)
        else:
            self._stream.set_close_callback(self._lost)
            self.resume_reading()

    def get_extra_info(self, name: str) -> Any:
        """Return the socket, which is all that is known."""
        return self._stream.socket

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        """Do nothing: whatever has to be buffered pauses the protocol."""

    # Reading.

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        if not self._due:
            self._due = True
            self._loop.call_soon(self._read)

    def _read(self) -> None:
        self._due = False
        for _ in range(ROUNDS):
            if self._paused or self._reading is not None or self.is_closing():
                return
            with suppress(OSError):  # The stream tells of it when it has closed.
                self._reading = self._stream.read_into(self._buffer, partial=True)
                if not self._reading.done():
                    self._reading.add_done_callback(self._arrived)
                    return
            self._take()
        if not self._paused:
            self.resume_reading()

    def _arrived(self, _: object) -> None:
        self._take()
        self._read()

    def _take(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None and reading.exception() is None and not self._closing:
            self._protocol.data_received(bytes(self._received[: reading.result()]))

    # Writing.

    def write(self, data: bytes | memoryview) -> None:
        with suppress(OSError):  # as above
            written = self._stream.write(bytes(data))
            if self._stream.writing():
                self._protocol.pause_writing()
                written.add_done_callback(self._written)

    def _written(self, written: asyncio.Future[None]) -> None:
        if written.exception() is not None:
            return
        if self._closing:
            self._end()
        else:
            self._protocol.resume_writing()

    def can_write_eof(self) -> bool:
        """Say that TLS does not end in one direction alone."""
        return False

    # The end.

    def is_closing(self) -> bool:
        return self._closing or self._stream.closed()

    def close(self) -> None:
        """Close once what has been written has left."""
        self._closing = True
        if not self._stream.writing():
            self._end()

    def _end(self) -> None:
        if not self._stream.closed():
            with suppress(OSError, ValueError):
                self._stream.socket.unwrap()  # sends the end of TLS, and does not block
        self.abort()

    def abort(self) -> None:
        """Close now."""
        self._closing = True
        self._stream.close()

    def _lost(self) -> None:
        rest = b"" if self._closing else self._read_rest()
        if rest:
            self._protocol.data_received(rest)
        self._protocol.connection_lost(self._stream.error)

    def _read_rest(self) -> bytes:
        """Return what the stream has read ahead, while this was paused, and still has."""
        with suppress(OSError):  # There is nothing.
            reading = self._stream.read_bytes(self._stream.max_buffer_size, partial=True)
            rest: bytes = reading.result()
            return rest
        return b""
