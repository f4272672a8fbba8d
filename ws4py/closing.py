"""Closing: the state of the closing handshake, and how a connection ends.

Every end goes the same way: something decides it, ``_end`` brings it to whoever reads the
connection, and ``_finish`` calls ``closed`` there, once.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from logging import getLogger
from time import monotonic
from typing import Any, Callable, Optional

from ws4py.driver import Cancellable, Driver
from ws4py.exc import Terminated
from ws4py.messaging import ABNORMAL, CloseControlMessage, Payload
from ws4py.sending import Sender
from ws4py.streaming import Stream, check_closing_code
from ws4py.transport import Transport

logger = getLogger("ws4py")


#: What a callback returns: something to await on the engines that do so.
Returned = Optional[Awaitable[None]]


class Closing(Sender):
    """The part of a WebSocket that closes.

    The state is three facts: ``close_sent``, ``close_received``, and that all is over.
    """

    stream: Any
    environ: dict[str, Any] | None

    __slots__ = (
        "_chunk",
        "_deadline",
        "_drain_timer",
        "_failed",
        "_lost",
        "_reason",
        "buf",
        "close_code",
        "close_reason",
        "close_received",
        "environ",
        "stream",
    )

    def __init__(self) -> None:
        super().__init__()
        self.close_received = False
        self.close_code: int | None = None
        self.close_reason: str | None = None
        #: Bytes that came with the opening handshake and have not been processed yet.
        self.buf = b""
        # What has come and the parser does not have: what waits while a callback runs, and what
        # there is of a message, where that is compiled.
        self._chunk: bytes | None = None
        # The application has failed: it gets no more messages.
        self._failed = self._lost = False
        # What is known of the end, if no Close has come.
        self._reason: str | None = None
        self._deadline: Cancellable | None = None
        # What looks whether the kernel takes what is queued.
        self._drain_timer: Cancellable | None = None

    @property
    def _masks(self) -> bool:
        stream = self.stream  # which may become None meanwhile
        return stream is not None and stream.always_mask

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
            self._close_sent = bool(value)
        else:
            self.close_received = bool(value)

    def closed(self, code: int, reason: str | None = None) -> Returned:
        """Called when the connection has ended.

        Args:
            code: That of the peer's Close frame, 1005 if that was empty, 1006 if none came.
            reason: The one the peer gave; if none came, what is known of the end.
        """

    def close(self, code: int = 1000, reason: Payload = "") -> None:
        """Begin the closing handshake (:rfc:`6455#section-7.1.2`).

        The Close goes behind what has been sent. The peer then has ``limits.close_timeout``
        seconds to end the connection. Calls after the first one do nothing.

        One that a class overrides is called to answer the peer's Close, too, with the peer's code
        and reason; if it does not close, the answer is the ordinary one.

        Args:
            code: 1000 to 1003, 1007 to 1014, or 3000 to 4999; 1005 or None for an empty Close.
            reason: For the peer; cut to 123 bytes.

        Raises:
            ValueError: No Close frame can have that code.
            RuntimeError: A client is not connected yet.
        """
        # To a peer that has closed, the rest of a fragmented message means nothing.
        if not self._close(code, reason, at_once=self.close_received):
            logger.debug("A websocket that is closing or has ended was closed again")

    _our_close: Any = close  # as long as no program overrides it

    def _ask_to_close(self, code: int, reason: str) -> None:
        """Call ``close``, the program's own if there is one, for a server that closes all."""
        self.close(code=code, reason=reason)

    def _close(self, code: int | None, reason: Payload | None, at_once: bool = False) -> bool:
        """Begin it; return False if that has been done, or the connection has ended."""
        self._check_connected("be closed")
        message = CloseControlMessage(code, reason)
        check_closing_code(code)
        stream = self.stream
        if not self._write_close(message.single(self._masks), at_once):
            return False
        seconds = self.limits.close_timeout
        if seconds is not None and self._deadline is None:
            self._start_timer("_deadline", seconds, stream, partial(self._check_end, seconds))
        self._settle()
        return True

    def _check_end(self, seconds: float) -> None:
        """Drop a peer that has had ``seconds`` since our Close has left, or takes nothing of it."""
        with self._lock:
            left = self._progress + seconds - monotonic()
            if not self._sealed and not self._outgoing:
                left = seconds  # The Close is put off: what is before it has yet to be made.
        if left <= 0 or self._broken or self._ending:
            what = "took nothing" if self._outgoing else "did not end the connection"
            self._drop(f"the peer {what} in {seconds} s")
        else:
            self._start_timer("_deadline", left, self.stream, partial(self._check_end, seconds))

    def _drop(self, why: str) -> None:
        """End a connection whose time is over, whoever is at work on it."""
        self._lose(why)

    def _cancel_timers(self) -> None:
        """Forget the timers as well, which would be cycles: a thread's keeps what it calls."""
        timers = self._deadline, self._idle_timer, self._drain_timer
        self._deadline = self._idle_timer = self._drain_timer = None
        for timer in timers:
            if timer is not None:
                timer.cancel()

    def _move_timers(self) -> None:
        """Have the driver of now make the calls that the one before was to make."""
        closes, seconds = self._deadline is not None, self.limits.close_timeout
        idles, deflater = self._idle_timer is not None, self._deflater
        self._cancel_timers()
        if closes and seconds is not None:
            self._check_end(seconds)
        if idles and deflater is not None:
            self._check_idle(deflater)

    def _time_drain(self, driver: Driver, seconds: float | None = None) -> None:
        """See to it, by the driver's timers, that a peer that takes nothing is given up.

        In another thread than the driver's, the driver may have become one of the past.
        """
        stream = self.stream
        if seconds is None:
            seconds = self.limits.write_timeout
        if seconds is None or self._drain_timer is not None or driver is not self._driver:
            return
        self._start_timer("_drain_timer", seconds, stream, self._check_progress)

    def _check_progress(self) -> None:
        self._drain_timer = None
        timeout = self.limits.write_timeout
        if not self._draining or self._over or timeout is None:
            return
        left = self._progress + timeout - monotonic()
        if left > 0:
            self._time_drain(self._driver, left)
        else:
            self._lose(f"the peer took nothing in {timeout} s")

    def _lose(self, why: str) -> None:
        with self._lock:
            if self._over or self._lost:
                return
            self._lost = True
            self._drop_queue()
        self._reason = self._reason or why
        logger.info("A connection is given up: %s", why)
        transport = self._transport  # which may become None meanwhile
        if transport is not None:
            transport.shutdown()
        self._end()

    def _give_up(self, why: str) -> None:
        """Tell a peer that seems dead, and wait neither for it to read that nor to answer."""
        self._reason = self._reason or why
        self._write_close(CloseControlMessage(1011, why).single(self._masks), at_once=True)
        self._lose(why)

    def _crashed(self, error: BaseException) -> None:
        if isinstance(error, Terminated) and (self.terminated or self._broken):
            logger.debug("A callback sent on a connection that had ended")
            return
        logger.error("An exception in the application closes its websocket", exc_info=error)
        self._close_failed()

    def _close_failed(self) -> None:
        self._failed = True
        self._close(1011, "Internal error", at_once=True)

    def close_connection(self) -> None:
        """Shut the socket down and close it; errors do not matter.

        If another thread reads it, that one closes it.

        One that a class overrides is called at the end of each connection, once, after ``closed``;
        not if a call of the program's own has come here before.
        """
        self._write_deferred()
        self._disconnected = True
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

    _our_close_connection: Any = close_connection

    def _disconnect(self, stream: Stream) -> None:
        """Call a ``close_connection`` of the program's, once for the connection of ``stream``."""
        if self.close_connection == self._our_close_connection:
            return
        with self._lock:
            is_due = self.stream is stream and not self._disconnected
            if is_due:
                self._disconnected = True
        if not is_due:
            return
        with self._visitors.visit(self._driver.get_ident()):
            try:
                self.close_connection()
            except Exception:
                logger.exception("An exception in close_connection()")

    def terminate(self) -> None:
        """End the connection now, without a closing handshake, and call ``closed``.

        If another thread reads the connection, that thread does so, and this one does not wait.
        """
        stream = self.stream
        self.flush()
        if self.stream is stream:  # else that has failed, and ``closed`` has connected again
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
            self._visitors.leave_for_good(self._driver.get_ident())
        self._dropped = None
        self._cancel_timers()
        let_go = partial(self._let_go, self._driver, self.stream, self._transport)
        self.close_code, self.close_reason = ABNORMAL, self._reason or "Going away"
        try:
            closing = self.stream.closing
            if closing is not None:
                self.close_code, self.close_reason = closing.code, str(closing)
        finally:  # The application may have put something else into ``stream``.
            self._driver.release(self)
            self._tell_closed(let_go)

    def _tell_closed(self, let_go: Callable[[], None]) -> None:
        try:
            self.closed(self.close_code or ABNORMAL, self.close_reason)
        except Exception:
            logger.exception("An exception in closed()")
        finally:
            let_go()

    def _let_go(self, driver: Driver, stream: Stream, transport: Transport | None) -> None:
        try:
            self._disconnect(stream)
        finally:
            self._forget(driver, stream, transport)

    def _forget(self, driver: Driver, stream: Stream, transport: Transport | None) -> None:
        if transport is not None:
            transport.close()
        if self.stream is stream:  # else closed() has connected again
            self._sock = self._transport = self.stream = self.environ = self._deflater = None
            self.buf, self._chunk = b"", None
        driver.ended(self)
        if self._keeper is not None:
            self._keeper._discard(self)
        stream._cleanup()
