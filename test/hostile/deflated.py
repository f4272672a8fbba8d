"""What attacks on compression share: terms to agree on, and messages that are read strictly."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from test.deflate_blocks import TAIL
from test.hostile import SERVER, Target
from test.hostile.wire import CONTINUATION, TEXT, Wire

#: The reserved bit that says that a message is compressed: the highest of the three.
COMPRESSED = 4
LARGEST = 15
#: Bytes that are inflated at once: no more of what came before can be referred to than is allowed,
#: and these.
PIECE = 256
#: A block of nothing, that ends a stream.
LAST_BLOCK = b"\1\0\0\xff\xff"


class Direction(NamedTuple):
    """What was agreed on for the messages of one side.

    Attributes:
        bits: How far back they may refer: the base-2 logarithm of bytes.
        anew: Whether none may refer to one before it.
    """

    bits: int = LARGEST
    anew: bool = False


def element(target: Target, ours: Direction, theirs: Direction) -> str:
    """Return what is offered to a server, or answered to a client, to have these terms."""
    sides = ("client", "server") if target.role == SERVER else ("server", "client")
    parts = ["permessage-deflate"]
    for side, direction in zip(sides, (ours, theirs)):
        if direction.anew:
            parts.append(f"{side}_no_context_takeover")
        if direction.bits != LARGEST:
            parts.append(f"{side}_max_window_bits={direction.bits}")
    return "; ".join(parts)


def direction(extension: str, side: str) -> Direction:
    """Return what an answer says of the messages of a side: "client" or "server"."""
    name, *parameters = extension.split("; ")
    assert name == "permessage-deflate", f"{extension!r} was answered"
    given = dict(each.partition("=")[::2] for each in parameters)
    assert len(given) == len(parameters), f"{extension!r} repeats a parameter"
    bits = given.get(f"{side}_max_window_bits", str(LARGEST))
    assert bits in map(str, range(8, 16)), extension
    return Direction(int(bits), f"{side}_no_context_takeover" in given)


class Codec:
    """Compresses messages for a target, and inflates its own, which have to be right.

    Args:
        ours, theirs: What was agreed on for each side.
    """

    def __init__(self, ours: Direction, theirs: Direction) -> None:
        self.ours, self.theirs = ours, theirs
        #: How many compressed messages have come.
        self.count = 0
        self._compressor: zlib._Compress | None = None
        self._decompressor: zlib._Decompress | None = None
        self._inflates = False

    def deflate(self, payload: bytes, fin: bool = True) -> bytes:
        """Compress a message, or a fragment."""
        if self._compressor is None:
            self._compressor = zlib.compressobj(wbits=-self.ours.bits)
        data = self._compressor.compress(payload) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        if not fin:
            return data
        if self.ours.anew:
            self._compressor = None
        return data[: -len(TAIL)] or b"\0"

    def received(self, rsv: int, fin: bool, opcode: int, payload: bytes) -> bytes:
        """Inflate what has come; see :class:`test.hostile.wire.Codec`."""
        assert rsv in (0, COMPRESSED), f"the reserved bits are {rsv:03b}"
        if opcode == CONTINUATION:
            assert not rsv, "RSV1 is set in a continuation"
        else:
            self._inflates = bool(rsv)
            self.count += self._inflates
        return self._inflate(payload, fin) if self._inflates else payload

    def _inflate(self, payload: bytes, fin: bool) -> bytes:
        if self._decompressor is None:
            self._decompressor = zlib.decompressobj(-self.theirs.bits)
        try:
            data = b"".join(_pieces(self._decompressor, payload + (TAIL if fin else b"")))
            if fin:
                end = self._decompressor.copy()
                assert end.decompress(LAST_BLOCK) == b"", "a message ends within a block"
                assert end.eof, "a message ends within a block"
        except zlib.error as error:
            raise AssertionError(f"{payload[:99]!r} is not DEFLATE: {error}") from error
        if fin and self.theirs.anew:
            self._decompressor = None
        return data


def _pieces(decompressor: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    piece = b""
    while data or len(piece) == PIECE:
        piece = decompressor.decompress(data, PIECE)
        data = decompressor.unconsumed_tail
        yield piece


#: The terms that most attacks ask for: those of who has no wishes.
PLAIN = Direction()


class Compressing(Wire):
    """A connection on which messages may be compressed, behind its opening handshake.

    Args:
        wire: The same connection, on which nothing has been read yet.
    """

    codec: Codec

    def __init__(self, wire: Wire, codec: Codec) -> None:
        super().__init__(wire.sock, wire.masks, bytes(wire._data))
        self.extensions, self.codec = wire.extensions, codec

    def send_message(self, payload: bytes, opcode: int = TEXT, parts: int = 1) -> None:
        """Send a message compressed, in so many fragments."""
        self.send(self.message_of(payload, opcode, parts))

    def message_of(self, payload: bytes, opcode: int = TEXT, parts: int = 1) -> bytes:
        """Return the frames of a message that is compressed, in so many fragments."""
        size = -(-len(payload) // parts) or 1
        starts = range(0, size * parts, size)
        data = [self.codec.deflate(payload[at : at + size], at == starts[-1]) for at in starts]
        return self.frames(data, opcode)

    def frames(self, data: list[bytes], opcode: int = TEXT, fin: int = 1) -> bytes:
        """Return the frames of a message, given their payloads; ``fin`` is that of the last one."""
        last = len(data) - 1
        return b"".join(
            self.build(
                CONTINUATION if number else opcode,
                part,
                fin=fin if number == last else 0,
                rsv=0 if number else COMPRESSED,
            )
            for number, part in enumerate(data)
        )

    def compressed_echo(self, payload: bytes = b"hello" * 100, opcode: int = TEXT) -> None:
        """Fail unless a message that is sent compressed comes back."""
        self.send_message(payload, opcode)
        assert self.message() == payload


def compressing(
    target: Target, ours: Direction = PLAIN, theirs: Direction = PLAIN, path: str = "/"
) -> Compressing:
    """Return a connection on which these terms, or stricter ones, were agreed on."""
    wire = target.open(path=path, extensions=element(target, ours, theirs))
    sides = ("client", "server") if target.role == SERVER else ("server", "client")
    return Compressing(wire, Codec(*(direction(wire.extensions, side) for side in sides)))
