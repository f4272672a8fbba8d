"""WebSocket: one connection, as an application sees it.

Bytes come in through ``process``, whoever read them; ``once`` and ``run`` read them from a
socket. What is sent goes through :mod:`ws4py.sending`. The state of the closing handshake is three
facts: ``close_sent``, ``close_received``, and that all is over.

Callbacks run one at a time: ``opened`` first, ``closed`` last and exactly once, whoever ended the
connection. If a thread reads it, that thread calls ``closed``, after the callback it is in.
"""

from __future__ import annotations

from contextlib import suppress
from logging import getLogger
from typing import Any, Callable

from ws4py.driver import Cancellable
from ws4py.exc import Terminated
from ws4py.heartbeat import Heartbeat
from ws4py.messaging import (
    ABNORMAL,
    CloseControlMessage,
    Payload,
    PongControlMessage,
)
from ws4py.outgoing import Outgoing
from ws4py.sending import Sender
from ws4py.streaming import DataMessage, Stream, is_valid_closing_code
from ws4py.transport import Endpoint

__all__ = ["EchoWebSocket", "Heartbeat", "WebSocket"]

logger = getLogger("ws4py")

#: Bytes that are read at once.
DEFAULT_READING_SIZE = 64 * 1024


class WebSocket(Sender):
    """A connection after its opening handshake. Subclass it, and override the callbacks.

    Args:
        sock: A connected socket; or anything with ``recv`` and ``sendall``.
        protocols: The subprotocol that was negotiated, in a list.
        extensions: The extensions that were negotiated.
        environ: The request, as a WSGI environ, on a server.
        heartbeat_freq: Seconds between two Pings; None or 0 for no heartbeat.

    Attributes:
        stream: The :class:`ws4py.streaming.Stream`; None once ``closed`` has returned.
        close_code, close_reason: What ``closed`` was called with; None before.
        close_received: Whether the peer has sent its Close.
        limits: A :class:`ws4py.limits.Limits`; set it on the class or the object.
    """

    heartbeat_freq: float | None = None
    #: Seconds that ``run`` waits for bytes before it gives up; None for as long as it takes.
    sock_timeout: float | None = None
    #: Bytes that are read at once, at most.
    reading_buffer_size = DEFAULT_READING_SIZE

    close_received = False
    close_code: int | None = None
    close_reason: str | None = None
    #: Bytes that came with the opening handshake and have not been processed yet.
    buf = b""

    _is_client = False
    # Whether the opening handshake is over.
    _connected = True
    _opened = False
    # What came after a violation is read, and thrown away.
    _discarding = False
    # The application has failed: it gets no more messages.
    _failed = False
    # There is no room for answers: the peer is not read.
    _paused = False
    _lost = False
    # What is known of the end, if no Close has come.
    _reason: str | None = None
    _deadline: Cancellable | None = None
    # Kept here by the loop that drives the connection, if there is one.
    _fd = -1
    _watched = False
    _reads_only = False
    _drain_timed = False
    _heartbeat: Cancellable | None = None

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
        for name in _STATE if "_lock" in vars(self) else ():
            vars(self).pop(name, None)
        Sender.__init__(self)
        self.stream: Any = Stream(always_mask=self._is_client, expect_masking=not self._is_client)

    @property
    def _masks(self) -> bool:
        return self.stream is not None and self.stream.always_mask

    @property
    def close_sent(self) -> bool:
        """Whether our Close has been sent, or is queued behind what was sent before it."""
        return self._close_sent

    @property
    def terminated(self) -> bool:
        """Whether the connection has ended, or both sides have said that they close it."""
        return self._over or (self._close_sent and self.close_received)

    @property
    def client_terminated(self) -> bool:
        """Whether the client has sent its Close, or the connection has ended."""
        return self._over or (self._close_sent if self._is_client else self.close_received)

    @client_terminated.setter
    def client_terminated(self, value: bool) -> None:
        self._set_terminated(self._is_client, value)

    @property
    def server_terminated(self) -> bool:
        """Whether the server has sent its Close, or the connection has ended."""
        return self._over or (self.close_received if self._is_client else self._close_sent)

    @server_terminated.setter
    def server_terminated(self, value: bool) -> None:
        self._set_terminated(not self._is_client, value)

    def _set_terminated(self, ours: bool, value: bool) -> None:
        if ours:
            self._close_sent = value
        else:
            self.close_received = value

    def opened(self) -> None:
        """Called when the opening handshake has succeeded, before any message."""

    def received_message(self, message: DataMessage) -> None:
        """Called with each TextMessage or BinaryMessage, once it is complete."""

    def ponged(self, pong: PongControlMessage) -> None:
        """Called with each Pong."""

    def closed(self, code: int, reason: str | None = None) -> None:
        """Called when the connection has ended.

        Args:
            code: That of the peer's Close frame, 1005 if that was empty, 1006 if none came.
            reason: The one the peer gave; if none came, what is known of the end.
        """

    def unhandled_error(self, error: OSError) -> None:
        """Called with an error of the socket, while it was read; logs it."""
        logger.error("Failed to receive data: %s", error)

    def close(self, code: int = 1000, reason: Payload = "") -> None:
        """Begin the closing handshake (:rfc:`6455#section-7.1.2`).

        The Close goes behind what has been sent. The peer then has ``limits.close_timeout``
        seconds to end the connection. Calls after the first one do nothing.

        Args:
            code: 1000 to 1003, 1007 to 1014, or 3000 to 4999; 1005 for an empty Close.
            reason: For the peer; cut to 123 bytes.

        Raises:
            ValueError: No Close frame can have that code.
        """
        self._close(code, reason)

    def _close(self, code: int | None, reason: Payload | None, at_once: bool = False) -> None:
        if not self._connected and not self._over:
            raise RuntimeError("a client cannot be closed before it is connected")
        message = CloseControlMessage(code, reason)
        if message.data and not is_valid_closing_code(code or 0):
            raise ValueError(f"{code} is not a code that a Close frame can have")
        if not self._write_close(message.single(self._masks), at_once):
            logger.debug("A websocket that is closing or has ended was closed again")
            return
        seconds = self.limits.close_timeout
        if seconds is not None:
            self._deadline = self._driver.call_later(seconds, self._expire)
            if self._over:  # The peer was faster.
                self._deadline.cancel()
        self._settle()

    def _expire(self) -> None:
        self._lose(f"the peer did not end the connection in {self.limits.close_timeout} s")

    def _lose(self, why: str) -> None:
        with self._lock:
            if self._over or self._lost:
                return
            self._lost = True
            self._drop_queue()
        self._reason = self._reason or why
        logger.info("A connection is given up: %s", why)
        if self._transport is not None:
            self._transport.shutdown()
        self._end()

    def _give_up(self, why: str) -> None:
        """Tell a peer that seems dead, and wait neither for it to read that nor to answer."""
        self._reason = why
        self._write_close(CloseControlMessage(1011, why).single(self._masks), at_once=True)
        self._lose(why)

    def _crashed(self, error: BaseException) -> None:
        if isinstance(error, Terminated) and (self.terminated or self._broken):
            logger.debug("A callback sent on a connection that had ended")
            return
        logger.error("An exception in the application closes its websocket", exc_info=error)
        self._failed = True
        self._close(1011, "Internal error", at_once=True)

    def close_connection(self) -> None:
        """Shut the socket down and close it; errors do not matter.

        If another thread reads it, that one closes it.
        """
        self._sock = None
        transport = self._transport
        if transport is None:
            return
        if self._driver.may_close(self):
            self._transport = None
            self._driver.release(self)
            transport.close()
        else:
            transport.shutdown()

    def terminate(self) -> None:
        """End the connection now, without a closing handshake, and call ``closed``.

        If another thread reads the connection, that thread does so, and this one does not wait.
        """
        self.flush()
        self._end()

    def _end(self) -> None:
        with self._lock:
            self._ending = True
            self._wake()
        if self._busy != self._driver.get_ident():
            self._driver.finish(self)

    def _finish(self) -> None:
        """Call ``closed`` and let go of everything; what ``Driver.finish`` calls."""
        with self._lock:
            if self._over:
                return
            self._over = True
            self._drop_queue()
        if self._deadline is not None:
            self._deadline.cancel()
        closing = self.stream.closing
        self.close_code = ABNORMAL if closing is None else closing.code
        self.close_reason = self._reason or "Going away" if closing is None else str(closing)
        stream, transport = self.stream, self._transport
        self._driver.release(self)
        try:
            self.closed(self.close_code, self.close_reason)
        except Exception:
            logger.exception("An exception in closed()")
        finally:
            if transport is not None:
                transport.close()
            stream._cleanup()
            if self.stream is stream:  # else closed() has connected again
                self._sock = self._transport = self.stream = self.environ = None
                self.buf = b""

    def process(self, data: bytes) -> bool:
        """Handle bytes of the peer.

        Calls ``received_message`` and ``ponged`` with what they complete, answers Pings, and
        takes part in the closing handshake.

        Returns:
            False if the connection is over: ``terminate`` is to be called then.
        """
        if not data or self._over:
            return False
        self._alive = True
        return self._discarding or self._parse(data)

    def _parse(self, data: bytes | None) -> bool:
        """Handle all that ``data`` completes, and what has waited until there is room."""
        stream = self.stream
        stream.limits = self.limits
        parser = stream.parser
        me = self._busy = self._driver.get_ident()
        try:
            wanted = parser.send(data)
            while not wanted:
                self._gatherer = me if stream.unread and self.gather else None
                if self._gathered:
                    self._flush_old()
                self._handle(stream)
                if self._discarding or self.close_received or self._ending:
                    break
                if (self._answers and not self._has_room()) or not stream.unread:
                    break
                wanted = parser.send(None)
        finally:
            self._gatherer = None
            self.flush()
            self._busy = None
        return not self._is_done()

    def _has_room(self) -> bool:
        """Say whether the peer may be read; wait for that in a thread of its own."""
        if min(self._answers, self._queued) <= self.limits.high_water:
            return True
        if self._driver.may_wait():
            self._wait_for(self.limits.low_water)
            return True
        self._paused = True
        return False

    def _is_done(self) -> bool:
        """Say whether there is nothing left to do but to end the connection.

        "In abnormal cases … a client MAY close", but the server closes TCP first
        (:rfc:`6455#section-7.1.1`), once its answer is on its way.
        """
        return self._ending or (self.terminated and not self._is_client and not self._outgoing)

    def _handle(self, stream: Stream) -> None:
        """Take what the stream has."""
        message = stream.message
        if message is not None and message.completed:
            stream.message = None
            if not self._failed:
                self._call(self.received_message, message)
        elif stream.pings:
            with suppress(Terminated):
                self._send_pong(stream.pings.pop().data)
        elif stream.pongs:
            self._call(self.ponged, stream.pongs.pop())
        elif stream.closing is not None:
            self.close_received = True
            self._close(stream.closing.code, stream.closing.reason, at_once=True)
        elif stream.errors:
            self._refuse(stream.errors[0])

    def _call(self, callback: Callable[..., None], *arguments: Any) -> None:
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
        if len(self._outgoing) <= self.limits.low_water:
            self._pull()
        if paused and self._queued <= self.limits.low_water:
            return self._parse(None) and (not self._pending() or self.once())
        self._paused = paused
        return not self._is_done()

    def _pending(self) -> bool:
        """Say whether there are bytes to read that the socket does not announce."""
        transport = self._transport
        return (
            not self._paused and transport is not None and (bool(self.buf) or transport.pending())
        )

    def once(self) -> bool:
        """Read what is there, once, and process it.

        Returns:
            False if the connection is over: ``terminate`` is to be called then.
        """
        while True:
            try:
                data = self._read()
            except OSError as error:
                if not (self._close_sent or self._ending or self._broken):
                    self._call(self.unhandled_error, error)
                return False
            if data is None:
                return True
            if not self.process(data):
                return False
            if not self._pending():
                return True

    def _read(self) -> bytes | None:
        if self.buf:
            data, self.buf = self.buf, b""
            return data
        transport = self._transport
        if transport is None:
            return b""
        if not self._draining or self._reader != self._driver.get_ident():
            return transport.read(self.reading_buffer_size)
        return transport.read_now(self.reading_buffer_size) if self._write_meanwhile() else None

    def run(self) -> None:
        """Call ``opened``, and read until the connection has ended; then call ``closed``.

        Blocks, so it wants a thread of its own.
        """
        self._reader = self._driver.get_ident()
        with self._driver.beating(self):
            try:
                if self._transport is not None:
                    self._transport.block(self.sock_timeout)
                self._open()
                while not self._ending and self.once():
                    pass
            finally:
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


# What is kept on an object for one connection.
_STATE = [
    "close_received",
    "close_code",
    "close_reason",
    "buf",
    *(
        name
        for base in (Endpoint, Outgoing, Sender, WebSocket)
        for name, value in vars(base).items()
        if name[0] == "_" and name[:2] != "__" and not callable(value)
    ),
]


class EchoWebSocket(WebSocket):
    """Sends every message back."""

    def received_message(self, message: DataMessage) -> None:
        """Send ``message`` back, as text or binary as it came."""
        self.send(message.data, message.is_binary)
