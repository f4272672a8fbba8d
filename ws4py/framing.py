"""Frames (:rfc:`6455#section-5.2`): the only place that knows their bits.

``decode_header`` reads a header out of a buffer and can be called again from scratch when more
bytes have come, which is cheaper than to keep half a header. Generators decide when to wait, and
there is one way to do that: ``more``.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import islice
from struct import pack
from typing import Any, Callable, Union

from ws4py import masking
from ws4py.exc import FrameTooLargeException, ProtocolException

__all__ = ["Frame"]

OPCODE_CONTINUATION = 0x0
OPCODE_TEXT = 0x1
OPCODE_BINARY = 0x2
OPCODE_CLOSE = 0x8
OPCODE_PING = 0x9
OPCODE_PONG = 0xA

OPCODES = frozenset(
    {
        OPCODE_CONTINUATION,
        OPCODE_TEXT,
        OPCODE_BINARY,
        OPCODE_CLOSE,
        OPCODE_PING,
        OPCODE_PONG,
    }
)

#: "All control frames MUST have a payload length of 125 bytes or less" (section 5.5).
MAX_CONTROL_PAYLOAD = 125

Data = Union[bytes, bytearray]

#: The bit of a header's first byte that ends a message.
FIN = 0x80

#: The bit of a header's first byte that an extension may use; added to an opcode, it says so.
RSV1 = 0x40

#: The frames of a message: opcode, payload, and whether it is the last one.
Fragments = Generator[tuple[int, bytes, bool], None, None]


def more(wanted: int) -> Generator[int, Data | None, Data]:
    """Suspend until bytes come, and return them; meanwhile say that ``wanted`` are missing."""
    chunk: Data | None = None
    while not chunk:
        chunk = yield wanted
    return chunk


def _complaint(first: int, allowed: int = 0) -> str | None:
    opcode = first & 0x0F
    if first & 0x70 & ~allowed:
        return f"reserved bits {first >> 4 & 0b111:03b} are set and no extension was negotiated"
    if opcode not in OPCODES:
        return f"opcode {opcode:#x} is reserved"
    if opcode & 0x8 and not first & 0x80:
        return f"control frame with opcode {opcode:#x} is fragmented"
    # "MUST set the RSV1 bit of the first fragment only", and of no control frame (RFC 7692 6.1).
    if first & allowed and opcode not in (OPCODE_TEXT, OPCODE_BINARY):
        return f"RSV1 is set in a frame with opcode {opcode:#x}, which begins no message"
    return None


# What is wrong with each possible first byte, if anything: without an extension, and with one.
PLAIN = tuple(_complaint(first) for first in range(256))
COMPRESSED = tuple(_complaint(first, RSV1) for first in range(256))

Complaints = tuple[Union[str, None], ...]


#: How many bytes are missing before more can be said, FIN, opcode, payload length, masking key
#: (empty if the frame is not masked) and the index where the payload starts.
Header = tuple[int, int, int, int, bytes, int]


def decode_header(buf: bytes, pos: int, complaints: Complaints = PLAIN) -> Header:
    """Read the header that begins at ``buf[pos]``.

    What the bytes reach is set, the rest is zero. The length is 126 or 127 as long as the longer
    one that these announce has not come. RSV1, where ``complaints`` is COMPRESSED, comes with the
    opcode.

    Raises:
        ProtocolException: The header breaks :rfc:`6455#section-5.2`.
        FrameTooLargeException: The length is not one that this frame may have.
    """
    have = len(buf) - pos
    if not have:
        return 1, 0, 0, 0, b"", 0
    first = buf[pos]
    complaint = complaints[first]
    if complaint is not None:
        raise ProtocolException(complaint)
    fin, opcode = first >> 7, first & 0x4F
    if have == 1:
        return 1, fin, opcode, 0, b"", 0
    second = buf[pos + 1]
    length = second & 0x7F
    start = pos + 2
    if length > MAX_CONTROL_PAYLOAD:
        if opcode & 0x8:
            raise FrameTooLargeException(f"control frame with opcode {opcode:#x} is too long")
        size = 2 if length == 126 else 8
        if have < 2 + size:
            return 2 + size - have, fin, opcode, length, b"", start
        length = _decode_length(buf[start : start + size])
        start += size
    if not second & 0x80:
        return 0, fin, opcode, length, b"", start
    start += 4
    missing = start - len(buf)
    if missing > 0:
        return missing, fin, opcode, length, b"", start
    return 0, fin, opcode, length, buf[start - 4 : start], start


def _decode_length(field: bytes) -> int:
    length = int.from_bytes(field, "big")
    # "the minimal number of bytes MUST be used to encode the length"
    if length < (126 if len(field) == 2 else 0x10000):
        raise ProtocolException(f"length {length} is encoded in {len(field)} bytes")
    # "the most significant bit MUST be 0"
    if length >= 1 << 63:
        raise FrameTooLargeException(f"length {length:#x} has its top bit set")
    return length


#: Messages that ``take_messages`` takes at most, so that their owner gets to them soon.
AT_ONCE = 64

_from_bytes = int.from_bytes

#: Of a short masked frame: the length of its payload, that in bits, and what turns a key into a
#: keystream, see ``plain_payloads``.
Shape = tuple[int, int, int, int]


def _shape(length: int) -> Shape:
    words = -(-length // 4)
    return length, 8 * length, sum(1 << 32 * i for i in range(words + 1)), 8 * (4 * words - length)


_SHAPES = tuple(map(_shape, range(MAX_CONTROL_PAYLOAD + 1)))

# By the second byte of a header: where frames have to be masked, and where they must not be.
_MASKED = (*[None] * 0x80, *_SHAPES, None, None)
_UNMASKED = (None,) * 0x100


# A short masked frame, as clients send most, is read as one integer: its key and behind it its
# payload. The key times 1 + 2**32 + 2**64 ... is the key again and again; cut at the end and XORed
# with all of it, that clears the key and unmasks the payload. This takes 0.55 µs where slices of
# key and payload and a call of ``mask`` took 0.92.
def plain_payloads(  # noqa: C901
    buf: Data, pos: int, is_masked: bool, most: float
) -> Iterator[tuple[bool, bytes, int]]:
    """Yield of each message that is beyond doubt whether it is text, its payload, and its end.

    ``take_messages`` says which these are.
    """
    shapes, mask_bit, head = (_MASKED, 0x80, 6) if is_masked else (_UNMASKED, 0, 2)
    size = len(buf)
    last = size - 2
    while 0 <= pos <= last:
        first = buf[pos]
        is_text = first == 0x81
        if not is_text and first != 0x82:
            return
        shape = shapes[buf[pos + 1]]
        if shape is not None:
            length, bits, repeat, cut = shape
            end = pos + 6 + length
            if end > size or length > most:
                return
            both = _from_bytes(buf[pos + 2 : end], "big")
            payload = (both ^ (both >> bits) * repeat >> cut).to_bytes(length, "big")
        else:
            length = buf[pos + 1] - mask_bit
            start = pos + head
            if length == 126 and start + 2 <= size:
                length = buf[pos + 2] << 8 | buf[pos + 3]
                start += 2
                if length < 126:
                    return
            elif not 0 <= length < 126:
                return
            end = start + length
            if end > size or length > most:
                return
            part = buf[start:end]
            if is_masked:
                payload = masking.mask(part, buf[start - 4 : start])
            else:
                payload = part if type(part) is bytes else bytes(part)
        if is_text and not payload.isascii() and not _is_utf8(payload):
            return
        yield is_text, payload, end
        pos = end


def _take_messages_pure(
    buf: Data,
    pos: int,
    is_masked: bool,
    most: float,
    text: Callable[[bytes], Any],
    binary: Callable[[bytes], Any],
    /,
) -> tuple[list[Any], int]:
    messages: list[Any] = []
    for is_text, payload, end in islice(plain_payloads(buf, pos, is_masked, most), AT_ONCE):
        message = (text if is_text else binary)(payload)
        message.completed = True
        messages.append(message)
        pos = end
    return messages, pos


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


#: ``take_messages(buf, pos, is_masked, most, text, binary)`` returns a list of the messages that
#: stand in ``buf`` from ``pos`` on, in order, and where it stopped.
#:
#: It takes what is beyond doubt, ``AT_ONCE`` messages at most: data messages of one frame, which is
#: whole, has no RSV bits, is masked as ``is_masked`` says and has a payload of ``most`` bytes and
#: less than 64 KiB, which is UTF-8 if it is text. It stops at anything else, right or wrong, which
#: :func:`decode_header` then tells. It raises nothing for what a peer sends.
#:
#: ``text`` and ``binary`` are called with the payload of a message to make it; its ``completed`` is
#: set to True. That is done without a call for a class that is its own ``_bare``, which a subclass
#: does not inherit: its ``__init__``, given bytes, does nothing but set ``data``.
take_messages = _take_messages_pure if masking.speedups is None else masking.speedups.take_messages


def encode_header(fin: int, opcode: int, length: int, key: bytes = b"", rsv: int = 0) -> bytes:
    """Return a header; ``key`` is the masking key if there is one, ``rsv`` the three RSV bits."""
    first = fin << 7 | rsv << 4 | opcode
    masked = 0x80 if key else 0
    if length < 126:
        return bytes((first, masked | length)) + key
    if length < 0x10000:
        return pack("!BBH", first, masked | 126, length) + key
    return pack("!BBQ", first, masked | 127, length) + key


def _heads(first: int, mask_bit: int) -> tuple[bytes, ...]:
    """Return the first two bytes of short frames, by their payload's length."""
    return tuple(bytes((first, mask_bit | n)) for n in range(MAX_CONTROL_PAYLOAD + 1))


