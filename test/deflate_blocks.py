"""DEFLATE blocks, made bit by bit (:rfc:`1951`): such as no compressor makes, and broken ones.

Bits are written as they are transmitted: numbers with their lowest bit first, codes with their
first bit first. What a block stands for are its symbols: a number is a literal, a pair of numbers
the length of a match and its distance.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Union

Symbol = Union[int, tuple[int, int]]

#: Every compressed message ends with an empty stored block, but for these bytes of it (RFC 7692).
TAIL = b"\x00\x00\xff\xff"
#: Types of blocks.
STORED, FIXED, DYNAMIC, RESERVED = 0, 1, 2, 3
END_OF_BLOCK = 256
#: The order in which the lengths of the codes for code lengths come.
ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)


def _table(extra: Sequence[int], base: int) -> list[tuple[int, int]]:
    """Return the first value of each code, and how many bits more there are."""
    rows = []
    for count in extra:
        rows.append((base, count))
        base += 1 << count
    return rows


LENGTHS = [*_table([0] * 8 + [n for n in range(1, 6) for _ in range(4)], 3), (258, 0)]
DISTANCES = _table([0, 0, *(n for n in range(14) for _ in range(2))], 1)


class Bits:
    """Bits in the order in which they are transmitted."""

    def __init__(self) -> None:
        self._bits: list[str] = []

    def code(self, bits: str) -> Bits:
        """Add bits as they stand there; blanks do not count."""
        self._bits.extend(bits.replace(" ", ""))
        return self

    def number(self, value: int, count: int) -> Bits:
        """Add a number of so many bits."""
        return self.code(f"{value:0{count}b}"[::-1] if count else "")

    def align(self, filler: str = "0") -> Bits:
        """Add bits up to the end of the octet."""
        return self.code(filler * (-len(self._bits) % 8))

    def octets(self, data: bytes) -> Bits:
        """Add octets."""
        for octet in data:
            self.number(octet, 8)
        return self

    def finish(self) -> bytes:
        """Return all, up to the end of the octet."""
        text = "".join(self.align()._bits)
        return bytes(int(text[i : i + 8][::-1], 2) for i in range(0, len(text), 8))

    # Blocks.

    def header(self, kind: int, final: int = 0) -> Bits:
        """Begin a block."""
        return self.number(final, 1).number(kind, 2)

    def stored(self, data: bytes, final: int = 0, complement: int = 0xFFFF) -> Bits:
        """Add a block that is not compressed, of up to 65535 octets."""
        self.header(STORED, final).align().number(len(data), 16)
        return self.number(len(data) ^ complement, 16).octets(data)

    def fixed(self, symbols: Iterable[Symbol], final: int = 0) -> Bits:
        """Add a block with the codes that are always the same."""
        self.header(FIXED, final)
        return self.symbols(symbols, FIXED_CODES, [f"{n:05b}" for n in range(32)])

    def dynamic(self, symbols: Sequence[Symbol], final: int = 0) -> Bits:
        """Add a block that begins with its codes: those that it needs, all about as long."""
        used = {
            END_OF_BLOCK,
            *(each if isinstance(each, int) else _length(each)[0] for each in symbols),
        }
        far = {_distance(each)[0] for each in symbols if not isinstance(each, int)}
        literals, distances = even(used, max(used) + 1), even(far, max(far, default=0) + 1)
        self.codes(literals, distances, final)
        return self.symbols(symbols, codes_of(literals), codes_of(distances))

    def codes(self, literals: list[int], distances: list[int], final: int = 0) -> Bits:
        """Begin a block that has codes of its own, and tell their lengths."""
        used = {*literals, *distances}
        codes = self.begin_codes(len(literals), len(distances), used, final)
        for length in (*literals, *distances):
            self.code(codes[length])
        return self

    def begin_codes(
        self, literals: int, distances: int, used: set[int], final: int = 0
    ) -> list[str]:
        """Begin a block that has codes of its own; return those in which their lengths are told.

        Args:
            literals, distances: How many codes there are.
            used: The lengths that are told, or 16 to 18 for repetitions.
        """
        self.header(DYNAMIC, final)
        self.number(literals - 257, 5).number(distances - 1, 5).number(15, 4)
        lengths = even(used, 19)
        for symbol in ORDER:
            self.number(lengths[symbol], 3)
        return codes_of(lengths)

    def symbols(
        self, symbols: Iterable[Symbol], literals: Sequence[str], distances: Sequence[str]
    ) -> Bits:
        """Add symbols, and the end of the block."""
        for each in symbols:
            if isinstance(each, int):
                self.code(literals[each])
                continue
            for (symbol, rest, count), codes in (
                (_length(each), literals),
                (_distance(each), distances),
            ):
                self.code(codes[symbol]).number(rest, count)
        return self.code(literals[END_OF_BLOCK])


def _length(match: tuple[int, int]) -> tuple[int, int, int]:
    symbol = max(n for n, row in enumerate(LENGTHS) if row[0] <= match[0])
    return symbol + 257, match[0] - LENGTHS[symbol][0], LENGTHS[symbol][1]


def _distance(match: tuple[int, int]) -> tuple[int, int, int]:
    symbol = max(n for n, row in enumerate(DISTANCES) if row[0] <= match[1])
    return symbol, match[1] - DISTANCES[symbol][0], DISTANCES[symbol][1]


def even(symbols: set[int], size: int) -> list[int]:
    """Return ``size`` lengths of codes, for a code of nothing but ``symbols`` that is complete."""
    lengths, bits = [0] * size, max(len(symbols) - 1, 1).bit_length()
    short = (1 << bits) - len(symbols)
    for position, symbol in enumerate(sorted(symbols)):
        # A single one has a code of one bit, and the other code of one bit is nobody's.
        lengths[symbol] = bits - 1 if position < short and bits > 1 else bits
    return lengths


def codes_of(lengths: Sequence[int]) -> list[str]:
    """Return the codes of these lengths (RFC 1951 3.2.2)."""
    codes, code = [""] * len(lengths), 0
    for bits in range(1, 16):
        code <<= 1
        for symbol, length in enumerate(lengths):
            if length == bits:
                codes[symbol] = f"{code:0{bits}b}"
                code += 1
    return codes


FIXED_CODES = codes_of([8] * 144 + [9] * 112 + [7] * 24 + [8] * 8)


def deflate(data: bytes, bits: int = 15, level: int = 6) -> bytes:
    """Compress a message that refers to no other one, as everybody does it."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -bits)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[: -len(TAIL)]
