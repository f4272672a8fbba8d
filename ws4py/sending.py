"""Sending: from what applications pass to ``send`` to frames.

A generator is sent in fragments. A loop's thread pulls it only as far as the queue has room, and
goes on when that drains.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from logging import getLogger
from os import urandom
from types import GeneratorType
from typing import Any

from ws4py.exc import Terminated
from ws4py.framing import (
    OPCODE_BINARY,
    OPCODE_CONTINUATION,
    OPCODE_PONG,
    OPCODE_TEXT,
    encode_header,
)
from ws4py.masking import mask
from ws4py.messaging import (
    NO_STATUS,
    BinaryMessage,
    CloseControlMessage,
    Message,
    Payload,
    PingControlMessage,
    TextMessage,
)
from ws4py.outgoing import PAUSED, Fragments, Outgoing, broadcasting

logger = getLogger("ws4py")

#: From here on a payload is handed to the kernel beside its header and not joined with it.
_LARGE = 16 * 1024
#: Fragments of a generator that a loop's thread sends before others have their turn.
_PULLS = 64


class Sender(Outgoing):
    """The half of a WebSocket that sends."""

    _connected: bool
    close_received: bool

    def send(self, payload: Any, binary: bool = False) -> None:
        """Send a message.

        Waits, in a thread that may, while more than ``limits.high_water`` bytes are queued. What
        is sent after ``close`` is dropped: nothing may follow a Close frame.

        Args:
            payload: str, bytes or bytearray is sent as one frame; a generator of these as one
                fragment each (:rfc:`6455#section-5.4`); a Message as it is.
            binary: Whether the message is binary; else it is text, and bytes have to be UTF-8.

        Raises:
            RuntimeError: The connection has ended, or both sides have closed it; or this was
                called by a generator that is being sent on the same connection.
            QueueFull: There is no room, and this thread cannot wait; where ``limits.when_full``
                is "wait".
            TypeError: A str cannot be sent as a binary message.
            ValueError: ``payload`` is of another type.
        """
        if self._over or not self._connected or (self._close_sent and self.close_received):
            raise Terminated
        if self._fragmenter is not None and self._fragmenter == self._driver.get_ident():
            raise RuntimeError("a generator that is being sent cannot send on the same websocket")
        if type(payload) is bytes:
            self._send_frame(OPCODE_BINARY if binary else OPCODE_TEXT, payload)
        elif isinstance(payload, GeneratorType):
            self._send_fragments(_fragments(payload, binary))
        elif isinstance(payload, CloseControlMessage):
            self.close(payload.code or NO_STATUS, payload.reason or b"")
        elif isinstance(payload, Message):
            self._send_frame(payload.opcode, payload.data)
        else:
            data = _encode(payload, binary)
            self._send_frame(OPCODE_BINARY if binary else OPCODE_TEXT, data)

    def ping(self, message: Payload = "") -> None:
        """Send a Ping with up to 125 bytes (:rfc:`6455#section-5.5.2`).

        Raises:
            ValueError: ``message`` is longer.
            RuntimeError: The connection has ended.
            NotImplementedError: Under ASGI, where the host alone sends Pings.
        """
        ping = PingControlMessage(message)
        if self._driver.no_pings is not None and not self._over:
            raise NotImplementedError(self._driver.no_pings)
        self._send_frame(ping.opcode, ping.data)

    def _send_frame(self, opcode: int, payload: bytes, fin: bool = True) -> None:
        """Send one frame: what all frames but a Close go through."""
        self._write(*self._build(opcode, payload, fin))

    def _build(self, opcode: int, payload: bytes, fin: bool = True) -> tuple[bytes, bytes]:
        """Return a frame, in two parts if its payload is large."""
        key = urandom(4) if self._masks else b""
        header = encode_header(fin, opcode, len(payload), key)
        if key:
            payload = mask(payload, key)
        return (header, payload) if len(payload) >= _LARGE else (header + payload, b"")

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
        waits = self._may_wait()
        if (self._outgoing or self._deferred) and not self._make_room():
            return
        with self._lock:
            self._push_gathered()
            while self._fragmenter is not None and not self._broken and not self._ending:
                if self._defer(fragments):
                    return
                self._wait()
            if self._sealed or self._broken or self._ending:
                return
            self._fragmenter = self._driver.get_ident() if waits else PAUSED
            self._source = None if waits else fragments
        if not waits:
            self._pull()
            return
        begun = False
        try:
            for fragment in fragments:
                self._send_frame(*fragment)
                begun = True
        except BaseException as error:
            if begun and not isinstance(error, Terminated):
                self._close_failed()  # A message without an end can be followed by nothing else.
            raise
        finally:
            self._next_turn()

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
            if self._fragmenter != PAUSED or len(self._outgoing) > self.limits.high_water:
                return None
            self._fragmenter = self._driver.get_ident()
            return self._source

    def close(self, code: int = 1000, reason: Payload = "") -> None:
        """Begin the closing handshake."""
        raise NotImplementedError

    @property
    def _masks(self) -> bool:
        """Whether frames are masked."""
        raise NotImplementedError

    def _crashed(self, error: BaseException) -> None:
        """Log an exception of the application's code, and close the connection for it."""
        raise NotImplementedError

    def _close_failed(self) -> None:
        """Close the connection because the application's code failed."""
        raise NotImplementedError


def broadcast(websockets: Iterable[Any], message: Any, binary: bool = False) -> None:
    """Send ``message`` to each of ``websockets``, as ``send`` takes it; wait for none.

    What is wrong with one of them does not matter to the others. What becomes of the message where
    too much is queued already is up to that one's ``limits.when_full``.
    """
    chunks = list(message) if isinstance(message, GeneratorType) else None
    frame = None if chunks is not None else _prepare(message, binary)
    with broadcasting():
        for websocket in websockets:
            if websocket.terminated:
                continue
            try:
                if frame is not None and _sends_plainly(websocket):
                    websocket._write(frame)
                else:
                    websocket.send(message if chunks is None else (c for c in chunks), binary)
            except Exception as error:  # noqa: BLE001 - of one among many
                logger.info("A broadcast did not reach a websocket: %s", error)


def _prepare(message: Any, binary: bool) -> bytes | None:
    """Return the frame of ``message``, unmasked; None if ``send`` is to see what it is."""
    if not isinstance(message, (str, bytes, bytearray)) or (binary and isinstance(message, str)):
        return None
    return (BinaryMessage if binary else TextMessage)(message).single()


def _sends_plainly(websocket: Any) -> bool:
    """Say whether ``send`` would put the prepared frame on the wire."""
    return (
        type(websocket).send is Sender.send
        and type(websocket)._send_frame is Sender._send_frame
        and "send" not in vars(websocket)
        and not websocket._masks
    )


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