#: The headers of short unmasked frames, by their payload's length.
TEXT_HEADS, BINARY_HEADS = _heads(FIN | OPCODE_TEXT, 0), _heads(FIN | OPCODE_BINARY, 0)
_PLAIN_HEADS = {FIN | OPCODE_TEXT: TEXT_HEADS, FIN | OPCODE_BINARY: BINARY_HEADS}
_MASKED_HEADS = {first: _heads(first, 0x80) for first in _PLAIN_HEADS}


# Looking headers up takes a short frame from 0.26 to 0.09 µs, from 0.67 to 0.37 if it is masked.
def _encode_frame_pure(first: int, payload: Data, key: bytes = b"", /) -> bytes:
    length = len(payload)
    if length <= MAX_CONTROL_PAYLOAD and first in _PLAIN_HEADS:
        if not key:
            return _PLAIN_HEADS[first][length] + payload
        if len(key) == 4:
            _, bits, repeat, cut = _SHAPES[length]
            both = _from_bytes(key + payload, "big")
            masked = (both ^ (both >> bits) * repeat >> cut).to_bytes(length, "big")
            return _MASKED_HEADS[first][length] + key + masked
    if not 0 <= first <= 0xFF:
        raise ValueError(f"the first byte of a header is 0 to 255 and not {first}")
    header = encode_header(first >> 7, first & 0x7F, length, key)
    return header + (masking.mask(payload, key) if key else payload)


