"""WebSocket: one connection, as an application sees it.

Bytes come in through ``process``, whoever read them; ``once`` and ``run`` read them from a
socket. What is sent goes through :mod:`ws4py.sending`; how it ends is :mod:`ws4py.closing`.

Callbacks run one at a time: ``opened`` first, ``closed`` last and exactly once, whoever ended the
connection. If a thread reads it, that thread calls ``closed``, after the callback it is in.

An exception in a callback is logged, and ends its connection. So does ``SystemExit`` (or
``KeyboardInterrupt``), but where callbacks run in the main thread it ends the program.
"""

from __future__ import annotations

from contextlib import suppress
from inspect import iscoroutinefunction
from logging import getLogger
from time import monotonic
from typing import Any, Callable

from ws4py.closing import Closing, Returned
from ws4py.deflate import PerMessageDeflate
from ws4py.driver import Cancellable
from ws4py.exc import Terminated
from ws4py.heartbeat import Heartbeat
from ws4py.masking import hasten
from ws4py.messaging import CloseControlMessage, PongControlMessage
from ws4py.outgoing import GATHER_TIME
from ws4py.streaming import DataMessage, Stream

__all__ = ["EchoWebSocket", "Heartbeat", "WebSocket"]

logger = getLogger("ws4py")

#: Bytes that are read at once.
DEFAULT_READING_SIZE = 64 * 1024
#: Bytes that are read at once of a long frame.
_LARGEST_READ = 1024 * 1024
#: Seconds that a connection is handled before others have their turn, if more has come together.
_TURN = 0.01


