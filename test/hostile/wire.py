"""The attacker's end of a connection: sends any bytes, and is strict about those that come."""

from __future__ import annotations

import math
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
#: Codes that may be on the wire (RFC 6455 7.4).
CODES = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}

#: Seconds that the target has for what it has to do at once; generous.
PATIENCE = 10.0

# Seconds that are waited for bytes at most, whatever the deadline is.
_longest = math.inf


@contextmanager
def impatient(seconds: float) -> Iterator[None]:
    """Wait no longer than that for any bytes meanwhile: those that are expected will not come."""
    global _longest
    before, _longest = _longest, seconds
    try:
        yield
    finally:
        _longest = before


def left(deadline: float) -> float:
    """Return the seconds for which to wait for bytes that have to come before ``deadline``."""
    return max(min(deadline - time.monotonic(), _longest), 0.001)


class CutOff(AssertionError):
    """The connection has ended before all has come that was to come."""


class Frame(NamedTuple):
    """A frame that has come."""

    fin: bool
    opcode: int
    payload: bytes


@dataclass
class End:
    """All that came until the connection ended.

    Attributes:
        frames: The frames, in order; the Close is the last one.
        code: Of the Close; 1005 if that was empty, 1006 if none came.
        reset: Whether TCP was reset.
    """

    frames: list[Frame] = field(default_factory=list)
    code: int = 1006
    reason: str = ""
    reset: bool = False

    @property
    def messages(self) -> list[bytes]:
        """The payloads of the data frames, fragments joined."""
        messages: list[bytes] = []
        for each in self.frames:
            if each.opcode in (TEXT, BINARY):
                messages.append(each.payload)
            elif each.opcode == CONTINUATION:
                messages[-1] += each.payload
        return messages


class Codec(Protocol):
    """What reads the messages of a target that may compress them."""

    def received(self, rsv: int, fin: bool, opcode: int, payload: bytes) -> bytes:
        """Return the payload of a frame of data as it was before it was compressed.

        Raises:
            AssertionError: It breaks what was agreed on.
        """


def header(
    opcode: int, length: int, masks: bool, *, fin: int = 1, rsv: int = 0, form: int | None = None
) -> bytes:
    """Return a frame's header, without the masking key.

    Args:
        form: How the length is written: 7, 16 or 64 bits; the shortest unless given.
    """
    first = fin << 7 | rsv << 4 | opcode
    mask = 0x80 if masks else 0
    if form is None:
        form = 7 if length < 126 else 16 if length < 65536 else 64
    if form == 7:
        return bytes([first, mask | length])
    if form == 16:
        return bytes([first, mask | 126]) + struct.pack("!H", length)
    return bytes([first, mask | 127]) + struct.pack("!Q", length)


