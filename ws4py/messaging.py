"""Messages (:rfc:`6455#section-5.6`): what applications send and receive."""

from __future__ import annotations

from os import urandom
from struct import pack
from typing import TYPE_CHECKING, Any, Union

from ws4py.framing import (
    MAX_CONTROL_PAYLOAD,
    OPCODE_BINARY,
    OPCODE_CLOSE,
    OPCODE_CONTINUATION,
    OPCODE_PING,
    OPCODE_PONG,
    OPCODE_TEXT,
    Frame,
)

__all__ = [
    "BinaryMessage",
    "CloseControlMessage",
    "Message",
    "PingControlMessage",
    "PongControlMessage",
    "TextMessage",
]

Payload = Union[str, bytes, bytearray]

_bytes = bytes  # where a parameter has its name

#: Bytes from which on a piece of a message is kept as it is, until all are joined.
_LARGE = 16 * 1024

#: Close codes that only stand for something that no peer sent (:rfc:`6455#section-7.4.1`).
NO_STATUS, ABNORMAL = 1005, 1006


class Message:
    """A message of one kind, whole or still growing.

    Args:
        opcode: Its kind, one of the OPCODE constants of ``framing``.
        data: Its payload; a str is encoded.
        encoding: How str is encoded; None where there can be no str.

    Raises:
        TypeError: ``data`` is neither str, bytes nor bytearray, or a str without an encoding.
    """

    __slots__ = ("__dict__", "__weakref__", "_pieces", "completed", "data")

    #: Whether the frame with the FIN bit has come.
    completed: bool
    #: The payload.
    data: bytes
    # What it is made of, while it grows and there is no ``data``; short pieces are joined.
    _pieces: list[bytes | bytearray] | None

    def __init__(self, opcode: int, data: Payload = b"", encoding: str | None = "utf-8") -> None:
        self.opcode = opcode
        self.encoding = encoding
        self.completed = False
        self.data = data if type(data) is bytes else self._encode(data)

    def _encode(self, data: Payload) -> bytes:
        if isinstance(data, (bytes, bytearray)):
            return bytes(data)
        if not isinstance(data, str):
            raise TypeError(f"a payload is str, bytes or bytearray and not {type(data).__name__}")
        if self.encoding is None:
            raise TypeError(f"{type(self).__name__} has no encoding for a str")
        return data.encode(self.encoding)

    if not TYPE_CHECKING:  # which would take any name for one that is there

        def __getattr__(self, name: str) -> bytes:
            if name != "data":
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            pieces = self._pieces
            if pieces is not None:  # else another thread has just joined them
                self.data = b"".join(pieces)
                self._pieces = None
            return _data_of(self)

    def extend(self, data: Payload) -> None:
        """Append ``data`` to the payload; a str is encoded.

        Raises:
            TypeError: ``data`` is neither str, bytes nor bytearray.
        """
        piece = self._encode(data)
        pieces = self._growing()
        last = pieces[-1]
        if len(piece) >= _LARGE:
            pieces.append(piece)
        elif isinstance(last, bytearray):
            last += piece
        else:
            pieces.append(bytearray(piece))

    def _growing(self) -> list[bytes | bytearray]:
        """Return the pieces, which there are in place of ``data`` from now on."""
        try:
            self._pieces = [_data_of(self)]
            del self.data
        except AttributeError:
            pass  # It grows already.
        return self._pieces  # type: ignore[return-value]

    def single(self, mask: bool = False) -> bytes:
        """Return the message as one frame, masked with a new random key if ``mask`` is true."""
        return self._frame(self.opcode, 1, mask)

    def fragment(self, first: bool = False, last: bool = False, mask: bool = False) -> bytes:
        """Return the payload as one frame of a fragmented message (:rfc:`6455#section-5.4`).

        The ``first`` one has the message's opcode and the ``last`` one the FIN bit; it is masked
        with a new random key if ``mask`` is true.
        """
        return self._frame(self.opcode if first else OPCODE_CONTINUATION, int(last), mask)

    def _frame(self, opcode: int, fin: int, mask: bool) -> bytes:
        return Frame(opcode, self.data, urandom(4) if mask else None, fin).build()

    def __len__(self) -> int:
        """Count the characters of a text, the bytes of anything else."""
        return len(str(self))

    def __str__(self) -> str:
        return self.data.decode(self.encoding or "latin-1")

    def __unicode__(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        shown = self.data[:60]
        return f"<{type(self).__name__} {shown!r}{'…' if len(self.data) > len(shown) else ''}>"


#: Returns ``data`` of a message, if it is not in pieces.
_data_of: Any = Message.__dict__["data"].__get__


class TextMessage(Message):
    """A text message; ``str(message)`` is its text.

    Raises:
        TypeError: ``text`` is neither str, bytes nor bytearray.
    """

    is_text = True
    is_binary = False
    opcode = OPCODE_TEXT
    encoding = "utf-8"
    _bare: type  # see framing.take_messages

    def __init__(self, text: Any = None) -> None:
        self.completed = False
        self.data = text if type(text) is bytes else self._encode(text)


TextMessage._bare = TextMessage


class BinaryMessage(Message):
    """A binary message; its bytes are in ``data``.

    Raises:
        TypeError: ``bytes`` is neither bytes nor bytearray.
    """

    is_text = False
    is_binary = True
    opcode = OPCODE_BINARY
    encoding = None
    _bare: type  # see framing.take_messages

    def __init__(self, bytes: Any = None) -> None:  # noqa: A002
        self.completed = False
        self.data = bytes if type(bytes) is _bytes else self._encode(bytes)

    def __len__(self) -> int:
        return len(self.data)

    __str__ = Message.__repr__


BinaryMessage._bare = BinaryMessage


class CloseControlMessage(Message):
    """A Close frame (:rfc:`6455#section-5.5.1`).

    Args:
        code: The close code; with a false one, or 1005, the frame is empty.
        reason: Why; cut to the 123 bytes that a Close frame has room for, at a character.

    Raises:
        ValueError: ``code`` does not fit into two bytes.
        TypeError: ``reason`` is neither str, bytes nor bytearray.
    """

    def __init__(self, code: int | None = 1000, reason: Payload | None = "") -> None:
        super().__init__(OPCODE_CLOSE)
        self.completed = True
        _check_code(code)
        self.code = code
        self.reason: bytes | None = None
        if reason is not None:
            self.reason = _cut(self._encode(reason), MAX_CONTROL_PAYLOAD - 2)
        if code and code != NO_STATUS:
            self.data = pack("!H", code) + (self.reason or b"")

    def __str__(self) -> str:
        return (self.reason or b"").decode("utf-8", "replace")


def _check_code(code: Any) -> None:
    if code and not (isinstance(code, int) and 0 < code < 1 << 16):
        raise ValueError(f"close code {code!r} does not fit into two bytes")


class _Probe(Message):
    def __init__(self, opcode: int, data: Any) -> None:
        super().__init__(opcode, data)
        self.completed = True
        if len(self.data) > MAX_CONTROL_PAYLOAD:
            raise ValueError(
                f"a control frame carries {MAX_CONTROL_PAYLOAD} bytes and not {len(self.data)}"
            )

    def __str__(self) -> str:
        return self.data.decode("utf-8", "replace")


class PingControlMessage(_Probe):
    """A Ping frame (:rfc:`6455#section-5.5.2`).

    Raises:
        ValueError: ``data`` is longer than the 125 bytes that a control frame carries.
    """

    def __init__(self, data: Any = None) -> None:
        super().__init__(OPCODE_PING, data)


class PongControlMessage(_Probe):
    """A Pong frame (:rfc:`6455#section-5.5.3`).

    Raises:
        ValueError: ``data`` is longer than the 125 bytes that a control frame carries.
    """

    def __init__(self, data: Any) -> None:
        super().__init__(OPCODE_PONG, data)


def _cut(text: bytes, size: int) -> bytes:
    """Return at most ``size`` bytes of ``text``, without a broken character at the end."""
    if len(text) <= size:
        return text
    while size and text[size] & 0xC0 == 0x80:
        size -= 1
    return text[:size]
