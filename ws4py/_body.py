"""The body of an HTTP response (:rfc:`9112#section-6`), out of chunks of any size, without I/O.

Every byte is looked at about once, however a server cuts what it sends: a loop that reads for many
is not to be kept busy by one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["BodyReader"]

#: Bytes of a line before a chunk. A longer one is not waited for.
_LINE = 4096
# The line before a chunk, and the end of the line behind the chunk before.
_match_chunk = re.compile(rb"(?:\r\n)?([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n").match
_is_length = re.compile(r"[0-9]{1,18}").fullmatch


class BodyReader:
    """Collects a body.

    Args:
        status: That of the response.
        fields: Its headers.
        most: Bytes of the body after which the rest does not matter.
    """

    def __init__(self, status: int, fields: Iterable[tuple[str, str]], most: int) -> None:
        self._kept = bytearray()
        self._most = most
        self._buffer = bytearray()
        codings = _values(fields, "transfer-encoding")
        self._is_chunked = bool(codings) and codings[-1].lower() == "chunked"
        # Bytes that are still to come, of the body or of a chunk; None for all until the end.
        self._left: int | None = None
        if status in (204, 304) or self._is_chunked:
            self._left = 0
        elif not codings:
            self._left = _length(_values(fields, "content-length"))

    @property
    def data(self) -> bytes:
        """The body, as far as it has come."""
        return bytes(self._kept)

    def feed(self, data: bytes) -> bool:
        """Take more bytes; return whether no more are needed."""
        self._buffer += data
        goes_on = True
        while goes_on:
            self._take()
            goes_on = self._is_chunked and self._left == 0 and self._begin_chunk()
        return len(self._kept) >= self._most or (self._left == 0 and not self._is_chunked)

    def _take(self) -> None:
        size = min(len(self._buffer), self._most - len(self._kept))
        if self._left is not None:
            size = min(size, self._left)
            self._left -= size
        self._kept += self._buffer[:size]
        del self._buffer[:size]

    def _begin_chunk(self) -> bool:
        """Read how long the next chunk is; return whether that is known, and it is not the last."""
        match = _match_chunk(self._buffer)
        if match is None:
            self._is_chunked = len(self._buffer) <= _LINE
            return False
        self._left = int(match[1], 16)
        self._is_chunked = self._left > 0
        del self._buffer[: match.end()]
        return self._is_chunked


def _values(fields: Iterable[tuple[str, str]], name: str) -> list[str]:
    """Return the elements of all headers of a name."""
    values = ",".join(value for each, value in fields if each.lower() == name)
    return [value for value in (part.strip(" \t") for part in values.split(",")) if value]


def _length(values: list[str]) -> int | None:
    """Return a Content-Length; None if there is none, or it makes no sense."""
    if len(set(values)) != 1 or not _is_length(values[0]):
        return None
    return int(values[0])
