"""Compressed messages for the fuzz: what compressors make, blocks made by hand, and broken ones."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable

from test.deflate_blocks import (
    DYNAMIC,
    FIXED,
    RESERVED,
    STORED,
    Bits,
    Symbol,
    even,
)

from .reference import Deflate

STRATEGIES = (
    zlib.Z_DEFAULT_STRATEGY,
    zlib.Z_FILTERED,
    zlib.Z_HUFFMAN_ONLY,
    zlib.Z_RLE,
    zlib.Z_FIXED,
)
#: The longest match, and the shortest.
LONGEST, SHORTEST = 258, 3


class Compressor:
    """Compresses what one peer sends, in one of the ways that there are.

    Args:
        deflate: What it has promised.
    """

    def __init__(self, rng: random.Random, deflate: Deflate) -> None:
        self.rng = rng
        self.deflate = deflate
        self.history = b""  # what the next message may refer to
        # zlib knows no history but its own.
        self.zlib = self.make_zlib() if rng.random() < 0.3 else None

    def make_zlib(self) -> zlib._Compress:
        rng = self.rng
        level, memory, strategy = rng.randint(0, 9), rng.randint(1, 9), rng.choice(STRATEGIES)
        return zlib.compressobj(level, zlib.DEFLATED, -self.deflate.bits, memory, strategy)

    def encode(self, payload: bytes) -> bytes:
        """Compress a message."""
        if self.zlib is not None:
            data = self.zlib.compress(payload) + self.zlib.flush(zlib.Z_SYNC_FLUSH)
            if self.deflate.anew:
                self.zlib = self.make_zlib()
            return data[:-4] or b"\0"
        if len(payload) > 2000 or self.rng.random() < 0.3:
            alone = self.make_zlib()
            data = (alone.compress(payload) + alone.flush(zlib.Z_SYNC_FLUSH))[:-4] or b"\0"
            self.remember(payload)
        else:
            data = self.by_hand(payload)
        if self.deflate.anew:
            self.history = b""
        return data

    def remember(self, payload: bytes) -> None:
        self.history = (self.history + payload)[-(1 << self.deflate.bits) :]

    def by_hand(self, payload: bytes) -> bytes:
        """Make a message of blocks of any types, some of which say that they are the last."""
        rng, blocks = self.rng, Bits()
        cuts = sorted(rng.randint(0, len(payload)) for _ in range(rng.choice((0, 0, 0, 1, 2, 5))))
        for start, end in zip([0, *cuts], [*cuts, len(payload)]):
            final = int(rng.random() < 0.15)
            self.add_block(blocks, payload[start:end], final)
            if final:
                blocks.align()
                self.history = b""
        if rng.random() < 0.1:
            for _ in range(rng.choice((1, 15, 16, 17, 40, 40))):
                blocks.fixed([], final=1).align()
            self.history = b""
        return blocks.header(STORED).finish()

    def add_block(self, blocks: Bits, payload: bytes, final: int) -> None:
        kind = self.rng.choice((STORED, FIXED, FIXED, DYNAMIC))
        if kind == STORED:
            blocks.stored(payload, final)
            self.remember(payload)
        elif kind == FIXED:
            blocks.fixed(self.symbols_of(payload), final)
        else:
            blocks.dynamic(self.symbols_of(payload), final)

    def symbols_of(self, payload: bytes) -> list[Symbol]:
        """Return symbols that stand for a payload: literals, and what matches there are."""
        symbols: list[Symbol] = []
        at = 0
        while at < len(payload):
            length = self.rng.choice((3, 4, 11, 40, LONGEST)) if self.rng.random() < 0.5 else 0
            length = min(length, len(payload) - at)
            found = self.history.rfind(payload[at : at + length]) if length >= SHORTEST else -1
            if found >= 0:
                symbols.append((length, len(self.history) - found))
            else:
                length = 1
                symbols.append(payload[at])
            self.remember(payload[at : at + length])
            at += length
        return symbols

    def symbols_of_one(self, size: int) -> list[Symbol]:
        """Return few symbols for many times the same octet."""
        whole, rest = divmod(size - 1, LONGEST)
        return [0x61, *[(LONGEST, 1)] * whole, *[0x61] * rest] if size else []

    def bomb(self, size: int) -> bytes:
        """Compress so many octets to few."""
        blocks = Bits()
        blocks.fixed(self.symbols_of_one(size))
        self.remember(b"a" * size)
        return blocks.header(STORED).finish()

    def broken(self) -> bytes:
        """Make a message that is right at first, and then is broken."""
        blocks = Bits()
        if self.rng.random() < 0.6:
            self.add_block(blocks, self.rng.choice((b"", b"abc", b"banana" * 4)), 0)
        self.rng.choice(BREAKS)(self, blocks)
        return blocks.finish() + self.rng.randbytes(self.rng.choice((0, 0, 1, 8)))

    # Ways to break a message.

    def of_reserved_type(self, blocks: Bits) -> None:
        blocks.header(RESERVED, self.rng.randint(0, 1))

    def with_wrong_complement(self, blocks: Bits) -> None:
        blocks.stored(b"hello", complement=0xFFFF ^ 1 << self.rng.randrange(16))

    def with_too_many_codes(self, blocks: Bits) -> None:
        counts = self.rng.choice(((30, 0), (31, 5), (0, 30), (3, 31), (31, 31)))
        blocks.header(DYNAMIC).number(counts[0], 5).number(counts[1], 5).number(0, 4)

    def with_wrong_lengths_of_lengths(self, blocks: Bits) -> None:
        lengths = self.rng.choice(([1, 1, 1], [2, 2, 2], [1, 3], [7], [1], [1, 2, 2, 7]))
        lengths = [*lengths, *[0] * (19 - len(lengths))]
        self.rng.shuffle(lengths)
        blocks.header(DYNAMIC).number(0, 10).number(15, 4)
        for length in lengths:
            blocks.number(length, 3)

    def with_wrong_repeat(self, blocks: Bits) -> None:
        """Repeat nothing, or go on behind the last length."""
        codes = blocks.begin_codes(257, 1, {0, 1, 16, 18})
        if self.rng.random() < 0.5:
            blocks.code(codes[16]).number(0, 2)
        else:
            for _ in range(3):
                blocks.code(codes[18]).number(self.rng.randint(100, 127), 7)

    def without_an_end(self, blocks: Bits) -> None:
        blocks.codes(self.rng.choice(([1, 1] + [0] * 255, [1] + [0] * 256)), [0])

    def with_wrong_literals(self, blocks: Bits) -> None:
        """Have too many words, too few, or one that is too long to be the only one."""
        some = self.rng.choice(([1, 1, 1], [2, 2, 2], [2], [1, 3], [15]))
        blocks.codes([*some[1:], *[0] * (257 - len(some)), some[0]], [0])

    def with_wrong_distances(self, blocks: Bits) -> None:
        blocks.codes(even({0, 256}, 257), self.rng.choice(([1, 1, 1], [2], [2, 2], [1, 2])))

    def of_no_length(self, blocks: Bits) -> None:
        if self.rng.random() < 0.7:
            blocks.header(FIXED).code(self.rng.choice(("11000110", "11000111")))
        else:
            blocks.codes([0] * 256 + [1], [0]).code("1")

    def of_no_distance(self, blocks: Bits) -> None:
        if self.rng.random() < 0.5:
            blocks.header(FIXED).code("0000001").code(self.rng.choice(("11110", "11111")))
        else:
            distances, code = self.rng.choice((([0], "0"), ([0], "1"), ([1], "1")))
            blocks.codes(even({256, 257}, 258), distances).code("1" + code)

    def too_far(self, blocks: Bits) -> None:
        back = len(self.history) if self.zlib is None else 40_000
        far = self.rng.choice((back + 1, back + 1, back + 2, 32_768))
        if far <= 32_768 and far > back:
            blocks.fixed([(3, far)])
        else:
            self.of_no_distance(blocks)

    def beyond_the_window(self, blocks: Bits) -> None:
        """Refer to bytes that were sent, and need not have been kept."""
        size = 1 << self.deflate.bits
        if size > 512:
            self.too_far(blocks)
            return
        blocks.stored(self.rng.randbytes(size + 100))
        blocks.fixed([(3, size + self.rng.randint(1, 100))])


BREAKS: tuple[Callable[[Compressor, Bits], None], ...] = (
    Compressor.of_reserved_type,
    Compressor.with_wrong_complement,
    Compressor.with_too_many_codes,
    Compressor.with_wrong_lengths_of_lengths,
    Compressor.with_wrong_repeat,
    *[Compressor.without_an_end] * 2,
    Compressor.with_wrong_literals,
    *[Compressor.with_wrong_distances] * 2,
    Compressor.of_no_length,
    Compressor.of_no_distance,
    Compressor.too_far,
    *[Compressor.beyond_the_window] * 3,
)