class WebSocket(Closing):
    """A connection after its opening handshake. Subclass it, and override the callbacks.

    Args:
        sock: A connected socket; or anything with ``recv`` and ``sendall``.
        protocols: The subprotocol that was negotiated, in a list.
        extensions: The extensions that were negotiated, as the server's answer has them: a list
            such as ``["permessage-deflate; server_max_window_bits=12"]``.
        environ: The request, as a WSGI environ, on a server.
        heartbeat_freq: Seconds between two Pings; None or 0 for no heartbeat.

    Attributes:
        stream: The :class:`ws4py.streaming.Stream`; None once ``closed`` has returned.
        close_code, close_reason: What ``closed`` was called with; None before.
        close_received: Whether the peer has sent its Close.
        limits: A :class:`ws4py.limits.Limits`; set it on the class or the object.
    """

    # Whether callbacks may be coroutine functions.
    _awaits = False

    heartbeat_freq: float | None = None
    #: Seconds that ``run`` waits for bytes before it gives up; None for as long as it takes.
    sock_timeout: float | None = None
    #: Bytes that are read at once, at most; of a long frame up to 1 MiB, unless this is set to less
    #: than 64 KiB.
    reading_buffer_size = DEFAULT_READING_SIZE

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_at",
        "_came",
        "_discarding",
        "_fd",
        "_heartbeat",
        "_opened",
        "_paused",
        "_reads_only",
        "_turn_ends",
        "_unhandled",
        "_wanted",
        "_watched",
        "extensions",
        "protocols",
    )

    def __init__(
        self,
        sock: Any,
        protocols: list[str] | None = None,
        extensions: list[str] | None = None,
        environ: dict[str, Any] | None = None,
        heartbeat_freq: float | None = None,
    ) -> None:
        self._renew()
        self.protocols = protocols
        self.extensions = extensions
        self.environ = environ
        self.sock = sock
        if heartbeat_freq is not None:
            self.heartbeat_freq = heartbeat_freq

    def _renew(self) -> None:
        """Begin anew, whatever this object has been before."""
        with self._lock:
            self._visitors.wait_for_others(self._driver.get_ident(), self._driver.give_way)
            self._reset()

    def _reset(self) -> None:
        # By this, who has begun something on what was before knows.
        self.stream: Any = Stream(always_mask=self._is_client, expect_masking=not self._is_client)
        Closing.__init__(self)
        self._opened = False
        # What came after a violation is read, and thrown away.
        self._discarding = False
        # There is no room for answers, or the application is occupied, or it is the turn of others:
        # the peer is not read.
        self._paused = False
        self._turn_ends = 0.0
        # Bytes that the parser misses of what it is at, and that the last read has brought.
        self._wanted = self._came = 0
        # From where on _chunk has yet to be parsed.
        self._at = 0
        # The parser stands at something that has not been handled yet.
        self._unhandled = False
        # Kept here by the loop that drives the connection, if there is one.
        self._fd = -1
        self._watched = self._reads_only = False
        self._heartbeat: Cancellable | None = None

    def _agree(self, compression: PerMessageDeflate | None, extensions: list[str]) -> None:
        """Compress messages, if that is among the ``extensions`` that were negotiated."""
        if compression is not None:
            codecs = compression.codecs(extensions, self._is_client)
            self._deflater, self.stream.inflater = codecs

    def opened(self) -> Returned:
        """Called when the opening handshake has succeeded, before any message."""

    def received_message(self, message: DataMessage) -> Returned:
        """Called with each TextMessage or BinaryMessage, once it is complete."""

    def ponged(self, pong: PongControlMessage) -> Returned:
        """Called with each Pong."""

    def unhandled_error(self, error: OSError) -> None:
        """Called with an error of the socket, while it was read; logs it."""
        logger.error("Failed to receive data: %s", error)

    @hasten
    def process(self, data: bytes) -> bool:
        """Handle bytes of the peer.

        Calls ``received_message`` and ``ponged`` with what they complete, answers Pings, and
        takes part in the closing handshake.

        Returns:
            False if the connection is over: ``terminate`` is to be called then.
        """
        if self._over:
            return False
        if not data:
            return self._close_sent and self._goes_on_sending()
        self._alive = True
        return self._discarding or self._parse(data)

    # A call for each part of this would cost a short message a tenth more.
    @hasten
    def _parse(self, data: bytes | None, took: float = 0.0) -> bool:  # noqa: C901
        """Handle all that ``data`` completes, and what has waited until there is room.

        ``took`` is how many seconds this turn has taken already.
        """
        stream = self.stream
        stream.limits = self.limits
        parser = stream.parser
        me = self._busy = self._driver.get_ident()
        self._turn_ends = monotonic() + _TURN - took if took else 0.0
        if self._chunk is not None:
            data, self._chunk = self._chunk[self._at :] + (data or b""), None
        try:
            if took > GATHER_TIME:
                self.flush()
            if self._unhandled:
                wanted, self.buf = 0, self.buf + (data or b"")
            else:
                wanted = parser.send(data)
            while not wanted:
                if self._awaits and self._occupied(stream):
                    self._unhandled = self._paused = True
                    break
                more = stream.unread
                self._gatherer = me if more and self.gather else None
                message, self._unhandled = stream.message, False
                if message is not None and message.completed:
                    if stream.ahead:
                        stream.message = stream.ahead.pop()
                        stream.unread -= 1
                        stream._rests = not stream.unread
                        self._unhandled = True
                    else:
                        stream.message = None
                    if self._failed:
                        pass
                    elif self._awaits:
                        self._call(self.received_message, message)
                    else:
                        try:
                            self.received_message(message)
                        except Exception as error:  # noqa: BLE001 - the application's
                            self._crashed(error)
                else:
                    self._handle(stream)
                if self._discarding or self.close_received or self._ending:
                    break
                if (self._answers and not self._has_room()) or not more:
                    break
                now = monotonic()
                if self._gathered and now - self._gathered_at > GATHER_TIME:
                    self.flush()
                if not self._turn_ends:
                    self._turn_ends = now + _TURN
                elif now > self._turn_ends and not self._let_others():
                    break
                if not self._unhandled:
                    wanted = parser.send(None)
        finally:
            self._gatherer = None
            if self._gathered:
                self.flush()
            self._busy = None
        self._wanted = wanted
        if self._ending or self._close_sent or self._over:
            return not self._is_done()
        return True

    def _occupied(self, stream: Stream) -> bool:
        """Say whether what the stream has is to wait until the application has done other work."""
        return False

    def _has_room(self) -> bool:
        """Say whether the peer may be read; wait for that in a thread of its own."""
        if min(self._answers, self._queued) <= self.limits.high_water:
            return True
        if self._driver.may_wait():
            self._wait_for(self.limits.low_water)
            return True
        self._paused = True
        return False

    def _goes_on_sending(self) -> bool:
        """Say whether our Close has yet to leave; wait for that in a thread of its own.

        A peer may end its direction of TCP behind its Close, or a violation, and still read.
        """
        stream = self.stream
        if self._outgoing and self._driver.may_wait():
            self._wait_for(0)
        if self.stream is not stream:
            return False  # ``closed`` has been called, and may have connected again.
        # Its end would be read again and again.
        self._paused = bool(self._outgoing) and not self._ending
        return self._paused

    def _let_others(self) -> bool:
        """Let others have their turn; return whether to go on here after that."""
        if not self._driver.may_wait():
            self._paused = True
            self._driver.read_on(self)
            return False
        self._driver.give_way()
        self._turn_ends = monotonic() + _TURN
        return not self._ending

    def _is_done(self) -> bool:
        """Say whether there is nothing left to do but to end the connection.

        "In abnormal cases … a client MAY close", but the server closes TCP first
        (:rfc:`6455#section-7.1.1`), once its answer is on its way.
        """
        return self._ending or (self.terminated and not self._is_client and not self._outgoing)

    def _handle(self, stream: Stream) -> None:
        """Take what the stream has, but messages."""
        if stream.pongs:
            pong = stream.pongs.pop()
            if not self._failed:
                self._call(self.ponged, pong)
        elif stream.pings:
            with suppress(Terminated):
                self._send_pong(stream.pings.pop().data)
        elif stream.closing is not None:
            self.close_received = True
            self._close(stream.closing.code, stream.closing.reason, at_once=True)
        elif stream.errors:
            self._refuse(stream.errors[0])

    def _call(self, callback: Callable[..., Returned], *arguments: Any) -> None:
        try:
            callback(*arguments)
        except Exception as error:  # noqa: BLE001 - the application's
            self._crashed(error)

    def _refuse(self, error: CloseControlMessage) -> None:
        """Tell the peer how it broke the protocol, and read what it still sends away.

        To close with unread bytes would reset the connection, and lose our Close.
        """
        self._reason = str(error)
        self._discarding = True
        logger.info("The peer broke the protocol: %s", error)
        self._close(error.code, error.reason, at_once=True)
        if not self._outgoing:
            self._drained()

    def _drained(self) -> None:
        """Go on with what had to wait until all that was queued has been sent."""
        if self._paused:
            with self._lock:
                self._draining = True
                self._progress = monotonic()
            self._driver.drain(self)
        elif self._discarding and not self._is_client and self._transport is not None:
            self._transport.half_close()
        elif self._is_done():
            self._end()

    def _writable(self) -> bool:
        """Send what is queued, and go on with what had to wait for that.

        For a loop, which calls it while ``_draining`` is set and the peer takes bytes.

        Returns:
            False if the connection is over.
        """
        paused, self._paused = self._paused, False
        self._advance()
        self._paused = paused
        return self._read_on()

    def _read_on(self) -> bool:
        """Go on with what the parser has, if it has had to wait and needs to no more.

        What others than callbacks have queued is no reason to wait: the peer may take it only when
        it is read itself.

        Returns:
            False if the connection is over.
        """
        if self._is_done():
            return False
        if not self._paused or self._occupied(self.stream):
            return True
        if min(self._answers, self._queued) > self.limits.low_water:
            return True
        self._paused = False
        self._alive = True  # or might be: nobody has listened
        return self._parse(None) and (not self._pending() or self.once())

    def _pending(self) -> bool:
        """Say whether there are bytes to read that the socket does not announce."""
        transport = self._transport
        return (
            not self._paused and transport is not None and (bool(self.buf) or transport.pending())
        )

    @hasten
    def once(self) -> bool:
        """Read what is there, once, and process it.

        Returns:
            False if the connection is over: ``terminate`` is to be called then.
        """
        while True:
            transport = self._transport
            try:
                if transport is None or self.buf or self._draining:
                    data = self._read()
                else:
                    size = self.reading_buffer_size
                    if self._wanted > size:
                        size = self._size_of_read(size)
                    data = transport.read(size)
            except OSError as error:
                self._read_failed(error)
                return False
            if data is None:
                return True
            self._came = len(data)
            if not self.process(data):
                return False
            transport = self._transport
            if transport is None or not (transport.holds_more or self.buf) or not self._pending():
                return True

    def _size_of_read(self, size: int) -> int:
        """Return how much to read of a long frame: more each time, while the peer fills that.

        What it has only announced is no reason to allocate as much.
        """
        if self._came < size or size < DEFAULT_READING_SIZE:
            return size
        return min(self._wanted, 4 * self._came, _LARGEST_READ)

    def _read_failed(self, error: OSError) -> None:
        """Tell of an error, unless the connection is ending anyhow."""
        if not (self._close_sent or self._ending or self._broken):
            self._call(self.unhandled_error, error)

    def _read(self) -> bytes | None:
        if self.buf:
            data, self.buf = self.buf, b""
            return data
        transport = self._transport
        if transport is None:
            return b""
        meanwhile = self._draining and self._reader is not None
        if not meanwhile or not self._driver.drains_here(self):
            return transport.read(self.reading_buffer_size)
        readable = self._write_meanwhile()
        if not readable or self._transport is not transport:  # It may have ended by that.
            return None
        return transport.read_now(self.reading_buffer_size)

    def run(self) -> None:
        """Call ``opened``, and read until the connection has ended; then call ``closed``.

        Blocks, so it wants a thread of its own.
        """
        self._reader = self._driver.get_ident()
        stream = self.stream
        with self._driver.beating(self):
            try:
                if self._transport is not None:
                    self._transport.block(self.sock_timeout)
                self._open()
                while self.stream is stream and not self._ending and self.once():
                    pass
            finally:
                if self.stream in (stream, None):  # else ``closed`` has connected again
                    self.terminate()
                if self._reader == self._driver.get_ident():
                    self._reader = None

    def _open(self) -> None:
        """Call ``opened``, the first time."""
        if self._opened:
            return
        self._opened = True
        with suppress(OSError, AttributeError):
            # So that it can still be asked for in closed().
            _ = self.local_address, self.peer_address
        self._busy = self._driver.get_ident()
        try:
            self._call(self.opened)
        finally:
            self._busy = None


