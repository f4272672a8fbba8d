"""Stream: from bytes to messages, control messages and errors.

One generator parses whatever chunk it is sent. It suspends when its bytes run dry, and with 0 at
every message, so that its owner takes one thing at a time and the order of the wire is kept. A
frame that stands whole in the bytes becomes a message at once, short ones many at a time; what has
come of a longer one is unmasked, validated and appended to its message, so the stream never holds
a payload twice, and what cannot become UTF-8 is refused before the frame ends.
"""

from __future__ import annotations

from collections.abc import Generator
from math import inf
from typing import Any, Optional, Union

from ws4py.deflate import Inflater
from ws4py.exc import (
    FrameTooLargeException,
    InvalidBytesError,
    ProtocolException,
    StreamClosed,
    TextFrameEncodingException,
    WebSocketException,
)
from ws4py.framing import (
    COMPRESSED,
    OPCODE_CLOSE,
    OPCODE_CONTINUATION,
    OPCODE_PING,
    OPCODE_TEXT,
    PLAIN,
    RSV1,
    Data,
    decode_header,
    more,
    take_messages,
)
from ws4py.limits import Limits
from ws4py.masking import mask
from ws4py.messaging import (
    NO_STATUS,
    BinaryMessage,
    CloseControlMessage,
    Payload,
    PingControlMessage,
    PongControlMessage,
    TextMessage,
)
from ws4py.utf8validator import Utf8Validator

OurValidator = Utf8Validator

__all__ = ["Stream"]

#: What a peer may send as a close code, besides 3000 to 4999 (the IANA registry of
#: :rfc:`6455#section-11.7`).
VALID_CLOSING_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014]

DataMessage = Union[TextMessage, BinaryMessage]
Wait = Generator[int, Optional[Data], bytes]

#: Pieces of a message that are inflated before others have their turn.
_PIECES = 16


def is_valid_closing_code(code: int) -> bool:
    """Say whether ``code`` may stand in a Close frame (:rfc:`6455#section-7.4.2`)."""
    return code in VALID_CLOSING_CODES or 3000 <= code <= 4999


def check_closing_code(code: int | None) -> None:
    """See to it that a Close frame can have this code, or, with None or 1005, be empty.

    Raises:
        ValueError: It cannot.
    """
    if not (code is None or code == NO_STATUS or is_valid_closing_code(code)):
        raise ValueError(f"{code} is not a code that a Close frame can have")


