"""A slow, obvious inflater of what one peer sends: :rfc:`1951`, as :rfc:`7692` has it.

It is written from the RFCs alone, and imports neither ws4py nor zlib. Bits are read one by one. A
step is done as a whole or, if its bits have not all come, not at all, so that what is there to be
told at any time is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

#: What is left out at the end of each message (:rfc:`7692#section-7.2.1`).
TAIL = b"\x00\x00\xff\xff"

#: What can be wrong, by where it is found (:rfc:`1951#section-3.2`).
BRANCHES = (
    "deflate-type",
    "deflate-stored",
    "deflate-counts",
    "deflate-code-lengths",
    "deflate-repeat",
    "deflate-no-end",
    "deflate-literals",
    "deflate-distances",
    "deflate-bad-length",
    "deflate-bad-distance",
    "deflate-too-far",
    "deflate-beyond-window",
)

END_OF_BLOCK = 256
ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)

# RFC 1951, section 3.2.5: extra bits, and the first length or distance.
LENGTHS = (
    *((0, 3), (0, 4), (0, 5), (0, 6), (0, 7), (0, 8), (0, 9), (0, 10)),
    *((1, 11), (1, 13), (1, 15), (1, 17), (2, 19), (2, 23), (2, 27), (2, 31)),
    *((3, 35), (3, 43), (3, 51), (3, 59), (4, 67), (4, 83), (4, 99), (4, 115)),
    *((5, 131), (5, 163), (5, 195), (5, 227), (0, 258)),
)
DISTANCES = (
    *((0, 1), (0, 2), (0, 3), (0, 4), (1, 5), (1, 7), (2, 9), (2, 13), (3, 17), (3, 25)),
    *((4, 33), (4, 49), (5, 65), (5, 97), (6, 129), (6, 193), (7, 257), (7, 385)),
    *((8, 513), (8, 769), (9, 1025), (9, 1537), (10, 2049), (10, 3073), (11, 4097), (11, 6145)),
    *((12, 8193), (12, 12289), (13, 16385), (13, 24577)),
)


class Code(NamedTuple):
    """Each word, as the bits that are read, and the symbol that it stands for; the longest word."""

    words: dict[str, int]
    longest: int


class Broken(Exception):
    """What has come cannot be DEFLATE, whatever follows; ``branch`` is one of BRANCHES."""

    def __init__(self, branch: str) -> None:
        super().__init__(branch)
        self.branch = branch


class Exhausted(Exception):
    """More bits are needed."""


class Inflater:
    """Inflates what it is fed; all that it makes of it is appended to ``out``.

    Args:
        bits: The base-2 logarithm of the window.
        strict: Whether a distance beyond the window is an error, even if the bytes are known.
    """

    def __init__(self, bits: int, strict: bool = True) -> None:
        self.window, self.strict = 1 << bits, strict
        self.out = bytearray()
        self.data = b""
        self.pos = 0  # in bits
        self.begin()

    def begin(self) -> None:
        """Begin with nothing behind."""
        self.start = len(self.out)
        self.final = False
        self.step: Callable[[], None] = self.read_header

    def feed(self, data: bytes) -> None:
        """Take more bytes.

        Raises:
            Broken: Something is wrong; it cannot be fed any more.
        """
        self.data += data
        while True:
            before = self.pos
            try:
                self.step()
            except Exhausted:
                self.pos = before
                return

    # Bits.

    def bit(self) -> int:
        if self.pos >> 3 >= len(self.data):
            raise Exhausted
        bit = self.data[self.pos >> 3] >> (self.pos & 7) & 1
        self.pos += 1
        return bit

    def number(self, count: int) -> int:
        """Read a number, its lowest bit first."""
        return sum(self.bit() << i for i in range(count))

    def align(self) -> None:
        """Pass over the rest of an octet."""
        self.pos = -(-self.pos // 8) * 8

    def symbol(self, code: Code, broken: str) -> int:
        """Read a word of ``code``; none of it may be so."""
        word = ""
        while word not in code.words:
            if len(word) == code.longest:
                raise Broken(broken)
            word += "01"[self.bit()]
        return code.words[word]

    # Steps.

    def read_header(self) -> None:
        """Read what begins a block: section 3.2.3."""
        final, kind = self.bit(), self.number(2)
        if kind == 0:
            self.align()
            length, complement = self.number(16), self.number(16)
            if length ^ complement != 0xFFFF:
                raise Broken("deflate-stored")
            self.missing, self.step = length, self.read_stored
        elif kind == 1:
            self.codes, self.step = FIXED, self.read_symbol
        elif kind == 2:
            self.codes, self.step = self.read_codes(), self.read_symbol
        else:
            raise Broken("deflate-type")
        self.final = bool(final)

    def read_stored(self) -> None:
        """Read what there is of a block that is not compressed."""
        at = self.pos // 8
        taken = self.data[at : at + self.missing]
        self.out += taken
        self.missing -= len(taken)
        self.pos += 8 * len(taken)
        if not self.missing:
            self.end_block()
        elif not taken:
            raise Exhausted

    def read_symbol(self) -> None:
        """Read a literal, a match, or the end of the block."""
        literals, distances = self.codes
        symbol = self.symbol(literals, "deflate-bad-length")
        if symbol < END_OF_BLOCK:
            self.out.append(symbol)
        elif symbol == END_OF_BLOCK:
            self.end_block()
        else:
            self.copy(*self.read_match(symbol - 257, distances))

    def read_match(self, symbol: int, distances: Code) -> tuple[int, int]:
        if symbol >= len(LENGTHS):
            raise Broken("deflate-bad-length")
        extra, base = LENGTHS[symbol]
        length = base + self.number(extra)
        symbol = self.symbol(distances, "deflate-bad-distance")
        if symbol >= len(DISTANCES):
            raise Broken("deflate-bad-distance")
        extra, base = DISTANCES[symbol]
        return length, base + self.number(extra)

    def copy(self, length: int, distance: int) -> None:
        if distance > len(self.out) - self.start:
            raise Broken("deflate-too-far")
        if distance > self.window and self.strict:
            raise Broken("deflate-beyond-window")
        for _ in range(length):
            self.out.append(self.out[-distance])

    def end_block(self) -> None:
        """Go on with the next block; behind the last one another stream begins."""
        self.step = self.read_header
        if self.final:
            self.align()
            self.begin()

    def read_codes(self) -> tuple[Code, Code]:
        """Read the codes of a block: section 3.2.7."""
        literals, distances, count = 257 + self.number(5), 1 + self.number(5), 4 + self.number(4)
        if literals > 286 or distances > 30:
            raise Broken("deflate-counts")
        of_lengths = [0] * 19
        for symbol in ORDER[:count]:
            of_lengths[symbol] = self.number(3)
        # With no words at all there is no end of the block either. When to tell that is left open;
        # zlib does so when a bit for each of the lengths has come.
        code = make_code(of_lengths) if any(of_lengths) else Code({"0": 0, "1": 0}, 1)
        if any(of_lengths) and not is_complete(of_lengths):
            raise Broken("deflate-code-lengths")
        lengths = self.read_lengths(code, literals + distances)
        if not lengths[END_OF_BLOCK]:
            raise Broken("deflate-no-end")
        for part, branch in (
            (lengths[:literals], "deflate-literals"),
            (lengths[literals:], "deflate-distances"),
        ):
            # There may be no distances, or one: its word is a bit, and the other bit is none.
            if not is_complete(part) and [length for length in part if length] not in ([], [1]):
                raise Broken(branch)
        return make_code(lengths[:literals]), make_code(lengths[literals:])

    def read_lengths(self, code: Code, size: int) -> list[int]:
        """Read so many lengths of words, some of them repeated."""
        lengths: list[int] = []
        while len(lengths) < size:
            symbol = self.symbol(code, "deflate-code-lengths")
            if symbol < 16:
                lengths.append(symbol)
                continue
            extra, least = {16: (2, 3), 17: (3, 3), 18: (7, 11)}[symbol]
            times = least + self.number(extra)
            if (symbol == 16 and not lengths) or len(lengths) + times > size:
                raise Broken("deflate-repeat")
            lengths += [lengths[-1] if symbol == 16 else 0] * times
        return lengths


def is_complete(lengths: Sequence[int]) -> bool:
    """Say whether words of these lengths are a code in which any bits are a word."""
    return sum(1 << 15 - length for length in lengths if length) == 1 << 15


def make_code(lengths: Sequence[int]) -> Code:
    """Make the code of the lengths of its words: section 3.2.2."""
    words: dict[str, int] = {}
    value = 0
    for length in range(1, 16):
        value <<= 1
        for symbol, its_length in enumerate(lengths):
            if its_length == length:
                words[f"{value:0{length}b}"] = symbol
                value += 1
    return Code(words, max(*lengths, 1))


FIXED = (
    make_code([8] * 144 + [9] * 112 + [7] * 24 + [8] * 8),
    make_code([5] * 32),
)
