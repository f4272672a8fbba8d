"""Streams for the fuzz: conversations as one peer sends them, most with a fault.

A stream is made from its seed and its number alone, so that any of them can be
made again without the ones before it. The writer knows the frame format and
nothing of what a receiver should think of a stream: that is for the reference
parser to say. A "fault" here is an intention; combined with a limit, a
truncation or a fragment before it, it may well turn out to be another one.
"""

from __future__ import annotations

import random
from typing import Callable, NamedTuple

from .compress import Compressor
from .reference import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Deflate, Rules, unmask

DEFAULT_MAX_MESSAGE_SIZE = 16 * 2**20
SMALL_MAX_MESSAGE_SIZE = 1000
MAX_MESSAGE_SIZES = (None, DEFAULT_MAX_MESSAGE_SIZE, 0, 125, 126) + (SMALL_MAX_MESSAGE_SIZE,) * 10
SMALL_MAX_FRAGMENTS = 8
BYTEWISE_UP_TO = 2000
RSV1 = 4

CLOSE_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014)
BAD_CLOSE_CODES = (
    0,
    1,
    999,
    1004,
    1005,
    1005,
    1005,
    1006,
    1015,
    1016,
    1100,
    2000,
    2999,
    5000,
    65535,
)

ALPHABET = "az~\x00\x7f\x80\u07ff\u0800\u20ac\ud7ff\ue000\uffff\U00010000\U0001f600\U0010ffff"
BAD_UTF8: dict[str, tuple[bytes, ...]] = {
    "overlong": (b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf"),
    "surrogate": (b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xae\x80\xed\xb0\x80"),
    "beyond": (b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf7\xbf\xbf\xbf"),
    "stray tail": (b"\x80", b"\xbf", b"\xc3\xa9\xa9", b"\xf0\x9f\x98\x80\x80"),
    "bad tail": (b"\xc3(", b"\xe2\x82(", b"\xe2(\xac", b"\xf0\x9f\x98a", b"\xf0\x9f\xc3\xa9"),
    "bad byte": (b"\xf8\x88\x80\x80\x80", b"\xfe", b"\xff", b"\xfc\x84\x80\x80\x80\x80"),
    "truncated": (b"\xc3", b"\xe2", b"\xe2\x82", b"\xf0", b"\xf0\x9f", b"\xf0\x9f\x98"),
}


class Case(NamedTuple):
    """A stream, who reads it under which rules, and how it is cut into chunks."""

    seed: int
    number: int
    rules: Rules
    intention: str
    data: bytes
    chunking: str
    chunks: list[bytes]


def make_case(seed: int, number: int) -> Case:
    """Make stream ``number`` of the campaign ``seed``."""
    rng = random.Random(f"{seed}/{number}")
    rules = make_rules(rng)
    writer = Writer(rng, rules)
    intention = rng.choice(INTENTIONS if rules.deflate is None else INTENTIONS_OF_COMPRESSED)
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
        writer.write_something()
    if intention in ALL_FAULTS:
        if rng.random() < 0.2:
            writer.frame(rng.choice((TEXT, BINARY)), b"", fin=False)
        ALL_FAULTS[intention](writer)
    elif intention == "close":
        writer.write_close()
    write_rest(writer)
    data = bytes(writer.out)
    if rng.random() < 0.08:
        data = data[: rng.randrange(len(data) + 1)]
    chunking, chunks = cut(rng, data)
    return Case(seed, number, rules, intention, data, chunking, chunks)


def make_rules(rng: random.Random) -> Rules:
    size = rng.choice(MAX_MESSAGE_SIZES)
    fragments = rng.choice((None, 1) + (SMALL_MAX_FRAGMENTS,) * 8)
    deflate = Deflate(rng.choice((9, 9, 12, 15)), rng.random() < 0.3)
    return Rules(rng.random() < 0.5, size, fragments, rng.choice((None, deflate)))


def write_rest(writer: Writer) -> None:
    """Write what comes after the end: it must change nothing."""
    choice = writer.rng.random()
    if writer.stopped or choice < 0.4:
        return
    if choice < 0.8:
        for _ in range(writer.rng.randint(1, 2)):
            writer.write_something()
    else:
        writer.out += writer.rng.randbytes(writer.rng.randint(1, 20))


def cut(rng: random.Random, data: bytes) -> tuple[str, list[bytes]]:
    """Cut ``data`` into the chunks it is fed in."""
    chunking = rng.choice(("whole", "bytewise", "random"))
    if chunking == "bytewise" and len(data) > BYTEWISE_UP_TO:
        chunking = "random"
    if chunking == "whole":
        return chunking, [data] if data else []
    if chunking == "bytewise":
        return chunking, [data[i : i + 1] for i in range(len(data))]
    largest = rng.choice((3, 10, 100))
    if len(data) > BYTEWISE_UP_TO:
        largest = rng.choice((1000, 5000, 70000))
    chunks, pos = [], 0
    while pos < len(data):
        end = pos + rng.randint(1, largest)
        chunks.append(data[pos:end])
        pos = end
    return chunking, chunks


class Writer:
    """Writes frames into ``out``, as the peer that ``rules`` are made for."""

    def __init__(self, rng: random.Random, rules: Rules) -> None:
        self.rng = rng
        self.rules = rules
        self.out = bytearray()
        self.stopped = False  # True: the stream is to end right here
        self.compressor = None if rules.deflate is None else Compressor(rng, rules.deflate)

    def frame(
        self,
        opcode: int,
        payload: bytes,
        fin: bool = True,
        rsv: int = 0,
        wrong_mask: bool = False,
        length_bytes: int | None = None,
        declared: int | None = None,
    ) -> None:
        """Write a frame: a correct one unless the keywords say otherwise."""
        length = len(payload) if declared is None else declared
        if length_bytes is None:
            length_bytes = 0 if length <= 125 else 2 if length <= 65535 else 8
        field = {0: length, 2: 126, 8: 127}[length_bytes]
        masked = self.rules.expect_masking != wrong_mask
        self.out += bytes([fin << 7 | rsv << 4 | opcode, masked << 7 | field])
        self.out += length.to_bytes(length_bytes, "big") if length_bytes else b""
        if masked:
            key = self.rng.choice((b"\0\0\0\0", b"\xff\xff\xff\xff") + (self.rng.randbytes(4),) * 8)
            self.out += key
            payload = unmask(payload, key)
        self.out += payload

    def write_something(self) -> None:
        if self.rng.random() < 0.3:
            self.write_control()
        else:
            opcode = self.rng.choice((TEXT, BINARY))
            self.write_message(opcode, self.payload(opcode, self.size()))

    def write_control(self) -> None:
        size = self.rng.choice((0, 0, 1, 4, 5, 20, 124, 125))
        self.frame(self.rng.choice((PING, PONG)), self.rng.randbytes(size))

    def write_close(self) -> None:
        code = self.rng.choice(CLOSE_CODES + (1005, self.rng.randint(3000, 4999), 3000, 4999))
        body = b""
        if code != 1005:
            size = self.rng.choice((0, 1, 10, 30, 123))
            body = code.to_bytes(2, "big") + self.payload(TEXT, size)
        self.frame(CLOSE, body)

    def write_message(self, opcode: int, payload: bytes) -> None:
        """Write a data message, in one frame or in as many as are allowed."""
        most = self.rules.max_fragments or 12
        many = self.rng.random() < 0.1
        pieces = most if many else min(most, self.rng.choice((1, 1, 1, 2, 3, 4, 6)))
        compresses = self.compressor is not None and self.rng.random() < 0.7
        if compresses:
            assert self.compressor is not None
            payload = self.compressor.encode(payload)
        self.write_fragments(opcode, self.cut_payload(payload, pieces), compressed=compresses)

    def write_fragments(
        self, opcode: int, pieces: list[bytes], ends: bool = True, compressed: bool = False
    ) -> None:
        """Write a data message in these pieces, control frames in between."""
        for i, piece in enumerate(pieces):
            if i and self.rng.random() < 0.2:
                self.write_control()
            last = i == len(pieces) - 1
            rsv = RSV1 if compressed and not i else 0
            self.frame(CONTINUATION if i else opcode, piece, fin=last and ends, rsv=rsv)

    def cut_payload(self, payload: bytes, pieces: int) -> list[bytes]:
        """Cut at any byte; pieces may be empty."""
        cuts = sorted(self.rng.randint(0, len(payload)) for _ in range(pieces - 1))
        return [payload[a:b] for a, b in zip([0] + cuts, cuts + [len(payload)])]

    def size(self) -> int:
        """Tell a size that the rules let pass."""
        limit = self.rules.max_message_size
        sizes = [0, 1, 3, 4, 5, 7, 8, 15, 16, 17, 30, 60, 124, 125, 126, 127, 128]
        size = self.rng.choice(sizes)
        if self.rng.random() < 0.03:
            size = limit if limit is not None and limit <= 1000 else 1000
        if (limit is None or limit > 65536) and self.rng.random() < 0.04:
            size = self.rng.choice((65534, 65535, 65536, 65537))
        return size if limit is None else min(size, limit)

    def payload(self, opcode: int, size: int) -> bytes:
        """Make ``size`` bytes: any for a binary message, else valid UTF-8."""
        if opcode != TEXT:
            return self.rng.randbytes(size)
        letters = "".join(self.rng.choices(ALPHABET, k=min(size, 150)))
        text = letters.encode()[:size].decode("utf-8", "ignore").encode()
        if text and len(text) * 2 < size:
            text *= size // len(text)
        return text + b"." * (size - len(text))


def write_rsv(writer: Writer) -> None:
    opcode = writer.rng.choice((TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG))
    writer.frame(opcode, b"rsv", rsv=writer.rng.choice((1, 2, 4, 7)))


def write_reserved_opcode(writer: Writer) -> None:
    opcode = writer.rng.choice((3, 4, 5, 6, 7, 11, 12, 13, 14, 15))
    writer.frame(opcode, b"", fin=writer.rng.random() < 0.7)


def write_fragmented_control(writer: Writer) -> None:
    writer.frame(writer.rng.choice((CLOSE, PING, PONG)), b"", fin=False)


def write_long_control(writer: Writer) -> None:
    size, length_bytes = writer.rng.choice(((126, 2), (127, 2), (5, 2), (126, 8), (65536, 8)))
    payload = b"x" * min(size, 130)
    opcode = writer.rng.choice((CLOSE, PING, PONG))
    writer.frame(opcode, payload, length_bytes=length_bytes, declared=size)


def write_non_minimal_16(writer: Writer) -> None:
    size = writer.rng.choice((0, 1, 124, 125))
    writer.frame(writer.rng.choice((TEXT, BINARY)), b"x" * size, length_bytes=2)


def write_non_minimal_64(writer: Writer) -> None:
    size = writer.rng.choice((0, 1, 125, 126, 127, 65534, 65535))
    payload = b"x" * min(size, 200)
    writer.frame(writer.rng.choice((TEXT, BINARY)), payload, length_bytes=8, declared=size)


def write_top_bit(writer: Writer) -> None:
    declared = writer.rng.choice((2**63, 2**63 + 1, 2**64 - 1))
    writer.frame(writer.rng.choice((TEXT, BINARY)), b"x", declared=declared)


def write_wrong_mask(writer: Writer) -> None:
    opcode = writer.rng.choice((TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG))
    writer.frame(opcode, writer.rng.choice((b"", b"", b"\x03\xe8")), wrong_mask=True)


def write_orphan(writer: Writer) -> None:
    if writer.rng.random() < 0.5:
        writer.write_message(TEXT, b"over")
    payload = writer.rng.choice((b"", b"orphan"))
    writer.frame(CONTINUATION, payload, fin=writer.rng.random() < 0.5)


def write_interrupted(writer: Writer) -> None:
    writer.frame(writer.rng.choice((TEXT, BINARY)), b"first", fin=False)
    if writer.rng.random() < 0.5:
        writer.write_control()
    fin = writer.rng.random() < 0.5
    writer.frame(writer.rng.choice((TEXT, BINARY)), writer.rng.choice((b"", b"new")), fin=fin)


def write_too_many_fragments(writer: Writer) -> None:
    pieces = writer.rng.choice((SMALL_MAX_FRAGMENTS, SMALL_MAX_FRAGMENTS + 1, 12))
    payload = writer.rng.choice((b"", b"a few bytes"))
    writer.write_fragments(writer.rng.choice((TEXT, BINARY)), writer.cut_payload(payload, pieces))


def write_too_big(writer: Writer) -> None:
    """Write one byte more than is allowed, or declare much more than that."""
    limit = writer.rules.max_message_size
    over = 1000 if limit is None else limit + 1
    opcode = writer.rng.choice((TEXT, BINARY))
    choice = writer.rng.random()
    if choice < 0.3 or over > 2000:
        over = writer.rng.choice((over, over, over + 70000, 2**40, 2**62, 2**63 - 1))
        writer.frame(opcode, b"only the beginning", declared=over)
        writer.stopped = True
    elif choice < 0.6:
        writer.frame(opcode, writer.payload(opcode, over))
    else:
        writer.write_message(opcode, writer.payload(opcode, over))


def write_big_last_fragment(writer: Writer) -> None:
    """Reach a limit, or pass it by one, with the last one of several fragments."""
    limit = writer.rules.max_message_size
    limit = 200 if limit is None or limit > 2000 else limit
    opcode = writer.rng.choice((TEXT, BINARY))
    payload = writer.payload(opcode, limit + writer.rng.choice((0, 1)))
    pieces = writer.cut_payload(payload, writer.rng.choice((2, 3, 8, 9)))
    writer.write_fragments(opcode, pieces)


def write_contested(writer: Writer) -> None:
    """Write a header with several faults: the first in order has to win."""
    rng = writer.rng
    if rng.random() < 0.6:
        pieces = [b""] * rng.choice((1, SMALL_MAX_FRAGMENTS))
        writer.write_fragments(rng.choice((TEXT, BINARY)), pieces, ends=False)
    opcode = rng.choice((CONTINUATION,) * 4 + (TEXT, BINARY, PING, 3))
    declared = rng.choice((0, 125, 126, 1001, 65535, 65536, 2**40, 2**63))
    writer.frame(
        opcode,
        b"",
        fin=rng.random() < 0.7,
        rsv=rng.choice((0, 0, 0, 0, 1)),
        wrong_mask=rng.random() < 0.2,
        length_bytes=8 if rng.random() < 0.2 else None,
        declared=declared,
    )
    writer.stopped = True


def write_noise(writer: Writer) -> None:
    writer.out += writer.rng.randbytes(writer.rng.randint(1, 40))


def bad_utf8(kind: str) -> Callable[[Writer], None]:
    """Make a fault that writes a text message with this kind of bad UTF-8."""

    def write(writer: Writer) -> None:
        rng = writer.rng
        before = writer.payload(TEXT, rng.choice((0, 0, 1, 3, 10, 30)))
        bad = rng.choice(BAD_UTF8[kind])
        if kind == "truncated":
            write_truncated_text(writer, before, bad)
        elif rng.random() < 0.5:
            write_text_up_to(writer, before + bad[: rng.randint(1, len(bad))])
        else:
            after = writer.payload(TEXT, rng.choice((0, 1, 5, 20)))
            writer.write_message(TEXT, before + bad + after)

    return write


def write_truncated_text(writer: Writer, before: bytes, bad: bytes) -> None:
    """End a message inside a sequence, perhaps with an empty last fragment."""
    if writer.rng.random() < 0.3 and writer.rules.max_fragments != 1:
        writer.write_fragments(TEXT, [before + bad, b""])
    else:
        writer.write_message(TEXT, before + bad)


def write_text_up_to(writer: Writer, start: bytes) -> None:
    """Write the start of a text frame that never becomes whole."""
    missing = writer.rng.choice((1, 10, 60))
    if writer.rng.random() < 0.4 and writer.rules.max_fragments != 1:
        split = writer.rng.randint(0, len(start))
        writer.frame(TEXT, start[:split], fin=False)
        writer.frame(CONTINUATION, start[split:], declared=len(start) - split + missing)
    else:
        writer.frame(TEXT, start, declared=len(start) + missing)
    writer.stopped = True


def write_close_1_byte(writer: Writer) -> None:
    writer.frame(CLOSE, writer.rng.randbytes(1))


def write_close_bad_code(writer: Writer) -> None:
    code = writer.rng.choice(BAD_CLOSE_CODES)
    reason = writer.rng.choice((b"", b"why", b"\xff"))
    writer.frame(CLOSE, code.to_bytes(2, "big") + reason)


def write_close_bad_reason(writer: Writer) -> None:
    code = writer.rng.choice(CLOSE_CODES)
    bad = writer.rng.choice(BAD_UTF8[writer.rng.choice(list(BAD_UTF8))])
    writer.frame(CLOSE, code.to_bytes(2, "big") + b"reason " + bad)


def compressor_of(writer: Writer) -> Compressor:
    assert writer.compressor is not None, "nothing may be compressed"
    return writer.compressor


def write_broken(writer: Writer) -> None:
    """Write what is not DEFLATE, after something that may be."""
    data = compressor_of(writer).broken()
    ends = writer.rng.random() < 0.7
    pieces = writer.cut_payload(data, min(writer.rules.max_fragments or 3, 3))
    if writer.rng.random() < 0.6:
        pieces = [data]
    writer.write_fragments(writer.rng.choice((BINARY, BINARY, TEXT)), pieces, ends, True)
    writer.stopped = not ends


def write_cut(writer: Writer) -> None:
    """Write the beginning of a compressed message as if it were one, and others behind it."""
    opcode = writer.rng.choice((TEXT, BINARY))
    data = compressor_of(writer).encode(writer.payload(opcode, writer.size()))
    data = data[: writer.rng.randrange(len(data) + 1)]
    writer.write_fragments(opcode, [data], compressed=True)
    for _ in range(writer.rng.randint(0, 2)):
        writer.write_something()


def write_bomb(writer: Writer) -> None:
    """Write few bytes that inflate to a limit, or more, or to more than is inflated at once."""
    rng, limit = writer.rng, writer.rules.max_message_size
    size = (
        limit
        if limit is not None and limit <= 1000
        else rng.choice((65_535, 65_536, 65_537, 140_000))
    )
    size += rng.choice((0, 1, 1, 1, 300))
    opcode = BINARY if size > 2000 else rng.choice((TEXT, BINARY))
    data = compressor_of(writer).bomb(size)
    pieces = writer.cut_payload(data, min(writer.rules.max_fragments or 3, rng.choice((1, 2, 3))))
    writer.write_fragments(opcode, pieces, ends=rng.random() < 0.8, compressed=True)


def write_rsv1(writer: Writer) -> None:
    """Set RSV1 in a frame that begins no message."""
    rng = writer.rng
    opcode = rng.choice((CONTINUATION, CONTINUATION, CLOSE, PING, PONG))
    if opcode == CONTINUATION and rng.random() < 0.6:
        pieces = [b"\0"] if rng.random() < 0.5 else [b""]
        writer.write_fragments(BINARY, pieces, ends=False, compressed=rng.random() < 0.5)
    writer.frame(opcode, b"", rsv=RSV1, fin=opcode != CONTINUATION or rng.random() < 0.5)


FAULTS: dict[str, Callable[[Writer], None]] = {
    "rsv": write_rsv,
    "reserved opcode": write_reserved_opcode,
    "fragmented control": write_fragmented_control,
    "long control": write_long_control,
    "non-minimal 16": write_non_minimal_16,
    "non-minimal 64": write_non_minimal_64,
    "top bit": write_top_bit,
    "wrong mask": write_wrong_mask,
    "orphan": write_orphan,
    "interrupted": write_interrupted,
    "too many fragments": write_too_many_fragments,
    "too big": write_too_big,
    "big last fragment": write_big_last_fragment,
    "contested": write_contested,
    "noise": write_noise,
    "close 1 byte": write_close_1_byte,
    "close bad code": write_close_bad_code,
    "close bad reason": write_close_bad_reason,
}
FAULTS.update(("utf8 " + kind, bad_utf8(kind)) for kind in BAD_UTF8)
OTHERS = ("close",) * 11 + ("nothing",) * 4 + ("wrong mask",)
INTENTIONS = tuple(FAULTS) + OTHERS

#: Faults that only who compresses can have.
COMPRESSED_FAULTS: dict[str, Callable[[Writer], None]] = {
    "broken": write_broken,
    "cut": write_cut,
    "bomb": write_bomb,
    "rsv1": write_rsv1,
}
ALL_FAULTS = {**FAULTS, **COMPRESSED_FAULTS}
INTENTIONS_OF_COMPRESSED = (
    INTENTIONS + ("nothing",) * 8 + ("broken",) * 36 + ("cut",) * 3 + ("bomb",) * 6 + ("rsv1",) * 4
)
