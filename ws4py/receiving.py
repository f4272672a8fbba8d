"""Receiving: what comes from the peer, and in which order it is handled.

Bytes come in through ``process``, whoever read them; ``once`` reads them from a socket.

Short messages that come whole are handled past the parser, which costs them half as much. Bytes
have one owner at a time:

- The parser, as long as it is within a frame or a message; ``stream._rests`` is False then.
- Nobody, if all has been handled; ``_rests`` is True.
- ``_chunk``, from ``_at`` on: what waits while a callback runs, or until there is room for answers,
  or for the turns of others; ``_rests`` is None. Who parses meanwhile takes it from there, and
  who is in the midst of it finds it gone. Where that is compiled, what has come of a message grows
  there, too; then ``_rests`` is True.
"""

from __future__ import annotations

from contextlib import suppress
from logging import getLogger
from math import inf
from time import monotonic
from typing import Any, Callable

from ws4py.closing import Closing, Returned
from ws4py.exc import Terminated
from ws4py.framing import plain_payloads
from ws4py.masking import hasten
from ws4py.messaging import (
    BinaryMessage,
    CloseControlMessage,
    PongControlMessage,
    TextMessage,
)
from ws4py.outgoing import GATHER_TIME
from ws4py.streaming import DataMessage, Stream

logger = getLogger("ws4py")

#: Bytes that are read at once.
DEFAULT_READING_SIZE = 64 * 1024
#: Bytes that are read at once of a long frame.
_LARGEST_READ = 256 * 1024
#: Seconds that a connection is handled before others have their turn, if more has come together.
_TURN = 0.01
#: What a parser asks for until it has a frame: its length, its key and its payload, for example.
_STEPS = 4

_new: Any = object.__new__