class _ListAtNeed:
    """An attribute that becomes a list when it is first asked for: most connections never do."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        made: list[Any] = []
        setattr(instance, self._name, made)
        return made


class Stream:
    """What is parsed out of a peer's bytes, and how answers are built.

    Args:
        always_mask: Mask the frames that are built, as a client has to.
        expect_masking: Whether the peer's frames have to be masked, as a client's have to, or
            must not be.

    Attributes:
        message: The data message that is being received, or has been received and not yet taken:
            set this to None to take it.
        pings: A list of the Pings that were received.
        pongs: A list of the Pongs that were received.
        closing: The peer's :class:`CloseControlMessage`; its ``reason`` is bytes.
        errors: At most one :class:`CloseControlMessage`: how the peer broke the protocol.
        limits: A :class:`ws4py.limits.Limits`.
        inflater: What inflates the peer's messages, if that was negotiated (:rfc:`7692`).
        unread: How many bytes the parser holds and has not looked at, and how many messages it has
            parsed together with ``message``; while it inflates, 1.

    All of these but the last one may be set at any time; they are read whenever bytes are looked
    at, which short messages that come together are at once.
    """

    limits = Limits()
    pings: list[PingControlMessage] = _ListAtNeed()  # type: ignore[assignment]
    pongs: list[PongControlMessage] = _ListAtNeed()  # type: ignore[assignment]
    errors: list[CloseControlMessage] = _ListAtNeed()  # type: ignore[assignment]

    __slots__ = ("__dict__", "__weakref__", "_rests", "always_mask", "expect_masking", "message")

    def __init__(self, always_mask: bool = False, expect_masking: bool = True) -> None:
        self.message: DataMessage | None = None
        self.closing: CloseControlMessage | None = None
        self.always_mask = always_mask
        self.expect_masking = expect_masking
        self.inflater: Inflater | None = None
        self.unread = 0
        self._partial: DataMessage | None = None
        self._fragments = self._size = 0
        # The parser waits for a new message, and holds nothing: who finds some may take them. None
        # while somebody does, and nobody else has used the parser.
        self._rests: bool | None = False
        self._inflating: Inflater | None = None
        # Made for the first text that does not come whole.
        self._validator: Any = None
        self._takes_many = Utf8Validator is OurValidator
        self._parser: Generator[int, Data | None, None] | None = self.receiver()
        next(self._parser)

    @property
    def parser(self) -> Generator[int, Data | None, None]:
        """The primed generator that parses.

        ``send(data)`` returns how many bytes are missing, or 0 when a message, a control message
        or an error is there to be taken; resume it then with ``next``. While it inflates a large
        message, it returns 0 now and then too, so that others have their turn. A message that is
        not taken is never overwritten: the parser stays at 0 in front of the next one.

        Raises:
            StreamClosed: The stream has been cleaned up.
        """
        if self._parser is None:
            raise StreamClosed("this stream has been cleaned up")
        return self._parser

    @property
    def has_message(self) -> bool:
        """Whether ``message`` is there and complete."""
        return self.message is not None and self.message.completed

    def receiver(self) -> Generator[int, Data | None, None]:  # noqa: C901 - the hot path
        """Parse until the peer closes or breaks the protocol, and swallow what follows."""
        buf, pos = b"", 0
        try:
            while True:
                limits = self.limits
                if (
                    self._partial is None
                    and self.message is None
                    and self._takes_many
                    and limits.max_fragments != 0
                ):
                    most = limits.max_message_size
                    messages, pos = take_messages(
                        buf, pos, self.expect_masking, inf if most is None else most,
                        TextMessage, BinaryMessage,
                    )  # fmt: skip
                    if messages:
                        if pos == len(buf):
                            buf, pos = b"", 0
                        messages.reverse()
                        self.message = messages.pop()
                        while True:
                            self.unread = len(buf) - pos + len(messages)
                            self._rests = not self.unread
                            late = yield 0
                            self._rests = False
                            if late:
                                buf, pos = buf[pos:] + late, 0
                                late = None
                            if not messages:
                                break
                            if self.message is None:
                                self.message = messages.pop()
                        continue
                    del messages
                missing, fin, opcode, length, key, start = decode_header(
                    buf, pos, PLAIN if self.inflater is None else COMPRESSED
                )
                end = start + length
                if not missing:
                    if (not key) is self.expect_masking:
                        raise ProtocolException(f"a frame is {'masked' if key else 'not masked'}")
                    if opcode & 0x8:
                        missing = end - len(buf)
                if missing > 0:
                    buf, pos = buf[pos:], 0
                    self._rests = (
                        not buf
                        and self._partial is None
                        and self.message is None
                        and self._takes_many
                    )
                    buf += (yield missing) or b""
                    self._rests = False
                    continue
                if opcode & 0x8:
                    self._control(opcode, mask(buf[start:end], key) if key else buf[start:end])
                    if self.closing is not None:
                        break
                    pos = end
                elif self._partial is None and self.message is not None:
                    pass  # That one has not been taken: this frame waits.
                else:
                    self._admit(opcode, length)
                    if end > len(buf):
                        rest = self._long(opcode, fin, length, key, buf[start:])
                        buf, pos = b"", 0
                        buf = yield from rest
                        del rest
                    elif self._inflating is not None:
                        pieces = self._inflate(
                            self._inflating,
                            opcode,
                            mask(buf[start:end], key) if key else buf[start:end],
                            fin,
                        )
                        meanwhile = yield from pieces
                        buf, pos = (buf[end:] + meanwhile, 0) if meanwhile else (buf, end)
                        del pieces, meanwhile
                    else:
                        self._add(opcode, mask(buf[start:end], key) if key else buf[start:end], fin)
                        pos = end
                if self._partial is not None and not opcode & 0x8:
                    continue
                self.unread = len(buf) - pos
                if not self.unread:
                    buf, pos = b"", 0
                    self._rests = self._partial is None and self._takes_many
                late = yield 0
                self._rests = False
                if late:
                    buf = buf[pos:] + late
                    late, pos = None, 0  # While it waits, it keeps nothing that it has parsed.
        except WebSocketException as error:
            self.errors.append(CloseControlMessage(error.code, str(error)))
        buf = b""
        if self._partial is not None:
            self._partial = self.message = None
        self.inflater = self._inflating = None
        self.unread = 0
        yield 0
        while True:
            yield 1

    def _long(self, opcode: int, fin: int, length: int, key: bytes, chunk: bytes) -> Wait:
        """Take a payload that has not come whole, as it comes; return what follows it."""
        while True:
            piece, chunk = chunk[:length], chunk[length:]
            length -= len(piece)
            turn, last = len(piece) % 4, fin and not length
            piece = mask(piece, key) if key else piece
            if self._inflating is None:
                self._add(opcode, piece, last)
            else:
                chunk += yield from self._inflate(self._inflating, opcode, piece, last)
            if not length:
                return chunk
            key = key[turn:] + key[:turn]
            del piece
            chunk = chunk or bytes((yield from more(length)))

    def _inflate(self, inflater: Inflater, opcode: int, payload: bytes, last: int) -> Wait:
        """Add what a part of a compressed message inflates to; return what comes meanwhile."""
        late = held = b""
        most = self.limits.max_message_size
        for number, piece in enumerate(inflater.decode(payload, bool(last)), 1):
            self._size += len(piece)
            if most is not None and self._size > most:
                raise self._too_large(most)
            if number > 1:
                self._add(opcode & ~RSV1, held, 0)
            held = piece
            if not number % _PIECES:
                self.unread = 1  # or more: how much it will be is not known
                late += (yield 0) or b""
                self.unread = 0
        self._add(opcode & ~RSV1, held, last)
        if last:
            self._inflating = None
        return late

    def _admit(self, opcode: int, length: int) -> None:
        """Judge a data frame by its header, before any of its payload is kept."""
        limits = self.limits
        if self._partial is None:
            if opcode == OPCODE_CONTINUATION:
                raise ProtocolException("a continuation frame continues no message")
            self._fragments, self._size = 1, length
            if opcode >= RSV1:  # Then the header does not say how much it is.
                self._inflating, self._size = self.inflater, 0
        else:
            if opcode != OPCODE_CONTINUATION:
                raise ProtocolException("a message begins within a fragmented one")
            self._fragments += 1
            if self._inflating is None:
                self._size += length
        most = limits.max_fragments
        if most is not None and self._fragments > most:
            raise ProtocolException(f"a message has more than {most} fragments", code=1008)
        most = limits.max_message_size
        if most is not None and self._size > most:
            raise self._too_large(most)

    def _too_large(self, most: int) -> FrameTooLargeException:
        return FrameTooLargeException(
            f"a message of {self._size} bytes or more, where {most} are accepted", code=1009
        )

    def _add(self, opcode: int, payload: bytes, last: int) -> None:
        """Add unmasked bytes to the message, which they complete if they are the last."""
        message = self._partial
        if message is not None:
            message.extend(payload)
        elif opcode == OPCODE_TEXT:
            message = TextMessage(payload)
        else:
            message = BinaryMessage(payload)
        if message.is_text:
            self._validate(payload, last)
        message.completed = bool(last)
        self._partial = None if last else message
        self.message = message

    def _validate(self, payload: bytes, last: int) -> None:
        if self._validator is None:
            self._validator = Utf8Validator()
        valid, whole, at, _ = self._validator.validate(payload)
        if not valid:
            raise TextFrameEncodingException(f"text is not UTF-8 at {payload[at : at + 4]!r}")
        if last and not whole:
            raise TextFrameEncodingException("text ends within a UTF-8 character")

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == OPCODE_PING:
            self.pings.append(PingControlMessage(payload))
        elif opcode == OPCODE_CLOSE:
            self.closing = _parse_close(payload)
        else:
            self.pongs.append(PongControlMessage(payload))

    def text_message(self, text: Payload) -> TextMessage:
        """Return a :class:`TextMessage` with ``text``."""
        return TextMessage(text)

    def binary_message(self, bytes: Payload) -> BinaryMessage:  # noqa: A002
        """Return a :class:`BinaryMessage` with ``bytes``."""
        return BinaryMessage(bytes)

    def close(self, code: int = 1000, reason: Payload = "") -> CloseControlMessage:
        """Return a :class:`CloseControlMessage`, to be built with ``single(mask=…)``."""
        return CloseControlMessage(code, reason)

    def ping(self, data: Payload = "") -> bytes:
        """Return the bytes of a Ping frame.

        Raises:
            ValueError: ``data`` has more than 125 bytes.
        """
        return PingControlMessage(data).single(self.always_mask)

    def pong(self, data: Payload = "") -> bytes:
        """Return the bytes of a Pong frame.

        Raises:
            ValueError: ``data`` has more than 125 bytes.
        """
        return PongControlMessage(data).single(self.always_mask)

    def _cleanup(self) -> None:
        """Drop everything; ``closing`` stays."""
        if self._parser is not None:
            self._parser.close()
        self._parser = self.message = self._partial = self.inflater = self._inflating = None
        self.pings, self.pongs, self.errors = [], [], []


def _parse_close(payload: bytes) -> CloseControlMessage:
    """Read the body of a Close frame (:rfc:`6455#section-5.5.1`)."""
    if not payload:
        return CloseControlMessage(NO_STATUS, b"")
    if len(payload) == 1:
        raise ProtocolException("a Close frame has a body of one byte")
    code = int.from_bytes(payload[:2], "big")
    if not is_valid_closing_code(code):
        raise ProtocolException(f"close code {code} is not allowed in a Close frame")
    try:
        payload[2:].decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidBytesError("the reason of a Close frame is not UTF-8") from error
    return CloseControlMessage(code, payload[2:])
