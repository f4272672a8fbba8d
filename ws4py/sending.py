"""Sending: from what applications pass to ``send`` to frames.

A generator is sent in fragments. A loop's thread pulls it only as far as the queue has room, and
goes on when that drains.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from os import urandom
from time import monotonic
from types import GeneratorType
from typing import TYPE_CHECKING, Any, Callable

from ws4py.deflate import Deflater
from ws4py.driver import Cancellable, broadcasting
from ws4py.exc import Terminated
from ws4py.framing import (
    BINARY_HEADS,
    MAX_CONTROL_PAYLOAD,
    OPCODE_BINARY,
    OPCODE_CONTINUATION,
    OPCODE_PONG,
    OPCODE_TEXT,
    RSV1,
    TEXT_HEADS,
    Fragments,
    Uncompressed,
    encode_frame,
    encode_header,
)
from ws4py.limits import WAIT
from ws4py.masking import hasten, mask
from ws4py.messaging import (
    NO_STATUS,
    CloseControlMessage,
    Message,
    Payload,
    PingControlMessage,
)
from ws4py.outgoing import PAUSED, Outgoing
from ws4py.together import Prepared, groups, reach, write_together

#: From here on a payload is handed to the kernel beside its header and not joined with it.
_LARGE = 16 * 1024
#: Short frames that gather without being counted.
_FEW = 64
#: Seconds in which what waits for its turn will have been compressed, mostly.
_BUSY = 1.0
#: Fragments of a generator that a loop's thread sends before others have their turn.
_PULLS = 64


class Sender(Outgoing):
    """The half of a WebSocket that sends."""

    stream: Any
    close_received: bool

    __slots__ = ("_compressed_at", "_idle_timed", "_idle_timer")

    def __init__(self) -> None:
        super().__init__()
        # When a message was compressed last; whether a timer looks at that.
        self._compressed_at = 0.0
        self._idle_timed = False
        self._idle_timer: Cancellable | None = None

    # The answer to one of many short messages takes 0.3 µs where it took 0.7 with a call for each
    # part of this.
    @hasten
    def send(self, payload: Any, binary: bool = False, compress: bool = True) -> None:
        """Send a message.

        Waits, in a thread that may, while more than ``limits.high_water`` bytes are queued. What
        is sent after ``close`` is dropped: nothing may follow a Close frame.

        Args:
            payload: str, bytes or bytearray is sent as one frame; a generator of these as one
                fragment each (:rfc:`6455#section-5.4`); a Message as it is.
            binary: Whether the message is binary; else it is text, and bytes have to be UTF-8.
            compress: Whether it may be compressed (:rfc:`7692`), where that was negotiated; False
                for what is compressed already, and for secrets next to what others can choose.
                Without effect under ASGI, where the host decides.

        Raises:
            RuntimeError: The connection has ended, or both sides have closed it; or a client is
                not connected yet; or this was called by a generator that is being sent on the same
                connection.
            QueueFull: There is no room, and this thread cannot wait; where ``limits.when_full``
                is "wait".
            TypeError: A str cannot be sent as a binary message.
            ValueError: ``payload`` is of another type.
            NotImplementedError: It is a Ping or a Pong, under ASGI.
        """
        if self._over or not self._connected or (self._close_sent and self.close_received):
            raise self._unsendable()
        if self._fragmenter is not None and self._fragmenter == self._driver.get_ident():
            raise RuntimeError("a generator that is being sent cannot send on the same websocket")
        deflater = self._deflater
        if deflater is not None and compress and not _is_control(payload):
            self._send_compressed(deflater, payload, binary)
        elif type(payload) is bytes:
            stream, size = self.stream, len(payload)
            if size > MAX_CONTROL_PAYLOAD or stream is None or stream.always_mask:
                self._send_frame(OPCODE_BINARY if binary else OPCODE_TEXT, payload)
                return
            frame = (BINARY_HEADS if binary else TEXT_HEADS)[size] + payload
            gathered = self._gathered
            if (
                gathered
                and len(gathered) < _FEW
                and self._gatherer == self._driver.get_ident()
                and self._fragmenter is None
            ):
                gathered.append(frame)
            else:
                self._write(frame)
        elif isinstance(payload, GeneratorType):
            self._send_fragments(_fragments(payload, binary))
        elif isinstance(payload, CloseControlMessage):
            self.close(payload.code or NO_STATUS, payload.reason or b"")
        elif isinstance(payload, Message):
            self._send_message(payload)
        else:
            Sender.send(self, _encode(payload, binary), binary, compress)

    def _send_compressed(self, deflater: Deflater, payload: Any, binary: bool) -> None:
        """Send a message compressed, unless it is a small one."""
        if isinstance(payload, GeneratorType):
            self._send_fragments(deflater.encode_fragments(_fragments(payload, binary)))
        else:
            is_message = isinstance(payload, Message)
            opcode = payload.opcode if is_message else OPCODE_BINARY if binary else OPCODE_TEXT
            data = payload.data if is_message else _encode(payload, binary)
            if len(data) < deflater.threshold:
                self._send_frame(opcode, data)
                return
            if len(data) < _LARGE or not self._may_wait():
                self._write(Uncompressed(opcode, data))
            else:
                self._send_large(deflater, opcode, data)
        self._watch_idle(deflater)

    def _send_large(self, deflater: Deflater, opcode: int, data: bytes) -> None:
        """Send a message that takes long to compress: without the lock, but as the only one."""
        if not self._take_turn():
            return
        try:
            frame = self._build(opcode | RSV1, deflater.encode(data))
            with self._lock:
                if self._deflater is deflater:  # and not that of the next connection
                    self._push(*frame)
        except BaseException:
            deflater.release()  # It may refer to what has not been sent.
            raise
        finally:
            self._next_turn()
        if self._broken:
            raise Terminated

    def _compress(self, message: Uncompressed) -> bytes:
        assert self._deflater is not None  # as when the message was put into the queue
        payload = self._deflater.encode(message.payload)
        return b"".join(self._build(message.opcode | RSV1, payload))

    def _watch_idle(self, deflater: Deflater) -> None:
        """See to it that what is kept for the next message is let go of, if that is long in coming.

        There is one timer at a time, however many messages are sent.
        """
        self._compressed_at = monotonic()
        seconds = deflater.idle_release
        if seconds is None or self._idle_timed:
            return
        with self._lock:
            starts = self._deflater is deflater and not self._idle_timed
            if starts:
                self._idle_timed = True
            stream = self.stream
        if starts:
            self._time_idle(stream, deflater, seconds)

    def _time_idle(self, stream: Any, deflater: Deflater, seconds: float) -> None:
        self._start_timer("_idle_timer", seconds, stream, partial(self._check_idle, deflater))

    def _check_idle(self, deflater: Deflater) -> None:
        left = self._compressed_at + (deflater.idle_release or 0) - monotonic()
        with self._lock:
            if self._deflater is not deflater:
                return
            # What waits for its turn, or is in the middle of it, comes soon.
            is_busy = self._fragmenter is not None or bool(self._gathered)
            self._idle_timed = left > 0 or is_busy
            stream = self.stream
            if not self._idle_timed:
                deflater.release()
                return
        self._time_idle(stream, deflater, left if left > 0 else _BUSY)

    def _start_timer(
        self, name: str, seconds: float, stream: Any, call: Callable[[], object]
    ) -> None:
        """Have ``call`` made in ``seconds``, unless the connection of ``stream`` is over by then.

        The timer is kept as ``name``, to be cancelled at the end of the connection. That may have
        come already, and another connection have followed.
        """

        def call_in_time() -> None:
            if self.stream is stream:
                call()

        timer = self._driver.call_later(seconds, call_in_time)
        with self._lock:
            is_late = self._over or self.stream is not stream
            if not is_late:
                setattr(self, name, timer)
        if is_late:
            timer.cancel()

    def ping(self, message: Payload = "") -> None:
        """Send a Ping with up to 125 bytes (:rfc:`6455#section-5.5.2`).

        Raises:
            ValueError: ``message`` is longer.
            RuntimeError: The connection has ended, or a client is not connected yet.
            NotImplementedError: Under ASGI, where the host alone sends Pings.
        """
        self._send_message(PingControlMessage(message))

    def _send_message(self, message: Message) -> None:
        no_pings = self._driver.no_pings
        if no_pings is not None and _is_control(message) and not self._over:
            raise NotImplementedError(no_pings)
        self._send_frame(message.opcode, message.data)

    @hasten  # as _write is
    def _send_frame(self, opcode: int, payload: bytes, fin: bool = True) -> None:
        """Send one frame: what all frames but a Close go through."""
        self._write(*self._build(opcode, payload, fin))

    def _build(self, opcode: int, payload: bytes, fin: bool = True) -> tuple[bytes, bytes]:
        """Return a frame, in two parts if its payload is large."""
        key = urandom(4) if self._masks else b""
        if len(payload) < _LARGE:
            return encode_frame(fin << 7 | opcode, payload, key), b""
        header = encode_header(fin, opcode, len(payload), key)
        return header, mask(payload, key) if key else payload

    def _send_pong(self, payload: bytes) -> None:
        """Answer a Ping; while the kernel refuses bytes only the newest one."""
        with self._lock:
            if self._outgoing:
                self._pong = payload
                return
        self._send_frame(OPCODE_PONG, payload)

    def _make_pong(self, payload: bytes) -> tuple[bytes, bytes]:
        return self._build(OPCODE_PONG, payload)

    def _send_fragments(self, fragments: Fragments) -> None:
        """Send a message of several frames; in a loop's thread as far as there is room."""
        waits, deflater = self._may_wait(), self._deflater
        if not self._take_turn(None if waits else fragments):
            return
        if not waits:
            self._pull()
            return
        begun, stream = False, self.stream
        try:
            for fragment in fragments:
                if self.stream is not stream:
                    raise Terminated  # Another connection has followed.
                self._send_frame(*fragment)
                begun = True
        except BaseException as error:
            if deflater is not None:
                deflater.release()  # It may refer to what has not been sent.
            if begun and not isinstance(error, Terminated):
                self._close_failed()  # A message without an end can be followed by nothing else.
            raise
        finally:
            self._next_turn()

    def _take_turn(self, source: Fragments | None = None) -> bool:
        """Let no data frames of others be sent until ``_next_turn``, once there is room.

        Args:
            source: What a loop's thread sends, which does not wait, but has it put off.

        Returns:
            False if it has been, or if there is no room, or nothing can be sent any more.
        """
        if (self._outgoing or self._deferred) and not self._make_room():
            return False
        with self._lock:
            self._push_gathered()
            while self._fragmenter is not None and self._takes_more:
                if source is not None:
                    self._put_off(source)
                    return False
                self._wait_turn()
            if not self._takes_more:
                return False
            self._fragmenter = self._driver.get_ident() if source is None else PAUSED
            self._source = source
        return True

    def _pull(self) -> None:
        """Send what there is room for of the generators that a loop's thread has sent."""
        for _ in range(_PULLS):
            source = self._take_source()
            if source is None:
                break
            try:
                opcode, payload, fin = next(source)
                self._send_frame(opcode, payload, fin)
            except Exception as error:  # noqa: BLE001 - the application's
                self._crashed(error)
                fin = True
            if fin:
                self._next_turn()
            else:
                self._fragmenter = PAUSED
        self._settle()

    def _take_source(self) -> Fragments | None:
        """Return the generator to go on with, if there is one, and room for what it yields."""
        with self._lock:
            is_next = self._fragmenter == PAUSED and self._source is not None
            if not is_next or len(self._outgoing) > self.limits.high_water:
                return None
            self._fragmenter = self._driver.get_ident()
            return self._source

    if TYPE_CHECKING:  # what the classes below this one have

        def close(self, code: int = 1000, reason: Payload = "") -> None:
            """Begin the closing handshake."""

        @property
        def _masks(self) -> bool:
            """Whether frames are masked."""

        def _crashed(self, error: BaseException) -> None:
            """Log an exception of the application's code, and close the connection for it."""

        def _close_failed(self) -> None:
            """Close the connection because the application's code failed."""