#: ``encode_frame(first, payload, key=b"")`` returns a whole frame: ``first`` is the first byte of
#: its header (FIN, RSV bits, opcode), ``key`` the masking key if it is to be masked.
#:
#: It raises ValueError if ``first`` is no byte, or the key has neither four bytes nor none.
encode_frame = _encode_frame_pure if masking.speedups is None else masking.speedups.encode_frame


class Uncompressed:
    """A message that is to be compressed, and becomes a frame when it is its turn."""

    __slots__ = ("opcode", "payload")

    def __init__(self, opcode: int, payload: bytes) -> None:
        self.opcode = opcode
        self.payload = payload

    def __len__(self) -> int:
        return len(self.payload)


#: A frame, or what becomes one.
Sendable = Union[bytes, Uncompressed]


def is_control(item: Sendable) -> bool:
    """Say whether ``item`` is a Close, a Ping or a Pong."""
    return isinstance(item, bytes) and bool(item[0] & 0x8)


class Frame:
    """One frame, to be built or to be parsed.

    Args:
        opcode: One of the OPCODE constants of this module.
        body: The payload; still masked in a frame that was parsed, see :meth:`unmask`.
        masking_key: Four bytes, or None for a frame that is not masked.
        fin: 1 in the last frame of a message, else 0.
        rsv1: The first reserved bit, 0 or 1.
        rsv2: The second.
        rsv3: The third.

    Raises:
        TypeError: ``body`` is not bytes.
    """

    def __init__(
        self,
        opcode: int | None = None,
        body: bytes = b"",
        masking_key: bytes | None = None,
        fin: int = 0,
        rsv1: int = 0,
        rsv2: int = 0,
        rsv3: int = 0,
    ) -> None:
        if not isinstance(body, bytes):
            raise TypeError(f"the body of a frame is bytes and not {type(body).__name__}")
        self.opcode = opcode
        self.body = body
        self.masking_key = masking_key
        self.fin = fin
        self.rsv1 = rsv1
        self.rsv2 = rsv2
        self.rsv3 = rsv3
        self.payload_length = len(body)
        self._parser: Generator[int, Data | None, bytes] | None = None

    @property
    def parser(self) -> Generator[int, Data | None, bytes]:
        """The generator that fills this frame from the bytes it is sent.

        ``send(data)`` returns how many bytes are wanted next, 0 once the frame is complete. The
        ``next`` after that ends it, with what was sent beyond the frame as StopIteration's value.

        Raises (out of ``send``):
            ProtocolException: The header breaks :rfc:`6455#section-5.2`.
            FrameTooLargeException: The length is not one that this frame may have.
        """
        if self._parser is None:
            self._parser = self._parsing()
            next(self._parser)
        return self._parser

    def _parsing(self) -> Generator[int, Data | None, bytes]:
        missing, buf = 1, b""
        while missing:
            buf += yield from more(missing)
            missing, self.fin, self.opcode, self.payload_length, key, start = decode_header(buf, 0)
        self.masking_key = key or None
        length = self.payload_length
        body = bytearray(buf[start:])
        while len(body) < length:
            body += yield from more(length - len(body))
        self.body = bytes(body[:length])
        late = yield 0
        return bytes(body[length:]) + (late or b"")

    def _cleanup(self) -> None:
        if self._parser is not None:
            self._parser.close()
            self._parser = None

    def build(self) -> bytes:
        """Return the bytes of this frame (:rfc:`6455#section-5.2`).

        Raises:
            ValueError: A flag is not 0 or 1, the opcode is reserved, or the key is not 4 bytes.
            FrameTooLargeException: The payload's length needs more than 63 bits.
        """
        for name in ("fin", "rsv1", "rsv2", "rsv3"):
            if getattr(self, name) not in (0, 1):
                raise ValueError(f"{name} is 0 or 1 and not {getattr(self, name)!r}")
        if self.opcode is None or self.opcode not in OPCODES:
            raise ValueError(f"opcode {self.opcode!r} is reserved")
        if self.payload_length >= 1 << 63:
            raise FrameTooLargeException(f"no frame can carry {self.payload_length} bytes")
        key = self.masking_key or b""
        if len(key) not in (0, 4):
            raise ValueError(f"a masking key is 4 bytes long and not {len(key)}")
        rsv = self.rsv1 << 2 | self.rsv2 << 1 | self.rsv3
        header = encode_header(self.fin, self.opcode, len(self.body), key, rsv)
        return header + (self.mask(self.body) if key else self.body)

    def mask(self, data: Data) -> bytearray:
        """Return ``data`` XORed with the masking key (:rfc:`6455#section-5.3`).

        Raises:
            ValueError: This frame has no masking key.
        """
        if not self.masking_key:
            raise ValueError("a frame without a masking key cannot mask")
        return bytearray(masking.mask(data, self.masking_key))

    unmask = mask