#: Those of most classes, some at least; to look at a function takes longer than to know it.
_CALLBACKS = {
    name: getattr(WebSocket, name) for name in ("opened", "received_message", "ponged", "closed")
}


def check_callbacks(handler: Any, is_async: bool = False) -> None:
    """See to it that the callbacks of ``handler``, a class, are ones that an engine calls.

    Args:
        is_async: Whether that engine awaits what coroutine functions return.

    Raises:
        TypeError: A callback is a coroutine function, which nobody would await.
    """
    name = getattr(handler, "__name__", handler)
    awaits = getattr(handler, "_awaits", False)
    if awaits and not is_async:
        raise TypeError(f"{name} needs an engine on asyncio; ws4py.websocket.WebSocket does not")
    for callback, ours in () if awaits else _CALLBACKS.items():
        function = getattr(handler, callback, None)
        if function is not ours and iscoroutinefunction(function):
            raise TypeError(
                f"{name}.{callback} is a coroutine function, which nothing here awaits: "
                "define it with def, or derive from ws4py.async_websocket.WebSocket"
            )


class EchoWebSocket(WebSocket):
    """Sends every message back."""

    def received_message(self, message: DataMessage) -> None:
        """Send ``message`` back, as text or binary as it came."""
        self.send(message.data, message.is_binary)