def broadcast(
    websockets: Iterable[Any], message: Any, binary: bool = False, compress: bool = True
) -> None:
    """Send ``message`` to each of ``websockets``, as ``send`` takes it; wait for none.

    It is framed once for all of them, and compressed once for all that have agreed on the same
    parameters and keep no context; for others each time.

    What is wrong with one of them does not matter to the others; an iterator of them is read some
    ahead. What becomes of the message where too much is queued already is up to that one's
    ``limits.when_full``.

    Raises:
        TypeError, ValueError: ``message`` is nothing that ``send`` takes. Only those have got it
            whose classes have a ``send`` of their own.
    """
    chunks = list(message) if isinstance(message, GeneratorType) else None
    prepared = None if chunks is not None else _prepare(message, binary, compress)
    fault = None
    if prepared is None and not isinstance(message, Message):
        fault = _find_fault((message,) if chunks is None else chunks, binary)
    refused = False
    options = {} if compress else {"compress": False}

    def send(websocket: Any) -> None:
        nonlocal refused
        if websocket.terminated:
            return
        if fault is not None and _has_our_send(websocket):
            refused = True
            return
        frame = prepared and _sends_plainly(websocket) and prepared.frame_for(websocket)
        if frame:
            websocket._write(frame)
        else:
            again = message if chunks is None else (c for c in chunks)
            websocket.send(again, binary, **options)

    with broadcasting():
        for group in groups(iter(websockets)):
            others = group
            begun: list[Any] = []
            try:
                if prepared is not None:
                    others = _write_each(group, prepared.plain, begun)
            finally:  # Before anything that may wait, or is the program's.
                begun.sort(key=lambda websocket: websocket.limits.when_full == WAIT)
                reach(Sender._settle_refused, begun)
            reach(send, others)
    if fault is not None and refused:
        raise fault