class Receiver(Closing):
    """The half of a WebSocket that receives."""

    # Whether callbacks may be coroutine functions.
    _awaits = False

    #: Bytes that are read at once, at most; of a long frame up to 256 KiB, and compiled 1 MiB,
    #: unless this is set to less than 64 KiB.
    reading_buffer_size = DEFAULT_READING_SIZE

    __slots__ = (
        "_at",
        "_came",
        "_discarding",
        "_paused",
        "_unhandled",
        "_wanted",
    )

    def __init__(self) -> None:
        super().__init__()
        # What came after a violation is read, and thrown away.
        self._discarding = False
        # There is no room for answers, or the application is occupied, or it is the turn of others:
        # the peer is not read.
        self._paused = False
        # Bytes that the parser misses of what it is at, and that the last read for it has brought.
        self._wanted = self._came = 0
        # From where on _chunk has yet to be parsed.
        self._at = 0
        # The parser stands at something that has not been handled yet.
        self._unhandled = False

    def received_message(self, message: DataMessage) -> Returned:
        """Called with each TextMessage or BinaryMessage, once it is complete."""

    def ponged(self, pong: PongControlMessage) -> Returned:
        """Called with each Pong."""

    def unhandled_error(self, error: OSError) -> None:
        """Called with an error of the socket, while it was read; logs it."""
        logger.error("Failed to receive data: %s", error)

    @hasten  # so that what reads knows whether a class overrides it
    def process(self, data: bytes) -> bool:
        """Handle bytes of the peer. Override it in a class, not on an object.

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

    @hasten
    def _parse(self, data: bytes | None, took: float = 0.0) -> bool:
        """Handle all that ``data`` completes, and what has waited until there is room.

        ``took`` is how many seconds this turn has taken already.
        """
        stream = self.stream
        self._busy = self._driver.get_ident()
        if self._chunk is not None:
            data, self._chunk = self._chunk[self._at :] + (data or b""), None
            stream._rests = stream._rests is not False
        rest = None
        try:
            if took > GATHER_TIME:
                self.flush()
            if not data or self._awaits or stream.message is not None:
                self._take(stream, data, took)
            elif stream._rests:
                self._take_plain(stream, data, took)
            else:
                rest = self._take_frame(stream, data, took)
        finally:
            self._gatherer = None
            if self._gathered:
                self._driver.answered(self)
            elif self._outgoing and not self._draining:
                self._settle()  # A callback has taken it from who would have drained it.
            self._busy = None
        if rest:
            return self._parse(rest)
        if self._ending or self._close_sent or self._over:
            return not self._is_done()
        return True

    def _take_plain(  # noqa: C901 - the hot path
        self, stream: Stream, data: bytes, took: float
    ) -> None:
        """Handle what ``data`` completes, while the parser holds nothing: short messages past it.

        What waits while the application has a message can be found in ``_chunk``, from ``_at`` on:
        who parses meanwhile takes it from there.
        """
        size, end, limits = len(data), 0, self.limits
        longest = limits.max_message_size if limits.max_fragments != 0 else -1
        begun = due = 0.0
        most = inf if longest is None else longest
        for is_text, payload, end in plain_payloads(data, 0, stream.expect_masking, most):
            # This is what their classes do, in a third of the time.
            message: DataMessage = _new(TextMessage if is_text else BinaryMessage)
            message.data, message.completed = payload, True
            if end < size:
                if self._chunk is not data:
                    self._chunk, stream._rests = data, None
                    self._gatherer = self._busy if self.gather else None
                    begun = monotonic() - took
                    due = begun + GATHER_TIME
                self._at = end
            elif self._chunk is data:
                self._chunk, stream._rests = None, True
                # Sent at once, the last answer would take those along that are to be deferred.
                if not self._gathered or self._outgoing or not self._driver.defers(self):
                    self._gatherer = None
            if not self._failed:
                try:
                    self.received_message(message)
                except Exception as error:  # noqa: BLE001 - the application's
                    self._crashed(error)
            if self._ending or self.close_received:
                self._chunk = None
                return
            if (self._answers and not self._has_room()) or end == size:
                return
            if self._chunk is not data or stream._rests is not None:
                return
            if monotonic() > due:
                if not self._goes_on(monotonic() - begun):
                    return
                due = monotonic() + GATHER_TIME
        if self._chunk is data:
            self._chunk, stream._rests = None, True
        self._take(stream, data[end:], monotonic() - begun if begun else took)

    def _take_frame(self, stream: Stream, data: bytes, took: float) -> bytes | None:
        """Handle what ``data`` completes of the frame that the parser is at.

        Bytes seldom come as the peer has written them: most chunks end within a frame, and so the
        next one begins there.

        Returns:
            What follows the frame, if that may be handled now, and the parser holds nothing.
        """
        for _ in range(_STEPS):
            if not 0 < self._wanted < len(data):
                break
            self._chunk, self._at = data, self._wanted
            self._take(stream, data[: self._wanted], took)
            if self._discarding or self.close_received or self._ending:
                self._chunk = None
            if self._chunk is not data or self._paused:
                return None
            data, self._chunk = data[self._at :], None
            if stream._rests:
                return data
        self._take(stream, data, took)
        return None

    def _take(self, stream: Stream, data: bytes | None, took: float) -> None:
        """Handle what the parser finds in what it has and ``data``."""
        stream.limits = self.limits
        parser, me = stream.parser, self._busy
        begun = monotonic() - took
        due = begun + GATHER_TIME
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
            if message is None or not message.completed:
                self._handle(stream)
            else:
                stream.message = None
                if not self._failed:
                    self._call(self.received_message, message)
            if self._discarding or self.close_received or self._ending:
                break
            if (self._answers and not self._has_room()) or not more:
                break
            if monotonic() > due:
                if not self._goes_on(monotonic() - begun):
                    break
                due = monotonic() + GATHER_TIME
            wanted = parser.send(None)
        self._wanted = wanted

    def _goes_on(self, took: float) -> bool:
        """Send what has gathered, for a millisecond by now, in a turn that took ``took`` seconds.

        Returns:
            Whether to go on here, now or because others have had their turn.
        """
        self.flush()
        self._driver.keep_time()
        return took < _TURN or self._let_others()

    def _occupied(self, stream: Stream) -> bool:
        """Say whether what the stream has is to wait until the application has done other work."""
        return False

    def _puts_off_end(self) -> bool:
        """Say whether the end of what the peer sends is to wait until the application is done."""
        return False

    def _has_room(self) -> bool:
        """Say whether the peer may be read; wait for that, or the end, in a thread of its own."""
        if min(self._answers, self._queued) <= self.limits.high_water:
            return True
        if self._driver.may_wait():
            self._wait_for(self.limits.low_water)
            return not self._ending
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
            self._answer_close(stream.closing)
        elif stream.errors:
            self._refuse(stream.errors[0])

    def _answer_close(self, closing: CloseControlMessage) -> None:
        """Answer the peer's Close, by a ``close`` of the program's if it has one."""
        told, self.close_received = self.close_received, True
        if not (told or self._close_sent or self.close == self._our_close):
            self._call(self.close, closing.code, str(closing))
        if not (self._sealed or self._is_answering()):
            self._close(closing.code, closing.reason, at_once=True)

    def _is_answering(self) -> bool:
        """Say whether a ``close`` that has been called to answer the peer's Close is at work."""
        return False

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
        transport = self._transport  # which may become None meanwhile
        if self._paused:
            with self._lock:
                self._draining = True
                self._progress = monotonic()
            self._driver.drain(self)
        elif self._discarding and not self._is_client and transport is not None:
            transport.half_close()
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

    def _has_waiting(self) -> bool:
        """Say whether something that has come may be handled without anything new."""
        stream = self.stream
        return self._chunk is not None or (stream is not None and stream.unread > 0)

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
        return max(size, min(self._wanted, 4 * self._came, _LARGEST_READ))

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
        readable = self._write_meanwhile(transport)
        if not readable or self._transport is not transport:  # It may have ended by that.
            return None
        return transport.read_now(self.reading_buffer_size)