def xor(payload: bytes, key: bytes) -> bytes:
    """Mask or unmask."""
    size = len(payload)
    stream = key * (size // 4) + key[: size % 4]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")


def is_text(data: bytes) -> bool:
    """Say whether these bytes are UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class Wire:
    """A connection after its opening handshake.

    Args:
        sock: A connected socket.
        masks: Whether we are the client.
        ahead: What was read behind the handshake.
    """

    def __init__(self, sock: socket.socket, masks: bool, ahead: bytes = b"") -> None:
        self.sock = sock
        self.masks = masks
        #: Whether Pings are answered; not while another thread sends something.
        self.answers = True
        #: The extensions that were agreed on, and what reads messages then.
        self.extensions = ""
        self.codec: Codec | None = None
        self._data = bytearray(ahead)
        self._fragmented: int | None = None
        self._text = b""
        # What is sent in several segments arrives so, and at once.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.sock.close()

    # What is sent.

    def build(
        self,
        opcode: int,
        payload: bytes = b"",
        *,
        fin: int = 1,
        rsv: int = 0,
        masks: bool | None = None,
        length: int | None = None,
        form: int | None = None,
    ) -> bytes:
        """Return a frame, right or wrong.

        Args:
            masks: Unlike our role has it.
            length: What the header says; that of the payload unless given.
            form: See :func:`header`.
        """
        masks = self.masks if masks is None else masks
        size = len(payload) if length is None else length
        start = header(opcode, size, masks, fin=fin, rsv=rsv, form=form)
        if not masks:
            return start + payload
        key = os.urandom(4)
        return start + key + xor(payload, key)

    def send(self, data: bytes) -> None:
        """Send all of ``data``; what the target has not taken in PATIENCE seconds is an error."""
        self.sock.settimeout(PATIENCE)
        self.sock.sendall(data)

    def send_frame(self, opcode: int, payload: bytes = b"", **how: int) -> None:
        """Send a frame; see :meth:`build`."""
        self.send(self.build(opcode, payload, **how))  # type: ignore[arg-type]

    def send_close(self, code: int | None = 1000, reason: bytes = b"") -> None:
        """Send a Close."""
        self.send_frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)

    def finish(self) -> None:
        """End our direction of TCP."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End TCP with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # What comes.

    def frame(self, seconds: float = PATIENCE) -> Frame | None:
        """Return the next frame; None at the end of the connection.

        Raises:
            AssertionError: It is not as RFC 6455 wants it, or none comes in time.
            ConnectionResetError: TCP was reset.
        """
        deadline = time.monotonic() + seconds
        if not self._has(2, deadline, at_end=True):
            return None
        first, second = self._data[:2]
        fin, rsv, opcode, length = bool(first >> 7), first >> 4 & 7, first & 0xF, second & 0x7F
        reads = self.codec is not None and opcode < CLOSE
        assert reads or not rsv, f"a reserved bit is set: {bytes(self._data[:2])!r}"
        assert bool(second >> 7) is not self.masks, "a client masks, and nobody else"
        position = 2
        for short, size, least in ((126, 2, 126), (127, 8, 65536)):
            if second & 0x7F == short:
                self._has(2 + size, deadline)
                length = int.from_bytes(self._data[2 : 2 + size], "big")
                assert length >= least, f"{length} is written in {size} bytes"
                assert length < 1 << 63, "the top bit of a length is set"
                position += size
        key = b""
        if not self.masks:
            self._has(position + 4, deadline)
            key = bytes(self._data[position : position + 4])
            position += 4
        self._has(position + length, deadline)
        payload = bytes(self._data[position : position + length])
        del self._data[: position + length]
        payload = xor(payload, key) if key else payload
        if reads:
            assert self.codec is not None
            payload = self.codec.received(rsv, fin, opcode, payload)
        return self._checked(Frame(fin, opcode, payload))

    def _has(self, size: int, deadline: float, at_end: bool = False) -> bool:
        while len(self._data) < size:
            self.sock.settimeout(left(deadline))
            try:
                data = self.sock.recv(1 << 16)
            except socket.timeout:
                raise AssertionError(
                    f"nothing more came after {bytes(self._data[:99])!r}"
                ) from None
            if not data:
                if not at_end or self._data:
                    raise CutOff(f"an end within a frame: {bytes(self._data[:99])!r}")
                return False
            self._data += data
        return True

    def _checked(self, frame: Frame) -> Frame:
        fin, opcode, payload = frame
        assert opcode in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG), f"opcode {opcode}"
        if opcode >= CLOSE:
            assert fin, "a control frame is fragmented"
            assert len(payload) <= 125, f"a control frame of {len(payload)} bytes"
        elif opcode == CONTINUATION:
            assert self._fragmented is not None, "a continuation of nothing"
            if self._fragmented == TEXT:
                self._text += payload
        else:
            assert self._fragmented is None, "a message within a message"
            self._fragmented, self._text = opcode, payload
        if opcode < CLOSE and fin:
            if self._fragmented == TEXT:
                assert is_text(self._text), f"text that is not UTF-8: {self._text[:100]!r}"
            self._fragmented = None
        if opcode == CLOSE and payload:
            assert len(payload) > 1, "a Close with a body of one byte"
            code = int.from_bytes(payload[:2], "big")
            assert code in CODES, f"{code} is on the wire"
            assert is_text(payload[2:]), f"a reason that is not UTF-8: {payload!r}"
        return frame

    @property
    def has_more(self) -> bool:
        """Whether something has been read behind the last frame."""
        return bool(self._data)

    def message(self, seconds: float = PATIENCE) -> bytes:
        """Return the next message, of one frame; Pings are answered."""
        deadline = time.monotonic() + seconds
        while True:
            frame = self.frame(max(deadline - time.monotonic(), 0.001))
            assert frame is not None, "the connection ended where a message was expected"
            if frame.opcode == PING:
                self.answer(frame)
            elif frame.opcode in (TEXT, BINARY):
                assert frame.fin
                return frame.payload
            else:
                assert frame.opcode == PONG, f"{frame} where a message was expected"

    def answer(self, ping: Frame) -> None:
        """Answer a Ping."""
        if self.answers:
            self.send_frame(PONG, ping.payload)

    def end(self, seconds: float = PATIENCE) -> End:
        """Read until the connection ends, for no more than ``seconds``.

        A client that has got a Close waits for the server to end TCP, so this does that.
        """
        end = End()
        deadline = time.monotonic() + seconds
        try:
            while (frame := self.frame(max(deadline - time.monotonic(), 0.001))) is not None:
                assert end.code == 1006, f"{frame} came behind a Close"
                end.frames.append(frame)
                if frame.opcode == CLOSE:
                    body = frame.payload
                    end.code = int.from_bytes(body[:2], "big") if body else 1005
                    end.reason = body[2:].decode()
                    if not self.masks:
                        with suppress(OSError):  # It may have ended both directions.
                            self.finish()
        except ConnectionResetError:
            end.reset = True
        return end

    def echo(self, payload: bytes = b"hello", seconds: float = PATIENCE) -> None:
        """Fail unless the target sends a message back."""
        self.send_frame(TEXT, payload)
        assert self.message(seconds) == payload

    def leave(self) -> None:
        """End the connection as it should be, and check that the target does so too."""
        self.send_close()
        assert self.end().code == 1000
        self.sock.close()


def live(*wires: Wire) -> None:
    """Show the target's heartbeat that these live, however long what is done meanwhile takes."""
    for wire in wires:
        if wire.answers:
            wire.send_frame(PONG)