def _find_fault(chunks: Iterable[Any], binary: bool) -> Exception | None:
    try:
        for chunk in chunks:
            _encode(chunk, binary)
    except (TypeError, ValueError) as error:
        return error
    return None


@hasten  # A message takes 4.4 µs for each of 500 connections, where it took 7.2.
def _write_each(websockets: list[Any], frame: bytes, begun: list[Any]) -> list[Any]:
    """Write an unmasked frame to those of ``websockets`` that take it at once; return the others.

    Those that have queued a part of it, or failed, are added to ``begun``.
    """
    if len(frame) > _LARGE:
        return websockets
    plain: list[Any] = []
    others: list[Any] = []
    for each in websockets:
        (plain if _sends_plainly(each) else others).append(each)
    return others + write_together(plain, frame, begun)


def _prepare(message: Any, binary: bool, compress: bool) -> Prepared | None:
    """Return the message; None if ``send`` is to see what it is."""
    if not isinstance(message, (str, bytes, bytearray)) or (binary and isinstance(message, str)):
        return None
    return Prepared(OPCODE_BINARY if binary else OPCODE_TEXT, _encode(message, binary), compress)


#: The functions ``send`` that send what they are given, as it is.
PLAIN_SENDS: set[Any] = {Sender.send}


def _has_our_send(websocket: Any) -> bool:
    return getattr(type(websocket), "send", None) in PLAIN_SENDS and "send" not in vars(websocket)


