"""The body of a response that refuses a handshake (:rfc:`9112#section-6`), without any I/O."""

from __future__ import annotations

import re
from collections.abc import Generator

from ws4py.handshake import Head, split_list

__all__ = ["BodyReader"]

#: Says False each time that it needs more bytes.
Waits = Generator[bool, None, None]

# Bytes of the line before a chunk.
_MAX_CHUNK_LINE = 1024

# As many digits as need no thought about the time or the memory that they take.
_is_length = re.compile(r"[0-9]{1,18}").fullmatch
_match_chunk = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?\r?\n").fullmatch
_has_no_body = re.compile(r"HTTP/1\.\d (1..|204|304)").match


class BodyReader:
    """Collects the body of a response out of chunks of any size.

    Args:
        head: The head of the response.
        most: Bytes of the body after which the rest does not matter.

    ``data`` is the body, as far as it has come.
    """

    def __init__(self, head: Head, most: int) -> None:
        self.data = bytearray()
        self._most = most
        self._received = bytearray()
        self._position = 0
        self._steps = self._read(head)

    def feed(self, data: bytes) -> bool:
        """Take more bytes; return whether the body is complete."""
        self._received += data
        # What frames the chunks of a body can be longer than it.
        return next(self._steps, True) or len(self._received) > 4 * (self._most + 4096)

    def _read(self, head: Head) -> Waits:
        fields = {name.lower(): value for name, value in head.fields}
        length = fields.get("content-length", "")
        if _has_no_body(head.line):
            return
        if "chunked" in split_list(fields.get("transfer-encoding", "").lower()):
            yield from self._read_chunks()
        else:
            yield from self._take(int(length) if _is_length(length) else None)

    def _read_chunks(self) -> Waits:
        size = -1
        while size and len(self.data) < self._most:
            if size > 0:
                yield from self._line()  # the end of a chunk
            match = _match_chunk((yield from self._line()))
            size = int(match[1], 16) if match else 0
            yield from self._take(size)

    def _line(self) -> Generator[bool, None, bytes]:
        """Read a line; one that is too long is cut."""
        start, most = self._position, self._position + _MAX_CHUNK_LINE
        while b"\n" not in self._received[start:most] and len(self._received) < most:
            yield False
        end = self._received.find(b"\n", start, most)
        self._position = most if end < 0 else end + 1
        return bytes(self._received[start : self._position])

    def _take(self, size: int | None) -> Waits:
        """Take ``size`` bytes, or all that come."""
        while size != 0 and len(self.data) < self._most:
            end = self._position + self._most - len(self.data)
            if size is not None:
                end = min(end, self._position + size)
            piece = self._received[self._position : end]
            self.data += piece
            self._position += len(piece)
            if size is not None:
                size -= len(piece)
            if not piece:
                yield False
