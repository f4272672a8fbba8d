"""Incremental validation of UTF-8 (:rfc:`3629`).

``validate`` hands whole chunks to the decoder of the codecs module, in C. ``decode`` takes one
byte at a time through a small automaton, which is made here from the grammar of the RFC.
"""

from __future__ import annotations

from codecs import utf_8_decode

__all__ = ["Utf8Validator"]

# A text that is decoded to be validated takes up to four times its size: bound that.
_SLICE = 64 * 1024

# RFC 3629 section 4. Each sequence: the ranges of its bytes, the lead byte's first.
_TAIL = (0x80, 0xBF)
_GRAMMAR = (
    ((0x00, 0x7F),),
    ((0xC2, 0xDF), _TAIL),
    ((0xE0, 0xE0), (0xA0, 0xBF), _TAIL),
    ((0xE1, 0xEC), _TAIL, _TAIL),
    ((0xED, 0xED), (0x80, 0x9F), _TAIL),
    ((0xEE, 0xEF), _TAIL, _TAIL),
    ((0xF0, 0xF0), (0x90, 0xBF), _TAIL, _TAIL),
    ((0xF1, 0xF3), _TAIL, _TAIL, _TAIL),
    ((0xF4, 0xF4), (0x80, 0x8F), _TAIL, _TAIL),
)
_ACCEPT, _REJECT = 0, 1

# How many bits of a code point a lead byte carries, by its upper half.
_LEAD_BITS = (0x7F,) * 8 + (0,) * 4 + (0x1F, 0x1F, 0x0F, 0x07)


def _make_automaton() -> list[int]:
    """List the next state for each state and byte: entry ``256 * state + byte``."""
    rows = [[_REJECT] * 256, [_REJECT] * 256]
    numbers: dict[tuple[tuple[int, int], ...], int] = {(): _ACCEPT}

    def state_of(rest: tuple[tuple[int, int], ...]) -> int:
        if rest not in numbers:
            numbers[rest] = len(rows)
            rows.append([_REJECT] * 256)
            fill(numbers[rest], rest)
        return numbers[rest]

    def fill(state: int, sequence: tuple[tuple[int, int], ...]) -> None:
        (low, high), *rest = sequence
        rows[state][low : high + 1] = [state_of(tuple(rest))] * (high + 1 - low)

    for sequence in _GRAMMAR:
        fill(_ACCEPT, sequence)
    return [state for row in rows for state in row]


class Utf8Validator:
    """Says whether chunks, one after the other, are UTF-8 so far.

    ``state`` is UTF8_ACCEPT between characters, UTF8_REJECT once bytes were invalid, another
    number within a character. ``codepoint`` is what :meth:`decode` has put together; ``i`` is the
    number of bytes :meth:`validate` has seen.
    """

    UTF8VALIDATOR_DFA = _make_automaton()
    UTF8_ACCEPT = _ACCEPT
    UTF8_REJECT = _REJECT

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin a new text."""
        self.state = _ACCEPT
        self.codepoint = 0
        self.i = 0
        self._rest = b""

    def decode(self, b: int) -> int:
        """Take the byte ``b`` and return the new state.

        ``codepoint`` is that of a whole character when the state is UTF8_ACCEPT.
        """
        if self.state == _ACCEPT:
            self.codepoint = b & _LEAD_BITS[b >> 4]
            self._rest = b""
        else:
            self.codepoint = self.codepoint << 6 | b & 0x3F
        self.state = self.UTF8VALIDATOR_DFA[256 * self.state + b]
        self._rest = b"" if self.state == _ACCEPT else self._rest + bytes((b,))
        return self.state

    def validate(self, ba: bytes | bytearray) -> tuple[bool, bool, int, int]:
        """Take the next chunk.

        Returns:
            Whether all is valid so far; whether it ends between two characters; the index of the
            first invalid byte in this chunk (its length, if there is none); the same counted from
            the beginning of the text.
        """
        if self.state == _REJECT:
            return False, False, 0, self.i
        if self.state == _ACCEPT and ba.isascii():  # Most text is, and that is cheaper to see.
            self.i += len(ba)
            return True, True, len(ba), self.i
        data = self._rest + ba if self._rest else ba
        position = 0
        try:
            while position < len(data):
                used = utf_8_decode(data[position : position + _SLICE], "strict", False)[1]
                position += used
                if not used:
                    break
        except UnicodeDecodeError as error:
            # The decoder points at the sequence; the byte that broke it may come later.
            at = error.start if error.reason == "invalid start byte" else error.end
            return self._reject(position + at - len(self._rest))
        self.i += len(ba)
        if position == len(data):
            self.state, self._rest = _ACCEPT, b""
            return True, True, len(ba), self.i
        return self._begin(data[position:], len(ba))

    def _begin(self, rest: bytes | bytearray, size: int) -> tuple[bool, bool, int, int]:
        """Keep the beginning of a character, the end of a chunk of ``size`` bytes.

        The decoder waits for a third byte after ED A0..BF, which no byte can make valid.
        """
        self.state = _ACCEPT
        for missing, byte in zip(range(len(rest), 0, -1), rest):
            self.state = self.UTF8VALIDATOR_DFA[256 * self.state + byte]
            if self.state == _REJECT:
                self.i -= size
                return self._reject(size - missing)
        self._rest = bytes(rest)
        return True, False, size, self.i

    def _reject(self, index: int) -> tuple[bool, bool, int, int]:
        self.state = _REJECT
        self.i += index
        return False, False, index, self.i