def _sends_plainly(websocket: Any) -> bool:
    """Say whether ``send`` would put the prepared frame on the wire, now."""
    cls = type(websocket)
    try:
        send = websocket.send
        return (
            send.__func__ in PLAIN_SENDS
            and send.__self__ is websocket
            and websocket._fragmenter is None
            and cls._send_frame is Sender._send_frame
            and cls._write is Sender._write
            and not websocket.stream.always_mask
        )
    except Exception:  # noqa: BLE001 - it is no websocket, or has a fault: ``send`` says so
        return False


def _is_control(payload: Any) -> bool:
    return isinstance(payload, Message) and bool(payload.opcode & 0x8)


def _encode(payload: Any, binary: bool) -> bytes:
    if isinstance(payload, str):
        if binary:
            raise TypeError("a str cannot be sent as a binary message")
        return payload.encode("utf-8")
    if isinstance(payload, (bytes, bytearray)):
        return bytes(payload)
    raise ValueError(f"Unsupported type '{type(payload)}' passed to send()")


def _fragments(chunks: Iterator[Any], binary: bool) -> Fragments:
    """Yield the frames of ``chunks``: as many as there are, the last one with its FIN bit."""
    opcode = OPCODE_BINARY if binary else OPCODE_TEXT
    held = _encode(next(chunks, b""), binary)
    for chunk in chunks:
        yield opcode, held, False
        opcode = OPCODE_CONTINUATION
        held = _encode(chunk, binary)
    yield opcode, held, True
